// The arithmetic is OpenCV's (modules/imgproc/src/resize.cpp): areas in float32, linear in 11-bit fixed point, so that
// a network sees the same bytes here as in Python.
#include "image.h"

#include <algorithm>
#include <cmath>

namespace {

constexpr int kChannels = 3;

// A source sample's share in a destination sample.
struct Share {
    int to;
    int from;
    float weight;
};

std::uint8_t saturate(double value) { return static_cast<std::uint8_t>(std::clamp(std::nearbyint(value), 0.0, 255.0)); }

// Which samples of a side of `from` make up each of the `to` samples, and with which weight.
std::vector<Share> area_shares(int from, int to) {
    const double scale = double(from) / to;
    std::vector<Share> shares;
    for (int d = 0; d < to; ++d) {
        const double begin = d * scale;
        const double end = begin + scale;
        const double cell = std::min(scale, from - begin);
        const int last = std::min(int(std::floor(end)), from - 1);
        const int first = std::min(int(std::ceil(begin)), last);
        if (first - begin > 1e-3) shares.push_back({d, first - 1, float((first - begin) / cell)});
        for (int s = first; s < last; ++s) shares.push_back({d, s, float(1.0 / cell)});
        if (end - last > 1e-3) shares.push_back({d, last, float(std::min(std::min(end - last, 1.0), cell) / cell)});
    }
    return shares;
}

Image average_areas(const Image& image, int height, int width) {
    const auto columns = area_shares(image.width, width);
    const auto rows = area_shares(image.height, height);
    Image out(height, width);
    std::vector<float> line(std::size_t(width) * kChannels);
    std::vector<float> sum(line.size());
    for (std::size_t i = 0; i < rows.size(); ++i) {
        std::fill(line.begin(), line.end(), 0.0f);
        const std::uint8_t* source = image.row(rows[i].from);
        for (const Share& share : columns) {
            for (int c = 0; c < kChannels; ++c) {
                line[std::size_t(share.to * kChannels + c)] += source[share.from * kChannels + c] * share.weight;
            }
        }
        const bool begins = i == 0 || rows[i].to != rows[i - 1].to;
        for (std::size_t x = 0; x < line.size(); ++x) sum[x] = (begins ? 0.0f : sum[x]) + rows[i].weight * line[x];
        if (i + 1 == rows.size() || rows[i + 1].to != rows[i].to) {
            std::transform(sum.begin(), sum.end(), out.row(rows[i].to), [](float value) { return saturate(value); });
        }
    }
    return out;
}

// Areas of a whole number of pixels. Two by two are rounded half up, others to even.
Image average_blocks(const Image& image, int height, int width) {
    const int down = image.height / height;
    const int across = image.width / width;
    const float share = 1.0f / float(down * across);
    Image out(height, width);
    for (int y = 0; y < height; ++y) {
        for (int x = 0; x < width * kChannels; ++x) {
            const int left = x / kChannels * across * kChannels + x % kChannels;
            int sum = 0;
            for (int j = 0; j < down; ++j) {
                for (int i = 0; i < across; ++i) sum += image.row(y * down + j)[left + i * kChannels];
            }
            const bool halves = down == 2 && across == 2;
            out.row(y)[x] = halves ? static_cast<std::uint8_t>((sum + 2) >> 2) : saturate(float(sum) * share);
        }
    }
    return out;
}

// Two neighbours and their weights of 2048 for each sample of a side.
struct Neighbours {
    std::vector<int> first, second;
    std::vector<int> weight_first, weight_second;
};

// `horizontal`: beyond an end the last sample alone counts; OpenCV weighs it twice in the other direction, which rounds
// differently.
Neighbours neighbours(int from, int to, bool area, bool horizontal) {
    const double scale = 1.0 / (double(to) / from);
    const double inverse = double(to) / from;
    Neighbours found;
    for (int d = 0; d < to; ++d) {
        int at;
        float fraction;
        if (area) {
            at = int(std::floor(d * scale));
            fraction = float((d + 1) - (at + 1) * inverse);
            fraction = fraction <= 0 ? 0.0f : fraction - std::floor(fraction);
        } else {
            fraction = float((d + 0.5) * scale - 0.5);
            at = int(std::floor(fraction));
            fraction -= float(at);
        }
        if (horizontal && (at < 0 || at >= from - 1)) fraction = 0;
        found.first.push_back(std::clamp(at, 0, from - 1));
        found.second.push_back(std::clamp(at + 1, 0, from - 1));
        found.weight_first.push_back(int(std::nearbyint((1.0f - fraction) * 2048.0f)));
        found.weight_second.push_back(int(std::nearbyint(fraction * 2048.0f)));
    }
    return found;
}

// `area`: the weights that OpenCV takes for areas where only one of the sides shrinks.
Image interpolate(const Image& image, int height, int width, bool area) {
    const Neighbours x = neighbours(image.width, width, area, true);
    const Neighbours y = neighbours(image.height, height, area, false);
    Image out(height, width);
    const auto across = [&](const std::uint8_t* row, int i, int c) {
        const auto at = std::size_t(i);
        return row[x.first[at] * kChannels + c] * x.weight_first[at] +
               row[x.second[at] * kChannels + c] * x.weight_second[at];
    };
    for (int j = 0; j < height; ++j) {
        const auto at = std::size_t(j);
        const std::uint8_t* upper = image.row(y.first[at]);
        const std::uint8_t* lower = image.row(y.second[at]);
        for (int i = 0; i < width; ++i) {
            for (int c = 0; c < kChannels; ++c) {
                const int value = ((y.weight_first[at] * (across(upper, i, c) >> 4)) >> 16) +
                                  ((y.weight_second[at] * (across(lower, i, c) >> 4)) >> 16);
                out.row(j)[i * kChannels + c] = static_cast<std::uint8_t>((value + 2) >> 2);
            }
        }
    }
    return out;
}

Image shrink(const Image& image, int height, int width) {
    const bool whole = image.height % height == 0 && image.width % width == 0;
    return whole ? average_blocks(image, height, width) : average_areas(image, height, width);
}

}  // namespace

