// The command line.
#pragma once

#include <string>
#include <vector>

#include "source.h"

struct Options {
    std::string model;
    std::string camera;
    std::vector<std::string> pictures;
    bool from_stdin = false;
    bool values = false;
    bool profile = false;
    double duration_s = 10;
    long queries = 100;
    long layers = 0;
    bool help = false;
    Raw raw;
    Raw size{640, 480, Format::yuyv};
    std::string show_input;
    int threads = 0;
    long max_frames = 0;
    double max_age_ms = 500;
};

// Throws Failure that names what cannot be meant.
Options parse(int count, char** arguments);

extern const char* const kHelp;
