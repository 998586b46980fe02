// A network whose outputs helmsight does not decode: its record says how large they are.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "failure.h"
#include "tasks.h"

namespace {

class RawTask : public Task {
public:
    explicit RawTask(const Model& model) : input_(model.input), outputs_(model.outputs) {
        const int channels = input_.colour == "GREY" ? 1 : 3;
        if (input_.channels() != channels) {
            throw Failure(Code::bad_artefact,
                          "model.json: input " + input_.name + " is no picture that a frame can fill");
        }
    }

    Image fit(const Image& frame) const override { return resize(frame, input_.height(), input_.width()); }

    std::vector<float> values(const Image& fitted) const override {
        const std::vector<std::uint8_t> picture = input_.colour == "GREY" ? grey(fitted) : fitted.pixels;
        const auto channels = std::size_t(input_.channels());
        const std::size_t pixels = picture.size() / channels;
        const bool planes = input_.layout == "NCHW";
        std::vector<float> values(picture.size());
        for (std::size_t i = 0; i < pixels; ++i) {
            for (std::size_t c = 0; c < channels; ++c) {
                const std::size_t from = input_.colour == "RGB" ? channels - 1 - c : c;
                values[planes ? c * pixels + i : i * channels + c] = scaled(picture[i * channels + from]);
            }
        }
        return values;
    }

    Reading decode(const Outputs& outputs, int, int) const override {
        Reading reading;
        for (const TensorSpec& output : outputs_) {
            const std::vector<float>& values = outputs.at(output.name);
            const double mean = std::accumulate(values.begin(), values.end(), 0.0) / double(values.size());
            std::string shape;
            for (const int side : output.shape) shape += (shape.empty() ? "" : ", ") + std::to_string(side);
            reading.record += (reading.record.empty() ? "" : ", ") + quoted(output.name) + ": {\"shape\": [" + shape +
                              "], \"mean\": " + rounded(mean, 6) + "}";
        }
        return reading;
    }

private:
    // Black and white become the ends of the input's range; bytes stay as they are.
    float scaled(std::uint8_t value) const {
        if (input_.dtype == "uint8") return value;
        return float(value) * float((double(input_.high) - double(input_.low)) / 255) + input_.low;
    }

    TensorSpec input_;
    std::vector<TensorSpec> outputs_;
};

}  // namespace

std::unique_ptr<Task> raw_task(const Model& model) { return std::make_unique<RawTask>(model); }
