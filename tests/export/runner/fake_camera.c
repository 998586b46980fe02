/* A camera for tests: preloaded, it stands between the program and the kernel, and answers for /dev/video7 as V4L2 says
   (linux/videodev2.h). The environment says what it is:
     CAMERA_FRAMES  a file with the frames one behind the other, each CAMERA_BYTES long
     CAMERA_FORMAT  YUYV or MJPG, the only one that it offers
     CAMERA_SIZE    WIDTHxHEIGHT, whatever is asked for
     CAMERA_LOST    after so many frames it is gone, and can be opened again only the third time
     CAMERA_SILENT  after so many frames nothing comes any more
     CAMERA_OPEN    the error that opening it gives, CAMERA_SET that of choosing a format */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/videodev2.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define LENGTH (1 << 20)

static int camera = -1, frames = -1, opened, given, next_buffer;

static long setting(const char* name) { return getenv(name) ? atol(getenv(name)) : 0; }

static int wrong(int error) {
    errno = error;
    return -1;
}

int open(const char* path, int flags, ...) {
    int (*real)(const char*, int, ...) = (int (*)(const char*, int, ...))dlsym(RTLD_NEXT, "open");
    if (strcmp(path, "/dev/video7") != 0) return real(path, flags, 0600);
    if (setting("CAMERA_OPEN")) return wrong((int)setting("CAMERA_OPEN"));
    if (++opened == 2) return wrong(ENODEV);
    char name[] = "/tmp/fake-camera-XXXXXX";
    camera = mkstemp(name);
    unlink(name);
    if (ftruncate(camera, 4 * LENGTH) != 0) return -1;
    if (frames < 0) frames = real(getenv("CAMERA_FRAMES"), O_RDONLY);
    return camera;
}

int open64(const char* path, int flags, ...) { return open(path, flags); }

int close(int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "close");
    if (fd == camera) camera = -1;
    return real(fd);
}

int poll(struct pollfd* fds, nfds_t count, int timeout) {
    int (*real)(struct pollfd*, nfds_t, int) = (int (*)(struct pollfd*, nfds_t, int))dlsym(RTLD_NEXT, "poll");
    if (count != 1 || fds[0].fd != camera) return real(fds, count, timeout);
    const long silent = setting("CAMERA_SILENT");
    const int quiet = silent && given >= silent;
    usleep(quiet ? timeout * 1000 : 30000);
    fds[0].revents = quiet ? 0 : POLLIN;
    return !quiet;
}

static int answer_format(struct v4l2_format* format) {
    if (memcmp(&format->fmt.pix.pixelformat, getenv("CAMERA_FORMAT"), 4) != 0) {
        memcpy(&format->fmt.pix.pixelformat, getenv("CAMERA_FORMAT"), 4);
    }
    sscanf(getenv("CAMERA_SIZE"), "%ux%u", &format->fmt.pix.width, &format->fmt.pix.height);
    format->fmt.pix.bytesperline = 0;
    return 0;
}

static int dequeue(struct v4l2_buffer* buffer) {
    const long lost = setting("CAMERA_LOST"), bytes = setting("CAMERA_BYTES");
    if (lost && given == lost && opened == 1) return wrong(ENODEV);
    static char data[LENGTH];
    ssize_t got = read(frames, data, (size_t)bytes);
    if (got < bytes) {
        lseek(frames, 0, SEEK_SET);
        got = read(frames, data, (size_t)bytes);
    }
    buffer->index = (unsigned)(next_buffer++ % 4);
    buffer->bytesused = (unsigned)got;
    buffer->flags = V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    buffer->timestamp.tv_sec = now.tv_sec;
    buffer->timestamp.tv_usec = now.tv_nsec / 1000;
    ++given;
    return pwrite(camera, data, (size_t)got, (off_t)buffer->index * LENGTH) == got ? 0 : -1;
}

int ioctl(int fd, unsigned long request, ...) {
    va_list rest;
    va_start(rest, request);
    void* argument = va_arg(rest, void*);
    va_end(rest);
    int (*real)(int, unsigned long, ...) = (int (*)(int, unsigned long, ...))dlsym(RTLD_NEXT, "ioctl");
    if (fd != camera || camera < 0) return real(fd, request, argument);
    struct v4l2_buffer* buffer = argument;
    switch (request) {
        case VIDIOC_QUERYCAP:
            ((struct v4l2_capability*)argument)->capabilities = V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_STREAMING;
            return 0;
        case VIDIOC_S_FMT:
            return setting("CAMERA_SET") ? wrong((int)setting("CAMERA_SET")) : answer_format(argument);
        case VIDIOC_REQBUFS: ((struct v4l2_requestbuffers*)argument)->count = 4; return 0;
        case VIDIOC_QUERYBUF:
            buffer->length = LENGTH;
            buffer->m.offset = buffer->index * LENGTH;
            return 0;
        case VIDIOC_QBUF:
        case VIDIOC_STREAMON:
        case VIDIOC_STREAMOFF: return 0;
        case VIDIOC_DQBUF: return dequeue(buffer);
        default: return wrong(EINVAL);
    }
}
