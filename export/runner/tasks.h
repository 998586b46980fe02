// Tasks: a frame to the network's input, and its outputs to a record, as runtime/tasks/*.py do it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "image.h"
#include "model.h"

// What a task reads from a frame. `record` is the inside of a JSON object. `drives`: a command for a robot is in it,
// and `finite` says whether it can be trusted.
struct Reading {
    std::string record;
    bool drives = false;
    bool finite = true;
    double steer = 0, speed = 0;
};

class Task {
public:
    virtual ~Task() = default;

    // The picture as the network gets it.
    virtual Image fit(const Image& frame) const = 0;

    // One value a value of the input, in its layout.
    virtual std::vector<float> values(const Image& fitted) const;

    virtual Reading decode(const Outputs& outputs, int frame_height, int frame_width) const = 0;
};

// The task that model.json names. Throws Failure where its outputs are not those of the task.
std::unique_ptr<Task> task_for(const Model& model);

// One file each.
std::unique_ptr<Task> face_task(const Model& model);
std::unique_ptr<Task> navigate_task(const Model& model);
std::unique_ptr<Task> raw_task(const Model& model);

// Throws Failure where `model` has no output of this name and, unless it is 0, this many values.
void expect_output(const Model& model, const std::string& name, std::size_t count);
