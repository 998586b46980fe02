#include "tasks.h"

#include <algorithm>

#include "failure.h"

std::vector<float> Task::values(const Image& fitted) const { return {fitted.pixels.begin(), fitted.pixels.end()}; }

std::unique_ptr<Task> task_for(const Model& model) {
    if (model.task.empty()) return raw_task(model);
    if (model.input.dtype != "uint8" || model.input.layout != "NHWC" || model.input.channels() != 3) {
        throw Failure(Code::bad_artefact,
                      "model.json: task " + model.task + " takes uint8 NHWC pictures; export it again");
    }
    if (model.task == "face") return face_task(model);
    if (model.task == "navigate") return navigate_task(model);
    throw Failure(Code::bad_artefact, "model.json has task " + model.task + ", this program knows face and navigate");
}

void expect_output(const Model& model, const std::string& name, std::size_t count) {
    const bool there = std::any_of(model.outputs.begin(), model.outputs.end(), [&](const TensorSpec& output) {
        return output.name == name && (count == 0 || output.size() == count);
    });
    if (there) return;
    const std::string values = count == 0 ? "" : " of " + std::to_string(count) + " values";
    throw Failure(Code::bad_artefact, "model.json: task " + model.task + " needs an output " + name + values);
}
