// A live source in a thread of its own, of which only the newest frame is kept.
#pragma once

#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <optional>
#include <thread>

#include "source.h"

class Live {
public:
    explicit Live(Source& source);
    ~Live();
    Live(const Live&) = delete;
    Live& operator=(const Live&) = delete;

    // The newest frame that was not taken yet, nothing after `wait_ms`. Throws what the source threw.
    std::optional<Frame> take(int wait_ms);

    long overwritten();
    std::int64_t last_ns();

private:
    void capture();
    void keep(Frame frame);
    void reopen();

    Source& source_;
    std::atomic<bool> stopping_{false};
    std::mutex mutex_;
    std::condition_variable changed_;
    std::optional<Frame> newest_;
    std::exception_ptr error_;
    long overwritten_ = 0;
    std::int64_t last_ns_ = 0;
    std::thread thread_;
};
