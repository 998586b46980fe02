#include "live.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <utility>

using std::chrono::milliseconds;

Live::Live(Source& source) : source_(source), thread_([this] { capture(); }) {}

Live::~Live() {
    stopping_ = true;
    changed_.notify_all();
    thread_.join();
}

std::optional<Frame> Live::take(int wait_ms) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, milliseconds(wait_ms), [this] { return newest_ || error_; });
    if (error_) std::rethrow_exception(error_);
    return std::exchange(newest_, std::nullopt);
}

long Live::overwritten() {
    const std::lock_guard lock(mutex_);
    return overwritten_;
}

std::int64_t Live::last_ns() {
    const std::lock_guard lock(mutex_);
    return last_ns_;
}

void Live::capture() {
    try {
        while (!stopping_) {
            Frame frame;
            switch (source_.read(frame)) {
                case Read::frame: keep(std::move(frame)); break;
                case Read::nothing_yet: break;
                case Read::lost: reopen(); break;
                case Read::end: return;
            }
        }
    } catch (...) {
        const std::lock_guard lock(mutex_);
        error_ = std::current_exception();
    }
    changed_.notify_all();
}

void Live::keep(Frame frame) {
    {
        const std::lock_guard lock(mutex_);
        if (newest_) ++overwritten_;
        last_ns_ = frame.captured_ns;
        newest_ = std::move(frame);
    }
    changed_.notify_all();
}

// However long it takes, after waits that double.
void Live::reopen() {
    std::fprintf(stderr, "helmsight-run: the camera is lost; opening it again\n");
    for (milliseconds wait(100);; wait = std::min(2 * wait, milliseconds(2000))) {
        std::unique_lock lock(mutex_);
        if (changed_.wait_for(lock, wait, [this] { return stopping_.load(); })) return;
        lock.unlock();
        if (source_.reopen()) break;
    }
    std::fprintf(stderr, "helmsight-run: the camera is back\n");
}
