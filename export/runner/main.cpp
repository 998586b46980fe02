// helmsight-run: the network of this folder on pictures, a camera or raw video, without Python.
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <vector>

#include "failure.h"
#include "latency.h"
#include "live.h"
#include "model.h"
#include "options.h"
#include "pictures.h"
#include "profile.h"
#include "source.h"
#include "tasks.h"

namespace {

volatile sig_atomic_t ended_by = 0;

void note_signal(int signal) { ended_by = signal; }

// Without SA_RESTART, so that a read that waits comes back.
void catch_signals() {
    struct sigaction action{};
    action.sa_handler = note_signal;
    sigaction(SIGINT, &action, nullptr);
    sigaction(SIGTERM, &action, nullptr);
}

std::string own_folder() {
    char path[PATH_MAX] = {};
    const ssize_t size = readlink("/proc/self/exe", path, sizeof path - 1);
    const std::string whole(path, size > 0 ? std::size_t(size) : 0);
    const auto slash = whole.rfind('/');
    return slash == std::string::npos ? "." : whole.substr(0, slash);
}

int usable_cores() {
    cpu_set_t set;
    CPU_ZERO(&set);
    return sched_getaffinity(0, sizeof set, &set) == 0 ? std::max(1, CPU_COUNT(&set)) : 1;
}

std::string in_ms(std::int64_t ns, int digits = 3) { return rounded(double(ns) / 1e6, digits); }

// What was read from a frame, without its pixels, and how long it took.
struct Result {
    long frame = 0;
    std::int64_t captured_ns = 0;
    Reading reading;
    std::string stages;
};

class Runner {
public:
    Runner(const Options& options, Model& model) : options_(options), model_(model), task_(task_for(model)) {
        // The first run sets up its memory: apart from what is measured.
        model_.run(std::vector<float>(model_.input.size()));
    }

    void every(Source& source) {
        Frame frame;
        for (Read got = Read::frame; !over() && got != Read::end;) {
            got = source.read(frame);
            if (got == Read::frame) {
                const Result result = look(frame);
                print(result, command(result.reading), 0);
            }
        }
    }

    void newest(Source& source) {
        Live live(source);
        std::optional<Result> last;
        try {
            while (!over()) follow(live, last);
        } catch (const Failure& failure) {
            end(live, source, last, std::string("the run ended with an error: ") + failure.what());
            throw;
        }
        end(live, source, last, "the run ended");
    }

    void summary() const {
        if (frames_ == 0) return;
        std::fprintf(stderr, "%s: %ld frames, %ld overwritten, %ld damaged; %s, %d threads\n%s", model_.name.c_str(),
                     frames_, overwritten_, damaged_, model_.precision.c_str(), model_.threads(),
                     latency_.summary().c_str());
    }

private:
    bool over() const { return ended_by != 0 || (options_.max_frames != 0 && frames_ >= options_.max_frames); }

    // The next line of a live source: a new frame's, or a stop where none came for too long.
    void follow(Live& live, std::optional<Result>& last) {
        const int wait_ms = std::max(1, int(std::min(100.0, options_.max_age_ms / 4)));
        if (const std::optional<Frame> frame = live.take(wait_ms)) {
            last = look(*frame);
            print(*last, timely_command(*last), live.overwritten());
        } else if (last && driving_) {
            stop_if_silent(*last, live);
        }
    }

    // Notes the counts first: the line may not be written.
    void end(Live& live, const Source& source, const std::optional<Result>& last, const std::string& reason) {
        damaged_ = source.damaged();
        overwritten_ = live.overwritten();
        if (last && driving_) print(*last, stop(reason), overwritten_);
    }

    Result look(const Frame& frame) {
        const std::int64_t begin = now_ns();
        const Image fitted = task_->fit(frame.image);
        const std::vector<float> values = task_->values(fitted);
        const std::int64_t prepared = now_ns();
        const Outputs outputs = model_.run(values);
        const std::int64_t inferred = now_ns();
        Result result{
            frame.index, frame.captured_ns, task_->decode(outputs, frame.image.height, frame.image.width), {}};
        const std::int64_t decoded = now_ns();
        stage(result, "wait", begin - frame.captured_ns);
        stage(result, "prepare", prepared - begin);
        stage(result, "inference", inferred - prepared);
        stage(result, "decode", decoded - inferred);
        latency_.add("age", double(decoded - frame.captured_ns) / 1e6);
        ++frames_;
        if (!options_.show_input.empty()) write_picture(options_.show_input, fitted);
        return result;
    }

    void stage(Result& result, const std::string& name, std::int64_t ns) {
        latency_.add(name, double(ns) / 1e6);
        result.stages += (result.stages.empty() ? "" : ", ") + quoted(name) + ": " + in_ms(ns);
    }

    std::string command(const Reading& reading) {
        if (!reading.drives) return "";
        if (!reading.finite) return stop("the network's output is not finite");
        driving_ = true;
        return "{\"steer\": " + rounded(reading.steer, 4) + ", \"speed\": " + rounded(reading.speed, 4) + "}";
    }

