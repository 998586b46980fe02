#include "model.h"

#include <datareader.h>

#include <algorithm>
#include <fstream>
#include <numeric>
#include <sstream>

#include "failure.h"
#include "sha256.h"

namespace {

constexpr int kSchema = 1;
constexpr std::size_t kMostValues = std::size_t(1) << 26;

std::string read_file(const std::string& path) {
    std::ifstream stream(path, std::ios::binary);
    std::ostringstream content;
    content << stream.rdbuf();
    if (!stream) throw Failure(Code::bad_artefact, path + " cannot be read; copy the whole folder to the board");
    return content.str();
}

std::string read_checked(const std::string& path, const std::string& expected) {
    std::string content = read_file(path);
    const std::string actual = sha256(content);
    if (actual != expected) {
        throw Failure(Code::bad_artefact, path + " has SHA-256 " + actual.substr(0, 12) + "..., model.json says " +
                                              expected.substr(0, 12) + "...: copy the folder again");
    }
    return content;
}

TensorSpec tensor(const Json& record) {
    TensorSpec spec;
    spec.name = record.at("name").text();
    spec.blob = record.at("blob").text();
    spec.dtype = record.at("dtype").text();
    spec.layout = record.at("layout").text();
    spec.colour = record.at("colour").text();
    for (const Json& side : record.at("shape").items()) spec.shape.push_back(side.integer());
    if (const Json& range = record.at("range"); !range.null()) {
        spec.low = float(range.items().at(0).number());
        spec.high = float(range.items().at(1).number());
    }
    const bool sound = std::all_of(spec.shape.begin(), spec.shape.end(), [](int side) { return side > 0; });
    if (!sound || spec.size() > kMostValues) {
        throw Failure(Code::bad_artefact, "model.json gives " + spec.name + " a shape that cannot be; export it again");
    }
    return spec;
}

ncnn::Option options(int threads) {
    ncnn::Option option;
    option.num_threads = threads;
    option.use_vulkan_compute = false;
    // What is not fp32 is not taken unasked.
    option.use_fp16_packed = option.use_fp16_storage = option.use_fp16_arithmetic = false;
    option.use_bf16_storage = option.use_bf16_packed = false;
    return option;
}

// ncnn pads channels, and drops the batch of one.
std::vector<float> flat(const ncnn::Mat& mat) {
    const auto plane = std::size_t(mat.w) * std::size_t(mat.h) * std::size_t(mat.d);
    std::vector<float> values(plane * std::size_t(mat.c));
    for (int c = 0; c < mat.c; ++c) {
        const float* channel = mat.channel(c);
        std::copy_n(channel, plane, values.begin() + std::ptrdiff_t(plane) * c);
    }
    return values;
}

}  // namespace

std::size_t TensorSpec::size() const {
    return std::accumulate(shape.begin(), shape.end(), std::size_t(1), [](std::size_t product, int side) {
        return std::min(product * std::size_t(side), 2 * kMostValues);
    });
}

Model::Model(const std::string& folder, int threads) {
    const Json record = Json::parse(read_file(folder + "/model.json"));
    if (const int schema = record.at("schema_version").integer(); schema != kSchema) {
        throw Failure(Code::bad_artefact, "model.json has schema_version " + std::to_string(schema) +
                                              ", this program reads 1; copy the folder as it was exported");
    }
    name = record.at("name").text();
    task = record.at("task").text();
    precision = record.at("precision").text();
    input = tensor(record.at("input"));
    if (input.shape.size() != 4 || (input.layout != "NHWC" && input.layout != "NCHW") || input.shape[0] != 1) {
        throw Failure(Code::bad_artefact, "model.json: input " + input.name + " is no single picture; export it again");
    }
    for (const Json& output : record.at("outputs").items()) outputs.push_back(tensor(output));
    decoding = record.at("decoding");
    net_.opt = options(threads);
    load(folder, record.at("files"));
}

void Model::load(const std::string& folder, const Json& files) {
    const std::string param = read_checked(folder + "/model.param", files.at("model.param").text());
    weights_ = read_checked(folder + "/model.bin", files.at("model.bin").text());
    const unsigned char* text = reinterpret_cast<const unsigned char*>(param.data());
    if (net_.load_param(ncnn::DataReaderFromMemory(text, param.size())) != 0) {
        throw Failure(Code::bad_artefact, folder + "/model.param is not read by this ncnn; export it again");
    }
    const unsigned char* data = reinterpret_cast<const unsigned char*>(weights_.data());
    if (net_.load_model(ncnn::DataReaderFromMemory(data, weights_.size())) != 0) {
        throw Failure(Code::bad_artefact, folder + "/model.bin does not fit model.param; export it again");
    }
}

LayerClock& Model::clock_layers() {
    if (!clock_) clock_ = std::make_unique<LayerClock>(net_);
    return *clock_;
}

Outputs Model::run(const std::vector<float>& values) {
    const int channels = input.channels();
    const int pixels = input.height() * input.width();
    ncnn::Mat picture(input.width(), input.height(), channels);
    const bool interleaved = input.layout == "NHWC";
    for (int c = 0; c < channels; ++c) {
        float* plane = picture.channel(c);
        for (int i = 0; i < pixels; ++i)
            plane[i] = values[std::size_t(interleaved ? i * channels + c : c * pixels + i)];
    }
    ncnn::Extractor extractor = net_.create_extractor();
    if (extractor.input(input.blob.c_str(), picture) != 0) {
        throw Failure(Code::bad_artefact, "model.param has no input " + input.blob + "; export it again");
    }
    Outputs found;
    for (const TensorSpec& spec : outputs) {
        ncnn::Mat mat;
        if (extractor.extract(spec.blob.c_str(), mat) != 0 || mat.empty()) {
            throw Failure(Code::bad_artefact, "the network gives no output " + spec.name + "; export it again");
        }
        std::vector<float> all = flat(mat);
        if (all.size() != spec.size()) {
            throw Failure(Code::bad_artefact, "output " + spec.name + " has " + std::to_string(all.size()) +
                                                  " values, model.json says " + std::to_string(spec.size()));
        }
        found[spec.name] = std::move(all);
    }
    return found;
}
