#include "latency.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace {

// So many support a p99; more would grow without bound on a camera.
constexpr std::size_t kMostSamples = 262'742;
// What an MLPerf report asks for at 99 % confidence (arXiv 1911.02549, equations 1 and 2).
constexpr std::size_t kForP90 = 23'886;

double percentile(const std::vector<float>& sorted, double share) {
    const double rank = std::ceil(share * double(sorted.size()) - 1e-9);
    return double(sorted[std::size_t(std::max(rank, 1.0)) - 1]);
}

}  // namespace

void Latency::add(const std::string& stage, double ms) {
    auto found = std::find_if(stages_.begin(), stages_.end(), [&](const Stage& one) { return one.name == stage; });
    if (found == stages_.end()) found = stages_.insert(found, Stage{stage, {}, 0});
    if (found->samples.size() < kMostSamples) {
        found->samples.push_back(float(ms));
    } else {
        found->samples[found->count % kMostSamples] = float(ms);
    }
    ++found->count;
}

std::string Latency::summary() const {
    std::string text = "stage         p50 ms     p90 ms     p99 ms          n\n";
    std::size_t fewest = kMostSamples;
    for (const Stage& stage : stages_) {
        std::vector<float> sorted = stage.samples;
        std::sort(sorted.begin(), sorted.end());
        char line[120];
        std::snprintf(line, sizeof line, "%-10s %9.3f  %9.3f  %9.3f  %9zu\n", stage.name.c_str(),
                      percentile(sorted, 0.5), percentile(sorted, 0.9), percentile(sorted, 0.99), stage.count);
        text += line;
        fewest = std::min(fewest, stage.count);
    }
    if (fewest < kMostSamples) {
        text += fewest < kForP90 ? "p90 and p99" : "p99";
        text += ": tail not supported by so few samples (p90 needs 23,886, p99 262,742)\n";
    }
    return text;
}
