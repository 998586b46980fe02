// Where frames come from: picture files, raw video on stdin, a V4L2 camera.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "image.h"

// `index` counts what the source gave, `captured_ns` is on the monotonic clock.
struct Frame {
    Image image;
    long index = 0;
    std::int64_t captured_ns = 0;
};

enum class Read { frame, nothing_yet, lost, end };

class Source {
public:
    virtual ~Source() = default;

    // A live source is read in a thread of its own, and only its newest frame is looked at.
    virtual bool live() const { return false; }
    virtual Read read(Frame& frame) = 0;

    // Frames that came broken and were left out.
    virtual long damaged() const { return 0; }

    // Opens a lost source again; false when it is not there.
    virtual bool reopen() { return false; }
};

// bgr, rgb, grey: 8 bits a channel. yuyv: YUV 4:2:2.
enum class Format { bgr, rgb, grey, yuyv };

struct Raw {
    int width = 0;
    int height = 0;
    Format format = Format::bgr;

    std::size_t bytes() const;
};

std::int64_t now_ns();

// Each picture once; one that cannot be read is named on stderr and left out. Throws Failure where none is left.
std::unique_ptr<Source> open_pictures(std::vector<std::string> paths);

// Frames one behind the other on stdin. Throws Failure where it ends within one.
std::unique_ptr<Source> open_stdin(const Raw& raw);

// `wanted` is a width and height that the driver may round. Throws Failure where it is no camera that can be used.
std::unique_ptr<Source> open_camera(const std::string& device, const Raw& wanted);

// A frame in `raw`'s format as blue, green, red. `stride` is the bytes of a row.
Image converted(const std::uint8_t* data, const Raw& raw, std::size_t stride);
