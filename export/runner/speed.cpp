#include "speed.h"

#include <layer.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <thread>
#include <vector>

#include "failure.h"
#include "source.h"

namespace {

constexpr int kSide = 512;
// More than the caches of the boards that this program is for; the oldest has 2 GB.
constexpr std::size_t kBytes = std::size_t(32) << 20;
constexpr double kSeconds = 0.5;

double best_s(const std::function<void()>& work) {
    work();
    std::int64_t best = std::numeric_limits<std::int64_t>::max();
    for (const std::int64_t end = now_ns() + std::int64_t(kSeconds * 1e9);;) {
        const std::int64_t begin = now_ns();
        work();
        const std::int64_t after = now_ns();
        best = std::min(best, std::max(after - begin, std::int64_t(1)));
        if (after > end) return double(best) / 1e9;
    }
}

double multiplied_gflops(const ncnn::Option& option) {
    const std::unique_ptr<ncnn::Layer> product(ncnn::create_layer("Gemm"));
    if (!product || product->load_param(ncnn::ParamDict()) != 0 || product->create_pipeline(option) != 0) {
        throw Failure(Code::bad_artefact, "this ncnn has no matrix product to measure the processor with");
    }
    ncnn::Mat a(kSide, kSide), b(kSide, kSide);
    a.fill(0.5f);
    b.fill(0.25f);
    const double seconds = best_s([&] {
        std::vector<ncnn::Mat> made(1);
        product->forward({a, b}, made, option);
    });
    product->destroy_pipeline(option);
    return 2.0 * kSide * kSide * kSide / seconds / 1e9;
}

// Each byte is read once and written once, as STREAM counts it.
double copied_gb_s(int threads) {
    const std::vector<char> from(kBytes, 1);
    std::vector<char> to(kBytes);
    const std::size_t part = kBytes / std::size_t(threads);
    const double seconds = best_s([&] {
        std::vector<std::thread> running;
        for (int i = 1; i < threads; ++i) {
            const std::size_t at = part * std::size_t(i);
            running.emplace_back([&, at] { std::memcpy(to.data() + at, from.data() + at, part); });
        }
        std::memcpy(to.data(), from.data(), part);
        for (std::thread& one : running) one.join();
    });
    return 2.0 * double(part) * threads / seconds / 1e9;
}

}  // namespace

Speed measured_speed(const ncnn::Option& option) {
    return {multiplied_gflops(option), copied_gb_s(option.num_threads)};
}
