#include "layers.h"

#include "json.h"
#include "source.h"

namespace {

constexpr double kLimitS = 10;

std::vector<int> sides(const ncnn::Mat& mat) {
    std::vector<int> found;
    if (mat.dims >= 3) found.push_back(mat.c);
    if (mat.dims == 4) found.push_back(mat.d);
    if (mat.dims >= 2) found.push_back(mat.h);
    found.push_back(mat.w);
    found.front() *= mat.elempack;  // the outermost side is the one that ncnn packs
    return found;
}

Sizes sides_of(const ncnn::Mat& mat) { return {sides(mat)}; }

Sizes sides_of(const std::vector<ncnn::Mat>& mats) {
    Sizes found;
    for (const ncnn::Mat& mat : mats) found.push_back(sides(mat));
    return found;
}

// Stands for a layer in the network, which owns it, and does what it does between two looks at the clock.
class Timed : public ncnn::Layer {
public:
    Timed(ncnn::Layer* layer, std::size_t number, LayerShapes& shapes, std::vector<LayerCall>& calls)
        : ncnn::Layer(*layer), layer_(layer), number_(number), shapes_(shapes), calls_(calls) {}
    ~Timed() override { delete layer_; }
    Timed(const Timed&) = delete;
    Timed& operator=(const Timed&) = delete;

    int destroy_pipeline(const ncnn::Option& option) override { return layer_->destroy_pipeline(option); }

    int forward(const std::vector<ncnn::Mat>& bottoms, std::vector<ncnn::Mat>& tops,
                const ncnn::Option& option) const override {
        return timed(bottoms, tops, [&] { return layer_->forward(bottoms, tops, option); });
    }
    int forward(const ncnn::Mat& bottom, ncnn::Mat& top, const ncnn::Option& option) const override {
        return timed(bottom, top, [&] { return layer_->forward(bottom, top, option); });
    }
    int forward_inplace(std::vector<ncnn::Mat>& mats, const ncnn::Option& option) const override {
        return timed(mats, mats, [&] { return layer_->forward_inplace(mats, option); });
    }
    int forward_inplace(ncnn::Mat& mat, const ncnn::Option& option) const override {
        return timed(mat, mat, [&] { return layer_->forward_inplace(mat, option); });
    }

private:
    template <typename In, typename Out, typename Work>
    int timed(const In& in, const Out& out, const Work& work) const {
        const bool first = shapes_.outputs.empty();  // as in every run: the input is of one size
        if (first) shapes_.inputs = sides_of(in);    // before the work: in place it changes them
        LayerCall call{number_, now_ns(), 0};
        const int failed = work();
        call.end_ns = now_ns();
        calls_.push_back(call);
        if (first) shapes_.outputs = sides_of(out);
        return failed;
    }

    ncnn::Layer* layer_;
    std::size_t number_;
    LayerShapes& shapes_;
    std::vector<LayerCall>& calls_;
};

std::string joined(const std::vector<std::string>& parts) {
    std::string all;
    for (const std::string& part : parts) all += (all.empty() ? "" : ", ") + part;
    return "[" + all + "]";
}

std::string json(const Sizes& sizes) {
    std::vector<std::string> parts;
    for (const std::vector<int>& one : sizes) {
        std::vector<std::string> numbers;
        for (const int side : one) numbers.push_back(std::to_string(side));
        parts.push_back(joined(numbers));
    }
    return joined(parts);
}

}  // namespace

LayerClock::LayerClock(ncnn::Net& net) {
    std::vector<ncnn::Layer*>& layers = net.mutable_layers();
    layers_.resize(layers.size());  // once: each stand-in refers to its own
    for (std::size_t i = 0; i < layers.size(); ++i) {
        layers_[i].name = layers[i]->name;
        layers_[i].type = layers[i]->type;
        layers[i] = new Timed(layers[i], i, layers_[i].shapes, now_.calls);
    }
}

void LayerClock::run(const std::function<void(std::size_t)>& query, std::size_t least, std::size_t most) {
    const std::int64_t limit = now_ns() + std::int64_t(kLimitS * 1e9);
    while (runs_.size() < most && (runs_.size() < least || now_ns() < limit)) {
        now_.calls.clear();
        now_.begin_ns = now_ns();
        query(runs_.size());
        now_.end_ns = now_ns();
        runs_.push_back(now_);
    }
}

std::string LayerClock::record() const {
    std::vector<std::string> layers, runs;
    for (const Layer& layer : layers_) {
        layers.push_back("{\"name\": " + quoted(layer.name) + ", \"type\": " + quoted(layer.type) + ", \"inputs\": " +
                         json(layer.shapes.inputs) + ", \"outputs\": " + json(layer.shapes.outputs) + "}");
    }
    const std::int64_t origin = runs_.empty() ? 0 : runs_.front().begin_ns;
    for (const LayerRun& run : runs_) {
        std::vector<std::string> calls;
        for (const LayerCall& call : run.calls) {
            calls.push_back("[" + std::to_string(call.layer) + ", " + std::to_string(call.begin_ns - origin) + ", " +
                            std::to_string(call.end_ns - origin) + "]");
        }
        runs.push_back("{\"begin_ns\": " + std::to_string(run.begin_ns - origin) +
                       ", \"end_ns\": " + std::to_string(run.end_ns - origin) + ", \"calls\": " + joined(calls) + "}");
    }
    return "\"layers\": " + joined(layers) + ", \"runs\": " + joined(runs);
}
