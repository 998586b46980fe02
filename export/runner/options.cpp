#include "options.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <set>

#include "failure.h"

const char* const kHelp =
    "helmsight-run [OPTIONS] [PICTURE...]\n"
    "\n"
    "Runs the network of its folder and prints a JSON line a frame; a summary of latency goes to stderr.\n"
    "\n"
    "  PICTURE...           files: PPM and PGM of 8 bits, JPEG, PNG\n"
    "  --source DEVICE      a V4L2 camera, such as /dev/video0 (YUYV or MJPEG), or a picture\n"
    "  --raw WxH:FORMAT     raw video on stdin, FORMAT bgr, rgb, grey or yuyv\n"
    "  --size WxH           what to ask the camera for (640x480)\n"
    "  --max-frames N       stop after so many\n"
    "  --max-age-ms N       with a camera, older commands become a stop (500)\n"
    "  --threads N          of the network, at most 256 (0: all cores; with a camera, one less)\n"
    "  --model FOLDER       with model.json, model.param, model.bin (the folder of this program)\n"
    "  --show-input F.ppm   write the last picture as the network got it\n"
    "  --values             tensors on stdin, outputs as float32 on stdout, and nothing else\n"
    "  --profile            tensors on stdin, then the network alone on them, over and over; every time as JSON\n"
    "  --duration SECONDS   how long --profile lasts at the least (10)\n"
    "  --queries N          how many runs --profile has at the least (100)\n"
    "  --layers N           after that --profile times each layer in N runs, and the processor's peak (0)\n"
    "  --help\n"
    "\n"
    "Exit codes: 0 done, 2 usage, 4 a file of the model is broken, 6 no frames, 130 SIGINT, 143 SIGTERM.\n";

namespace {

constexpr int kLargestSide = 1 << 14;
// As helmsight's sessions in Python take.
constexpr double kMostThreads = 256;

[[noreturn]] void refuse(const std::string& what) { throw Failure(Code::usage, what + "; see --help"); }

double number(const std::string& option, const std::string& text, double least, double most) {
    char* end = nullptr;
    const double value = std::strtod(text.c_str(), &end);
    if (text.empty() || *end != '\0' || !(value >= least && value <= most)) {
        refuse(option + " " + text + ": expected a number of " + std::to_string(long(least)) + " to " +
               std::to_string(long(most)));
    }
    return value;
}

// "640x480", and what follows it.
Raw size_of(const std::string& option, const std::string& text, std::string& rest) {
    Raw raw;
    int end = 0;
    const int found = std::sscanf(text.c_str(), "%5dx%5d%n", &raw.width, &raw.height, &end);
    if (found != 2 || std::min(raw.width, raw.height) < 1 || std::max(raw.width, raw.height) > kLargestSide) {
        refuse(option + " " + text + ": expected a width and height, such as 640x480");
    }
    rest = text.substr(std::size_t(end));
    return raw;
}

Raw raw_of(const std::string& text) {
    static const std::map<std::string, Format> formats = {
        {":bgr", Format::bgr}, {":rgb", Format::rgb}, {":grey", Format::grey}, {":yuyv", Format::yuyv}};
    std::string rest;
    Raw raw = size_of("--raw", text, rest);
    const auto found = formats.find(rest);
    if (found == formats.end()) refuse("--raw " + text + ": expected WxH:FORMAT with bgr, rgb, grey or yuyv");
    raw.format = found->second;
    if (raw.format == Format::yuyv && raw.width % 2 != 0) refuse("--raw " + text + ": yuyv has an even width");
    return raw;
}

bool is_camera(const std::string& source) {
    const bool digits =
        !source.empty() && std::all_of(source.begin(), source.end(), [](char c) { return c >= '0' && c <= '9'; });
    return digits || source.compare(0, 5, "/dev/") == 0;
}

void set_source(Options& options, const std::string& source) {
    if (!is_camera(source)) {
        options.pictures.push_back(source);
    } else {
        options.camera = source[0] == '/' ? source : "/dev/video" + source;
    }
}

// One option with its value.
void set(Options& options, const std::string& option, const std::string& value) {
    if (option == "--source") {
        set_source(options, value);
    } else if (option == "--raw") {
        options.raw = raw_of(value);
        options.from_stdin = true;
    } else if (option == "--size") {
        std::string rest;
        options.size = size_of(option, value, rest);
        if (!rest.empty()) refuse("--size " + value + ": expected a width and height, such as 640x480");
    } else if (option == "--model") {
        options.model = value;
    } else if (option == "--show-input") {
        options.show_input = value;
    } else if (option == "--threads") {
        options.threads = int(number(option, value, 0, kMostThreads));
    } else if (option == "--max-frames") {
        options.max_frames = long(number(option, value, 0, 2e9));
    } else if (option == "--max-age-ms") {
        options.max_age_ms = number(option, value, 1, 1e6);
    } else if (option == "--duration") {
        options.duration_s = number(option, value, 0, 1e6);
    } else if (option == "--queries") {
        options.queries = long(number(option, value, 1, 1e8));
    } else if (option == "--layers") {
        options.layers = long(number(option, value, 0, 1e4));
    } else {
        refuse("there is no option " + option);
    }
}

// Refuses an option that the source has no use for.
void check_used(const std::set<std::string>& given, const Options& options) {
    struct Rule {
        const char* option;
        bool used;
        const char* with;
    };
    const bool shows = !options.values && !options.profile;
    for (const Rule& rule :
         {Rule{"--duration", options.profile, "--profile"}, Rule{"--queries", options.profile, "--profile"},
          Rule{"--layers", options.profile, "--profile"}, Rule{"--size", !options.camera.empty(), "a camera"},
          Rule{"--max-age-ms", !options.camera.empty(), "a camera"},
          Rule{"--max-frames", shows, "frames, not with tensors on stdin"},
          Rule{"--show-input", shows, "frames, not with tensors on stdin"}}) {
        if (given.count(rule.option) != 0 && !rule.used) {
            refuse(std::string(rule.option) + " has an effect only with " + rule.with + "; leave it out");
        }
    }
}

}  // namespace

Options parse(int count, char** arguments) {
    Options options;
    std::set<std::string> given;
    const auto take = [&](const std::string& option, const std::string& value) {
        set(options, option, value);
        given.insert(option);
    };
    for (int i = 1; i < count; ++i) {
        const std::string argument = arguments[i];
        if (argument == "--help" || argument == "-h") {
            options.help = true;
            return options;
        }
        if (argument == "--values") {
            options.values = true;
        } else if (argument == "--profile") {
            options.profile = true;
        } else if (argument.compare(0, 2, "--") != 0) {
            options.pictures.push_back(argument);
        } else if (const auto equals = argument.find('='); equals != std::string::npos) {
            take(argument.substr(0, equals), argument.substr(equals + 1));
        } else if (i + 1 < count) {
            take(argument, arguments[++i]);
        } else {
            refuse(argument + " lacks its value, or there is no such option");
        }
    }
    const int sources =
        !options.camera.empty() + !options.pictures.empty() + options.from_stdin + options.values + options.profile;
    if (sources != 1) refuse("expected one source: pictures, --source /dev/video0, or --raw WxH:FORMAT");
    check_used(given, options);
    return options;
}
