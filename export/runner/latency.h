// Times of each stage, and their tails in a few lines.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

class Latency {
public:
    void add(const std::string& stage, double ms);

    // Nearest-rank percentiles of the newest samples, a line a stage, in the order in which they came.
    std::string summary() const;

private:
    struct Stage {
        std::string name;
        std::vector<float> samples;
        std::size_t count = 0;
    };

    std::vector<Stage> stages_;
};
