// The network: model.json, and what ncnn makes of model.param and model.bin.
#pragma once

#include <net.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "json.h"
#include "layers.h"

// An input or output as the bundle's manifest has it; `blob` is its name in model.param.
struct TensorSpec {
    std::string name, blob, dtype, layout, colour;
    std::vector<int> shape;
    float low = 0, high = 1;

    std::size_t size() const;
    int height() const { return shape.at(layout == "NCHW" ? 2 : 1); }
    int width() const { return shape.at(layout == "NCHW" ? 3 : 2); }
    int channels() const { return shape.at(layout == "NCHW" ? 1 : 3); }
};

using Outputs = std::map<std::string, std::vector<float>>;

class Model {
public:
    // Reads the three files in `folder`; checks their SHA-256 before anything of them is parsed but model.json.
    Model(const std::string& folder, int threads);

    // `values`: one float32 a value of the input, in its own layout. The outputs by name, in the order of their shapes.
    Outputs run(const std::vector<float>& values);

    // From here on every layer is timed, which costs some of each run's time.
    LayerClock& clock_layers();

    const ncnn::Option& option() const { return net_.opt; }
    int threads() const { return net_.opt.num_threads; }

    std::string name, task, precision;
    TensorSpec input;
    std::vector<TensorSpec> outputs;
    Json decoding;

private:
    void load(const std::string& folder, const Json& files);

    // ncnn refers to it, so that weights are in memory once.
    std::string weights_;
    std::unique_ptr<LayerClock> clock_;
    ncnn::Net net_;
};
