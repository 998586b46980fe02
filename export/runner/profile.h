// The network alone, one query after the other, every time kept: the loop of runtime/profiler/stream.py.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model.h"
#include "options.h"

// Runs until it has lasted `duration_s` and answered `queries`, over and over the tensors, each as it lies in memory:
// uint8 or float32. A query takes a tensor as it is and ends with all outputs. Only then are `layers` runs more made,
// with each layer timed. The record is one line of JSON.
std::string profile(Model& model, const std::vector<std::vector<std::uint8_t>>& tensors, const Options& options);
