// The navigation network: steering, the probability of a collision, and where the floor is free.
#include <algorithm>
#include <cmath>

#include "tasks.h"

namespace {

// As numpy clips: what is no number stays that.
double clipped(double value, double low, double high) {
    return std::isnan(value) ? value : std::clamp(value, low, high);
}

class NavigateTask : public Task {
public:
    explicit NavigateTask(const Model& model) : height_(model.input.height()), width_(model.input.width()) {
        for (const char* name : {"steer", "collision", "free_space"}) expect_output(model, name, 0);
    }

    Image fit(const Image& frame) const override { return resize(frame, height_, width_); }

    Reading decode(const Outputs& outputs, int, int) const override {
        const double steer = clipped(outputs.at("steer").front(), -1, 1);
        const double collision = clipped(outputs.at("collision").front(), 0, 1);
        const std::vector<float>& floor = outputs.at("free_space");
        const auto free = std::count_if(floor.begin(), floor.end(), [](float share) { return share > 0.5f; });
        Reading reading;
        reading.record = "\"steer\": " + rounded(steer, 4) + ", \"collision_probability\": " + rounded(collision, 4) +
                         ", \"free_share\": " + rounded(double(free) / double(floor.size()), 4);
        reading.drives = true;
        reading.finite = std::isfinite(steer) && std::isfinite(collision) &&
                         std::all_of(floor.begin(), floor.end(), [](float share) { return std::isfinite(share); });
        reading.steer = steer;
        reading.speed = 1 - collision;
        return reading;
    }

private:
    int height_, width_;
};

}  // namespace

std::unique_ptr<Task> navigate_task(const Model& model) { return std::make_unique<NavigateTask>(model); }
