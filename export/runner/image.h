// Pictures and tensors, and fitting a picture into a network's input as runtime/tasks/_picture.py does it with OpenCV.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

// height x width x 3, blue, green, red.
struct Image {
    Image() = default;
    Image(int height, int width) : height(height), width(width), pixels(std::size_t(height) * std::size_t(width) * 3) {}

    const std::uint8_t* row(int y) const { return pixels.data() + std::size_t(y) * std::size_t(width) * 3; }
    std::uint8_t* row(int y) { return pixels.data() + std::size_t(y) * std::size_t(width) * 3; }

    int height = 0;
    int width = 0;
    std::vector<std::uint8_t> pixels;
};

// Pixels of the input per pixel of the frame when the frame keeps its aspect.
double letterbox_scale(int height, int width, int to_height, int to_width);

// Fitted in with its aspect kept, top left, the rest black.
Image letterbox(const Image& image, int height, int width);

// Halved as often as that goes, then averaged over areas where it shrinks, else linear.
Image resize(const Image& image, int height, int width);

// One byte a pixel: the luma of BT.601.
std::vector<std::uint8_t> grey(const Image& image);
