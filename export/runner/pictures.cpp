#include "pictures.h"

#include <stb_image.h>

#include <cctype>
#include <fstream>
#include <memory>
#include <sstream>
#include <vector>

#include "failure.h"
#include "huffman.h"

namespace {

constexpr int kLargestSide = 1 << 14;
constexpr long kMostPixels = 1L << 26;

[[noreturn]] void bad(const std::string& name, const std::string& what) {
    throw Failure(Code::bad_artefact, name + " " + what);
}

void check_size(const std::string& name, long width, long height) {
    if (width < 1 || height < 1 || width > kLargestSide || height > kLargestSide || width * height > kMostPixels) {
        bad(name,
            "has " + std::to_string(width) + "x" + std::to_string(height) + " pixels; expected 67 million at most");
    }
}

// The next number of a PNM header, which may have comments in it.
long header_number(std::istream& stream, const std::string& name) {
    while (stream.good()) {
        const int next = stream.peek();
        if (next == '#') {
            std::string comment;
            std::getline(stream, comment);
        } else if (std::isspace(next)) {
            stream.get();
        } else {
            break;
        }
    }
    long value = 0;
    if (!(stream >> value)) bad(name, "has a PNM header that is cut short");
    return value;
}

Image decode_pnm(const std::string& content, const std::string& name) {
    const bool colour = content[1] == '6';
    std::istringstream stream(content);
    stream.ignore(2);
    const long width = header_number(stream, name);
    const long height = header_number(stream, name);
    if (const long white = header_number(stream, name); white != 255) {
        bad(name, "has a largest value of " + std::to_string(white) + "; expected 255, 8 bits");
    }
    stream.get();
    check_size(name, width, height);
    Image image{int(height), int(width)};
    const auto pixels = std::size_t(width) * std::size_t(height);
    const auto begin = std::size_t(stream.tellg());
    const auto bytes = pixels * (colour ? 3 : 1);
    if (content.size() < begin + bytes) {
        bad(name,
            "is cut short: " + std::to_string(content.size()) + " of " + std::to_string(begin + bytes) + " bytes");
    }
    const char* data = content.data() + begin;
    for (std::size_t i = 0; i < pixels; ++i) {
        for (std::size_t c = 0; c < 3; ++c) {
            image.pixels[i * 3 + c] = static_cast<std::uint8_t>(data[colour ? i * 3 + 2 - c : i]);
        }
    }
    return image;
}

// Where a JPEG's Huffman tables belong when it has none; 0 where it has some, or is no JPEG.
std::size_t missing_tables(const std::uint8_t* data, std::size_t size) {
    if (size < 4 || data[0] != 0xff || data[1] != 0xd8) return 0;
    for (std::size_t at = 2; at + 4 <= size && data[at] == 0xff;) {
        if (data[at + 1] == 0xc4) return 0;
        if (data[at + 1] == 0xda) return at;
        at += 2 + std::size_t(data[at + 2] << 8 | data[at + 3]);
    }
    return 0;
}

}  // namespace

Image decode_picture(const std::uint8_t* data, std::size_t size, const std::string& name) {
    if (const std::size_t at = missing_tables(data, size)) {
        std::vector<std::uint8_t> whole(data, data + at);
        whole.insert(whole.end(), kHuffmanSegment.begin(), kHuffmanSegment.end());
        whole.insert(whole.end(), data + at, data + size);
        return decode_picture(whole.data(), whole.size(), name);
    }
    int width = 0;
    int height = 0;
    int stored = 0;
    if (size > (1u << 30) || !stbi_info_from_memory(data, int(size), &width, &height, &stored)) {
        bad(name, "is no picture that is read here; expected PPM or PGM (binary), JPEG or PNG");
    }
    check_size(name, width, height);
    const std::unique_ptr<std::uint8_t, void (*)(void*)> pixels(
        stbi_load_from_memory(data, int(size), &width, &height, &stored, 4), stbi_image_free);
    if (!pixels) bad(name, std::string("cannot be decoded (") + stbi_failure_reason() + ")");
    Image image(height, width);
    for (std::size_t i = 0; i < image.pixels.size() / 3; ++i) {
        const std::uint8_t* rgba = pixels.get() + i * 4;
        for (std::size_t c = 0; c < 3; ++c) {
            const int on_white = (rgba[2 - c] * rgba[3] + 255 * (255 - rgba[3]) + 127) / 255;
            image.pixels[i * 3 + c] = static_cast<std::uint8_t>(on_white);
        }
    }
    return image;
}

Image read_picture(const std::string& path) {
    std::ifstream stream(path, std::ios::binary);
    std::ostringstream read;
    if (stream.peek() != std::ifstream::traits_type::eof()) read << stream.rdbuf();
    const std::string content = read.str();
    if (content.empty()) bad(path, "cannot be read, or is empty");
    if (content.compare(0, 2, "P6") == 0 || content.compare(0, 2, "P5") == 0) return decode_pnm(content, path);
    return decode_picture(reinterpret_cast<const std::uint8_t*>(content.data()), content.size(), path);
}

void write_picture(const std::string& path, const Image& image) {
    std::ofstream stream(path, std::ios::binary);
    stream << "P6\n" << image.width << ' ' << image.height << "\n255\n";
    for (std::size_t i = 0; i < image.pixels.size(); i += 3) {
        stream.put(char(image.pixels[i + 2])).put(char(image.pixels[i + 1])).put(char(image.pixels[i]));
    }
    if (!stream.flush())
        throw Failure(Code::usage, path + " cannot be written; expected a file in a folder that is there");
}
