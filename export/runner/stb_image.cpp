// The one place where stb_image's functions are made: JPEG and PNG, from memory.
#define STB_IMAGE_IMPLEMENTATION
#define STBI_ONLY_JPEG
#define STBI_ONLY_PNG
#define STBI_NO_STDIO
#define STBI_NO_LINEAR
#define STBI_NO_HDR
#define STBI_NO_THREAD_LOCALS
#ifdef __ARM_NEON
#define STBI_NEON
#endif
#include <stb_image.h>
