// A V4L2 camera: streaming from buffers that the driver shares, YUYV where it is offered, else MJPEG.
#include <errno.h>
#include <fcntl.h>
#include <linux/videodev2.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <utility>

#include "failure.h"
#include "pictures.h"
#include "source.h"

namespace {

constexpr unsigned kBuffers = 4;
constexpr int kWaitMs = 100;
const char* const kList = "list cameras with: ls /dev/video*";

// The kernel's structures have a time of two longs; a libc whose time is wider would ask it for others.
static_assert(sizeof(v4l2_buffer::timestamp) == 2 * sizeof(long), "v4l2_buffer is not the kernel's");

int retried_ioctl(int fd, unsigned long request, void* argument) {
    int result;
    do {
        result = ioctl(fd, request, argument);
    } while (result < 0 && errno == EINTR);
    return result;
}

class Camera : public Source {
public:
    Camera(std::string device, const Raw& wanted) : device_(std::move(device)), wanted_(wanted) { open(); }
    ~Camera() override { close(); }
    Camera(const Camera&) = delete;
    Camera& operator=(const Camera&) = delete;

    bool live() const override { return true; }
    long damaged() const override { return damaged_; }

    Read read(Frame& frame) override {
        pollfd waiting{fd_, POLLIN, 0};
        const int ready = poll(&waiting, 1, kWaitMs);
        if (ready == 0 || (ready < 0 && errno == EINTR)) return Read::nothing_yet;
        v4l2_buffer buffer = described();
        if (ready < 0 || (waiting.revents & (POLLHUP | POLLNVAL)) || ioctl(fd_, VIDIOC_DQBUF, &buffer) < 0) {
            return ready > 0 && (errno == EAGAIN || errno == EINTR) ? Read::nothing_yet : Read::lost;
        }
        const std::int64_t captured = capture_time(buffer);
        const bool whole = take(buffer, frame.image);
        if (retried_ioctl(fd_, VIDIOC_QBUF, &buffer) < 0) return Read::lost;
        if (!whole) {
            ++damaged_;
            return Read::nothing_yet;
        }
        frame.index = next_++;
        frame.captured_ns = captured;
        return Read::frame;
    }

    bool reopen() override {
        close();
        try {
            open();
        } catch (const Failure&) {
            close();
            return false;
        }
        return true;
    }

private:
    void open() {
        fd_ = ::open(device_.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC);
        if (fd_ < 0) fail_for("cannot be opened", errno);
        v4l2_capability able{};
        if (retried_ioctl(fd_, VIDIOC_QUERYCAP, &able) < 0) fail("is no V4L2 device");
        const auto caps = able.capabilities & V4L2_CAP_DEVICE_CAPS ? able.device_caps : able.capabilities;
        if (!(caps & V4L2_CAP_VIDEO_CAPTURE) || !(caps & V4L2_CAP_STREAMING)) fail("does not capture and stream video");
        if (!choose(V4L2_PIX_FMT_YUYV) && !choose(V4L2_PIX_FMT_MJPEG)) fail("offers neither YUYV nor MJPEG");
        start();
    }

    // Asks for the format; the driver may round the size.
    bool choose(std::uint32_t pixels) {
        v4l2_format format{};
        format.type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
        format.fmt.pix.width = std::uint32_t(wanted_.width);
        format.fmt.pix.height = std::uint32_t(wanted_.height);
        format.fmt.pix.pixelformat = pixels;
        format.fmt.pix.field = V4L2_FIELD_ANY;
        if (retried_ioctl(fd_, VIDIOC_S_FMT, &format) < 0) {
            if (errno == EBUSY) fail_for("cannot be set up", errno);  // it streams for another program
            return false;
        }
        if (format.fmt.pix.pixelformat != pixels) return false;
        raw_ = {int(format.fmt.pix.width), int(format.fmt.pix.height), Format::yuyv};
        stride_ = format.fmt.pix.bytesperline ? format.fmt.pix.bytesperline : 2 * format.fmt.pix.width;
        compressed_ = pixels == V4L2_PIX_FMT_MJPEG;
        return true;
    }

