#include "profile.h"

#include <algorithm>
#include <cstring>
#include <functional>

#include "json.h"
#include "source.h"
#include "speed.h"

namespace {

constexpr double kWindowS = 0.1;
constexpr long kWindowQueries = 3;
constexpr std::size_t kStableWindows = 3;
constexpr double kTolerance = 0.05;
constexpr double kWarmUpLimitS = 10;
constexpr double kOverheadS = 0.2;
constexpr long kOverheadQueries = 1000;
constexpr std::size_t kLeastRuns = 10;

using Times = std::vector<std::int64_t>;
using Query = std::function<void(std::size_t)>;

double seconds_since(std::int64_t begin) { return double(now_ns() - begin) / 1e9; }

Times single_stream(const Query& query, double duration_s, long queries) {
    Times times;
    std::int64_t end = 0;
    for (const std::int64_t finish = now_ns() + std::int64_t(duration_s * 1e9);
         end < finish || long(times.size()) < queries;) {
        const std::int64_t begin = now_ns();
        query(times.size());
        end = now_ns();
        times.push_back(end - begin);
    }
    return times;
}

// By nearest rank.
std::int64_t median(Times times) {
    const auto middle = times.begin() + std::ptrdiff_t((times.size() + 1) / 2 - 1);
    std::nth_element(times.begin(), middle, times.end());
    return *middle;
}

// Until the medians of three windows in a row lie together, or for ten seconds.
std::string warm_up(const Query& query) {
    const std::int64_t begin = now_ns();
    std::vector<std::int64_t> medians;
    for (std::size_t queries = 0;;) {
        const Times times = single_stream(query, kWindowS, kWindowQueries);
        queries += times.size();
        medians.push_back(median(times));
        if (medians.size() < kStableWindows) continue;
        const auto [low, high] = std::minmax_element(medians.end() - std::ptrdiff_t(kStableWindows), medians.end());
        const bool stable = double(*high) <= double(*low) * (1 + kTolerance);
        if (!stable && seconds_since(begin) < kWarmUpLimitS) continue;
        return "{\"queries\": " + std::to_string(queries) + ", \"seconds\": " + rounded(seconds_since(begin), 3) +
               ", \"stable\": " + (stable ? "true" : "false") + ", \"tolerance\": " + rounded(kTolerance, 2) + "}";
    }
}

std::string overhead() {
    const std::int64_t begin = now_ns();
    const Times times = single_stream([](std::size_t) {}, kOverheadS, kOverheadQueries);
    const double per_query_us = double(now_ns() - begin) / double(times.size()) / 1e3;
    return "{\"per_query_us\": " + rounded(per_query_us, 3) +
           ", \"in_sample_us\": " + rounded(double(median(times)) / 1e3, 3) + "}";
}

// A member more of the record: what the layers took, what the processor could do, and how long all of that was.
std::string layers(Model& model, const Query& query, long runs) {
    const std::int64_t begin = now_ns();
    LayerClock& clock = model.clock_layers();
    clock.run(query, kLeastRuns, std::size_t(runs));
    const Speed speed = measured_speed(model.option());
    return ", \"layers\": {" + clock.record() + ", \"speed\": {\"gflops\": " + rounded(speed.gflops, 3) +
           ", \"gb_s\": " + rounded(speed.gb_s, 3) + "}, \"seconds\": " + rounded(seconds_since(begin), 3) + "}";
}

}  // namespace

std::string profile(Model& model, const std::vector<std::vector<std::uint8_t>>& tensors, const Options& options) {
    std::vector<float> values(model.input.size());
    const bool bytes = model.input.dtype == "uint8";
    const Query query = [&](std::size_t count) {
        const std::vector<std::uint8_t>& tensor = tensors[count % tensors.size()];
        if (bytes) {
            std::copy(tensor.begin(), tensor.end(), values.begin());
        } else {
            std::memcpy(values.data(), tensor.data(), tensor.size());
        }
        model.run(values);
    };
    const std::string loop = overhead(), warmed = warm_up(query);
    const std::int64_t begin = now_ns();
    const Times times = single_stream(query, options.duration_s, options.queries);
    const std::string took = rounded(seconds_since(begin), 3);
    std::string samples;
    for (const std::int64_t ns : times) samples += (samples.empty() ? "" : ", ") + std::to_string(ns);
    return "{\"precision\": " + quoted(model.precision) + ", \"threads\": " + std::to_string(model.threads()) +
           ", \"warm_up\": " + warmed + ", \"overhead\": " + loop + ", \"duration_s\": " + took +
           ", \"samples_ns\": [" + samples + "]" + (options.layers ? layers(model, query, options.layers) : "") + "}\n";
}