    std::string timely_command(const Result& result) {
        const std::int64_t age = now_ns() - result.captured_ns;
        const bool old = result.reading.drives && result.reading.finite && double(age) / 1e6 > options_.max_age_ms;
        return old ? stop("result is " + in_ms(age, 0) + " ms old") : command(result.reading);
    }

    void stop_if_silent(const Result& last, Live& live) {
        const std::int64_t age = now_ns() - last.captured_ns;
        if (double(age) / 1e6 <= options_.max_age_ms) return;
        print(last, stop("camera is silent, last frame " + in_ms(age, 0) + " ms ago"), live.overwritten());
    }

    std::string stop(const std::string& reason) {
        driving_ = false;
        return "{\"stop\": " + quoted(reason) + "}";
    }

    // One line, written through at once.
    void print(const Result& result, const std::string& command, long overwritten) {
        const std::string of = std::to_string(result.frame);
        const std::string line = "{\"frame\": " + of + ", \"captured_ns\": " + std::to_string(result.captured_ns) +
                                 ", \"age_ms\": " + in_ms(now_ns() - result.captured_ns) +
                                 ", \"overwritten\": " + std::to_string(overwritten) + ", " +
                                 quoted(model_.task.empty() ? "raw" : model_.task) + ": {" + result.reading.record +
                                 ", \"of_frame\": " + of + ", \"stage_ms\": {" + result.stages + "}}" +
                                 (command.empty() ? "" : ", \"command\": " + command) + "}\n";
        std::fwrite(line.data(), 1, line.size(), stdout);
        if (std::fflush(stdout) != 0) throw Failure(Code::usage, "stdout cannot be written");
    }

    const Options& options_;
    Model& model_;
    std::unique_ptr<Task> task_;
    Latency latency_;
    long frames_ = 0, overwritten_ = 0, damaged_ = 0;
    bool driving_ = false;
};

// Reads `size` bytes; false at the end of stdin before the first.
bool read_tensor(std::vector<std::uint8_t>& data) {
    const std::size_t got = std::fread(data.data(), 1, data.size(), stdin);
    if (got != 0 && got != data.size()) {
        throw Failure(Code::no_frames, "stdin ends within a tensor, after " + std::to_string(got) + " of " +
                                           std::to_string(data.size()) + " bytes");
    }
    return got != 0;
}

// All tensors first: what is measured waits for no pipe. Signals end it as they end any program.
void run_profile(Model& model, const Options& options) {
    std::vector<std::vector<std::uint8_t>> tensors;
    std::vector<std::uint8_t> data(model.input.size() * (model.input.dtype == "uint8" ? 1 : sizeof(float)));
    while (read_tensor(data)) tensors.push_back(data);
    if (tensors.empty()) throw Failure(Code::no_frames, "stdin has no tensor to measure with");
    const std::string record = profile(model, tensors, options);
    std::fwrite(record.data(), 1, record.size(), stdout);
    if (std::fflush(stdout) != 0) throw Failure(Code::usage, "stdout cannot be written");
}

// The network alone, as its inputs and outputs are in the manifest: for comparing it with another runtime.
void run_values(Model& model) {
    const bool bytes = model.input.dtype == "uint8";
    std::vector<std::uint8_t> data(model.input.size() * (bytes ? 1 : sizeof(float)));
    std::vector<float> values(model.input.size());
    while (ended_by == 0 && read_tensor(data)) {
        if (bytes) {
            std::copy(data.begin(), data.end(), values.begin());
        } else {
            std::memcpy(values.data(), data.data(), data.size());
        }
        const Outputs outputs = model.run(values);
        for (const TensorSpec& spec : model.outputs) {
            const std::vector<float>& found = outputs.at(spec.name);
            std::fwrite(found.data(), sizeof(float), found.size(), stdout);
        }
        if (std::fflush(stdout) != 0) throw Failure(Code::usage, "stdout cannot be written");
    }
}

std::unique_ptr<Source> open(const Options& options) {
    if (!options.camera.empty()) return open_camera(options.camera, options.size);
    if (options.from_stdin) return open_stdin(options.raw);
    return open_pictures(options.pictures);
}

int run(const Options& options) {
    if (!options.profile) catch_signals();
    const int threads = options.threads ? options.threads : std::max(1, usable_cores() - !options.camera.empty());
    Model model(options.model.empty() ? own_folder() : options.model, threads);
    if (options.profile) {
        run_profile(model, options);
        return 0;
    }
    if (options.values) {
        run_values(model);
        return ended_by ? 128 + ended_by : 0;
    }
    const std::unique_ptr<Source> source = open(options);
    Runner runner(options, model);
    try {
        source->live() ? runner.newest(*source) : runner.every(*source);
    } catch (const Failure&) {
        runner.summary();
        throw;
    }
    runner.summary();
    return ended_by ? 128 + ended_by : 0;
}

}  // namespace

int main(int count, char** arguments) {
    try {
        const Options options = parse(count, arguments);
        if (options.help) {
            std::fputs(kHelp, stdout);
            return 0;
        }
        return run(options);
    } catch (const Failure& failure) {
        std::fprintf(stderr, "helmsight-run: %s\n", failure.what());
        return int(failure.code);
    } catch (const std::bad_alloc&) {
        std::fputs("helmsight-run: not enough memory\n", stderr);
        return int(Code::bad_artefact);
    }
}