    void start() {
        v4l2_requestbuffers request{};
        request.count = kBuffers;
        request.type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
        request.memory = V4L2_MEMORY_MMAP;
        if (retried_ioctl(fd_, VIDIOC_REQBUFS, &request) < 0 || request.count < 2)
            fail("gives no buffers; is it in use?");
        for (std::uint32_t i = 0; i < request.count; ++i) {
            v4l2_buffer buffer = described(i);
            if (retried_ioctl(fd_, VIDIOC_QUERYBUF, &buffer) < 0) fail("does not describe its buffers");
            void* memory =
                mmap(nullptr, buffer.length, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, off_t(buffer.m.offset));
            if (memory == MAP_FAILED) fail("does not share its buffers");
            buffers_.emplace_back(static_cast<std::uint8_t*>(memory), std::size_t(buffer.length));
            if (retried_ioctl(fd_, VIDIOC_QBUF, &buffer) < 0) fail("does not take its buffers");
        }
        int type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
        if (retried_ioctl(fd_, VIDIOC_STREAMON, &type) < 0) fail_for("does not start", errno);
        std::fprintf(stderr, "helmsight-run: %s gives %dx%d %s\n", device_.c_str(), raw_.width, raw_.height,
                     compressed_ ? "MJPEG" : "YUYV");
    }

    void close() {
        if (fd_ < 0) return;
        int type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
        retried_ioctl(fd_, VIDIOC_STREAMOFF, &type);
        for (const auto& [memory, length] : buffers_) munmap(memory, length);
        buffers_.clear();
        ::close(fd_);
        fd_ = -1;
    }

    static v4l2_buffer described(std::uint32_t index = 0) {
        v4l2_buffer buffer{};
        buffer.type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
        buffer.memory = V4L2_MEMORY_MMAP;
        buffer.index = index;
        return buffer;
    }

    // False for a frame that came damaged, which is left out.
    bool take(const v4l2_buffer& buffer, Image& image) {
        if (buffer.index >= buffers_.size() || buffer.flags & V4L2_BUF_FLAG_ERROR) return false;
        const auto& [memory, length] = buffers_[buffer.index];
        if (compressed_) {
            try {
                image = decode_picture(memory, std::min(length, std::size_t(buffer.bytesused)), device_);
            } catch (const Failure&) {
                return false;
            }
            return true;
        }
        if (stride_ < std::size_t(raw_.width) * 2 || buffer.bytesused < stride_ * std::size_t(raw_.height))
            return false;
        image = converted(memory, raw_, stride_);
        return true;
    }

    // When the driver began the frame, where its clock is ours: the age then has the camera's own delay in it.
    static std::int64_t capture_time(const v4l2_buffer& buffer) {
        const std::int64_t now = now_ns();
        if ((buffer.flags & V4L2_BUF_FLAG_TIMESTAMP_MASK) != V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC) return now;
        const std::int64_t stamp =
            std::int64_t(buffer.timestamp.tv_sec) * 1'000'000'000 + std::int64_t(buffer.timestamp.tv_usec) * 1000;
        return stamp > 0 && stamp <= now ? stamp : now;
    }

    [[noreturn]] void fail_for(const std::string& what, int error) {
        const char* then = error == EACCES  ? "add your user to its group: sudo usermod -aG video $USER, and log in again"
                           : error == EBUSY ? "end the program that uses it"
                                            : kList;
        fail(what + " (" + strerror(error) + ")", then);
    }

    [[noreturn]] void fail(const std::string& what, const char* then = kList) {
        close();
        throw Failure(Code::no_frames, device_ + " " + what + "; " + then);
    }

    std::string device_;
    Raw wanted_, raw_;
    int fd_ = -1;
    std::size_t stride_ = 0;
    bool compressed_ = false;
    std::vector<std::pair<std::uint8_t*, std::size_t>> buffers_;
    long next_ = 0;
    std::atomic<long> damaged_{0};
};

}  // namespace

std::unique_ptr<Source> open_camera(const std::string& device, const Raw& wanted) {
    return std::make_unique<Camera>(device, wanted);
}
