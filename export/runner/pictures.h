// Reading pictures: PPM and PGM of 8 bits, JPEG and PNG through stb_image.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "image.h"

// Throws Failure with a line that names the file. What is transparent lies on white; EXIF's orientation is not applied.
Image read_picture(const std::string& path);

// A JPEG or PNG in memory; `name` is for the error.
Image decode_picture(const std::uint8_t* data, std::size_t size, const std::string& name);

// As PPM.
void write_picture(const std::string& path, const Image& image);
