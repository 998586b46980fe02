// Sources without a camera: pictures and raw video.
#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "failure.h"
#include "pictures.h"
#include "source.h"

namespace {

class Pictures : public Source {
public:
    explicit Pictures(std::vector<std::string> paths) : paths_(std::move(paths)) {}

    Read read(Frame& frame) override {
        while (next_ < paths_.size()) {
            frame.index = long(next_);
            try {
                frame.image = read_picture(paths_[next_++]);
                frame.captured_ns = now_ns();
                any_ = true;
                return Read::frame;
            } catch (const Failure& failure) {
                std::fprintf(stderr, "helmsight-run: %s; skipped\n", failure.what());
            }
        }
        if (!any_) {
            throw Failure(Code::no_frames,
                          "none of " + std::to_string(paths_.size()) + " files is a picture that is read");
        }
        return Read::end;
    }

private:
    std::vector<std::string> paths_;
    std::size_t next_ = 0;
    bool any_ = false;
};

class Stdin : public Source {
public:
    explicit Stdin(const Raw& raw) : raw_(raw), data_(raw.bytes()) {}

    Read read(Frame& frame) override {
        while (filled_ < data_.size()) {
            const ssize_t got = ::read(STDIN_FILENO, data_.data() + filled_, data_.size() - filled_);
            if (got < 0 && errno == EINTR) return Read::nothing_yet;
            if (got < 0) throw Failure(Code::no_frames, std::string("stdin cannot be read: ") + strerror(errno));
            if (got == 0) return end();
            filled_ += std::size_t(got);
        }
        filled_ = 0;
        frame.index = next_++;
        frame.captured_ns = now_ns();
        frame.image = converted(data_.data(), raw_, data_.size() / std::size_t(raw_.height));
        return Read::frame;
    }

private:
    Read end() const {
        if (filled_ > 0) {
            throw Failure(Code::no_frames, "stdin ends within frame " + std::to_string(next_) + ", after " +
                                               std::to_string(filled_) + " of " + std::to_string(data_.size()) +
                                               " bytes; check the size and format of --raw");
        }
        if (next_ == 0) throw Failure(Code::no_frames, "stdin has no frame; expected raw video");
        return Read::end;
    }

    Raw raw_;
    std::vector<std::uint8_t> data_;
    std::size_t filled_ = 0;
    long next_ = 0;
};

std::uint8_t clipped(int value) { return static_cast<std::uint8_t>(std::clamp(value, 0, 255)); }

// BT.601, 16..235, in 20-bit fixed point with OpenCV's constants (color_yuv.simd.hpp).
void yuv_to_bgr(int y, int u, int v, std::uint8_t* bgr) {
    constexpr int kShift = 20;
    constexpr int kHalf = 1 << (kShift - 1);
    const int luma = std::max(0, y - 16) * 1220542;
    bgr[0] = clipped((luma + kHalf + 2116026 * (u - 128)) >> kShift);
    bgr[1] = clipped((luma + kHalf - 852492 * (v - 128) - 409993 * (u - 128)) >> kShift);
    bgr[2] = clipped((luma + kHalf + 1673527 * (v - 128)) >> kShift);
}

}  // namespace

std::size_t Raw::bytes() const {
    const auto pixels = std::size_t(width) * std::size_t(height);
    return format == Format::grey ? pixels : format == Format::yuyv ? pixels * 2 : pixels * 3;
}

std::int64_t now_ns() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return std::int64_t(now.tv_sec) * 1'000'000'000 + now.tv_nsec;
}

Image converted(const std::uint8_t* data, const Raw& raw, std::size_t stride) {
    Image image(raw.height, raw.width);
    for (int y = 0; y < raw.height; ++y) {
        const std::uint8_t* from = data + std::size_t(y) * stride;
        std::uint8_t* to = image.row(y);
        if (raw.format == Format::bgr) {
            std::copy_n(from, raw.width * 3, to);
            continue;
        }
        for (int x = 0; x < raw.width; ++x, to += 3) {
            switch (raw.format) {
                case Format::yuyv: yuv_to_bgr(from[2 * x], from[x / 2 * 4 + 1], from[x / 2 * 4 + 3], to); break;
                case Format::rgb: std::reverse_copy(from + 3 * x, from + 3 * x + 3, to); break;
                case Format::grey: std::fill_n(to, 3, from[x]); break;
                case Format::bgr: break;
            }
        }
    }
    return image;
}

std::unique_ptr<Source> open_pictures(std::vector<std::string> paths) {
    return std::make_unique<Pictures>(std::move(paths));
}

std::unique_ptr<Source> open_stdin(const Raw& raw) { return std::make_unique<Stdin>(raw); }
