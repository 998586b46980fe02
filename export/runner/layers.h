// Where a run's time goes: the layers of the network, timed one by one as ncnn runs them.
#pragma once

#include <net.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

using Sizes = std::vector<std::vector<int>>;

// One layer, once. Nanoseconds of the monotonic clock.
struct LayerCall {
    std::size_t layer = 0;
    std::int64_t begin_ns = 0, end_ns = 0;
};

// The sides of each Mat that a layer was given and gave, the innermost last; channels as they are, not as packed.
struct LayerShapes {
    Sizes inputs, outputs;
};

struct LayerRun {
    std::int64_t begin_ns = 0, end_ns = 0;
    std::vector<LayerCall> calls;
};

// A clock around every layer of a network, from now on and for as long as the network lives.
class LayerClock {
public:
    explicit LayerClock(ncnn::Net& net);

    // Times what `query` does, up to `most` times, or from `least` times on for ten seconds.
    void run(const std::function<void(std::size_t)>& query, std::size_t least, std::size_t most);

    // What was timed, as two members of JSON: the layers, and each run's times in nanoseconds since the first's begin.
    std::string record() const;

private:
    struct Layer {
        std::string name, type;
        LayerShapes shapes;
    };
    std::vector<Layer> layers_;
    std::vector<LayerRun> runs_;
    LayerRun now_;
};