double letterbox_scale(int height, int width, int to_height, int to_width) {
    return std::min(double(to_height) / height, double(to_width) / width);
}

Image letterbox(const Image& image, int height, int width) {
    const double scale = letterbox_scale(image.height, image.width, height, width);
    const int inner_height = std::clamp(int(std::nearbyint(image.height * scale)), 1, height);
    const int inner_width = std::clamp(int(std::nearbyint(image.width * scale)), 1, width);
    Image inner = resize(image, inner_height, inner_width);
    if (inner_height == height && inner_width == width) return inner;
    Image out(height, width);
    for (int y = 0; y < inner_height; ++y) std::copy_n(inner.row(y), inner_width * kChannels, out.row(y));
    return out;
}

Image resize(const Image& image, int height, int width) {
    if (image.height >= 2 * height && image.width >= 2 * width) {
        return resize(shrink(image, image.height / 2, image.width / 2), height, width);
    }
    if (image.height == height && image.width == width) return image;
    if (height <= image.height && width <= image.width) return shrink(image, height, width);
    return interpolate(image, height, width, height < image.height || width < image.width);
}

std::vector<std::uint8_t> grey(const Image& image) {
    std::vector<std::uint8_t> out(image.pixels.size() / kChannels);
    for (std::size_t i = 0; i < out.size(); ++i) {
        const std::uint8_t* pixel = image.pixels.data() + i * kChannels;
        out[i] = static_cast<std::uint8_t>((pixel[0] * 3735 + pixel[1] * 19235 + pixel[2] * 9798 + (1 << 14)) >> 15);
    }
    return out;
}
