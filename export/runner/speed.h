// What the processor multiplies and copies at the most: the roofline of its layers, as runtime/profiler/speed.py has
// it.
#pragma once

#include <net.h>

struct Speed {
    double gflops = 0, gb_s = 0;
};

// The best of half a second each, with the threads of `option`: a matrix product of ncnn's, and a copy.
Speed measured_speed(const ncnn::Option& option);
