// Faces: from the detector's scores, distances and points per cell to boxes and landmarks in the frame.
#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "failure.h"
#include "tasks.h"

namespace {

constexpr std::size_t kPoints = 5;

struct Cell {
    float x, y;
    float stride;
};

// In pixels of the frame; `figures` are x1, y1, x2, y2 and then the points' x, y.
struct Face {
    std::array<float, 4 + 2 * kPoints> figures;
    float score;
};

// Intersection over union, in doubles as OpenCV's NMSBoxes has it: corners that were made a size and are added again.
float overlap(const Face& one, const Face& other) {
    const auto width = [](const Face& face) { return double(face.figures[2] - face.figures[0]); };
    const auto height = [](const Face& face) { return double(face.figures[3] - face.figures[1]); };
    const auto shared = [&](std::size_t axis, auto side) {
        const double first = one.figures[axis], second = other.figures[axis];
        return std::min(first + side(one), second + side(other)) - std::max(first, second);
    };
    const double across = shared(0, width), down = shared(1, height);
    const double inner = across > 0 && down > 0 ? across * down : 0;
    const double both = width(one) * height(one) + width(other) * height(other);
    return both > 0 ? float(inner / (both - inner)) : 1.0f;
}

// Whether `box` is of the face that `kept` is; in float32, as numpy has it.
bool same_face(const Face& kept, const Face& box, float iou) {
    const auto side = [](const Face& face, std::size_t axis) { return face.figures[axis + 2] - face.figures[axis]; };
    const auto shared = [&](std::size_t axis) {
        return std::max(0.0f, std::min(kept.figures[axis + 2], box.figures[axis + 2]) -
                                  std::max(kept.figures[axis], box.figures[axis]));
    };
    const float inner = shared(0) * shared(1);
    return inner >= iou * (side(kept, 0) * side(kept, 1) + side(box, 0) * side(box, 1) - inner);
}

class FaceTask : public Task {
public:
    explicit FaceTask(const Model& model)
        : height_(model.input.height()),
          width_(model.input.width()),
          threshold_(float(model.decoding.at("score_threshold").number())),
          iou_(float(model.decoding.at("nms_iou").number())) {
        for (const Json& stride : model.decoding.at("strides").items()) add_cells(stride.integer());
        expect_output(model, "scores", cells_.size());
        expect_output(model, "boxes", cells_.size() * 4);
        expect_output(model, "landmarks", cells_.size() * 2 * kPoints);
    }

    Image fit(const Image& frame) const override { return letterbox(frame, height_, width_); }

    Reading decode(const Outputs& outputs, int frame_height, int frame_width) const override {
        const float size = float(1 / letterbox_scale(frame_height, frame_width, height_, width_));
        const std::vector<Face> found = candidates(outputs, size);
        std::vector<Face> faces;
        for (const std::size_t kept : suppressed(found)) faces.push_back(merged(found, found[kept]));
        for (Face& face : faces) {
            for (std::size_t i = 0; i < face.figures.size(); ++i) {
                face.figures[i] = std::clamp(face.figures[i], 0.0f, float(i % 2 == 0 ? frame_width : frame_height));
            }
        }
        Reading reading;
        reading.record = shown(faces);
        return reading;
    }

private:
    void add_cells(int stride) {
        if (stride < 1 || stride > std::max(height_, width_)) {
            throw Failure(Code::bad_artefact,
                          "model.json has a stride of " + std::to_string(stride) + "; export it again");
        }
        for (int y = 0; y < height_ / stride; ++y) {
            for (int x = 0; x < width_ / stride; ++x) {
                cells_.push_back({float((x + 0.5) * stride), float((y + 0.5) * stride), float(stride)});
            }
        }
    }

    // The cells whose score is high enough, in pixels of the frame, which has `size` of them for one of the input.
    std::vector<Face> candidates(const Outputs& outputs, float size) const {
        const std::vector<float>& scores = outputs.at("scores");
        const float* boxes = outputs.at("boxes").data();
        const float* points = outputs.at("landmarks").data();
        std::vector<Face> found;
        for (std::size_t i = 0; i < cells_.size(); ++i, boxes += 4, points += 2 * kPoints) {
            if (!(scores[i] >= threshold_)) continue;
            const float unit = cells_[i].stride * size;
            const std::array<float, 2> centre = {cells_[i].x * size, cells_[i].y * size};
            Face face{{}, scores[i]};
            for (std::size_t side = 0; side < 4; ++side) {
                const float reach = boxes[side] * unit;
                face.figures[side] = side < 2 ? centre[side] - reach : centre[side - 2] + reach;
            }
            for (std::size_t p = 0; p < 2 * kPoints; ++p) face.figures[4 + p] = points[p] * unit + centre[p % 2];
            found.push_back(face);
        }
        return found;
    }

    // Indices that non-maximum suppression leaves, best first.
    std::vector<std::size_t> suppressed(const std::vector<Face>& found) const {
        std::vector<std::size_t> order(found.size());
        std::iota(order.begin(), order.end(), std::size_t(0));
        std::stable_sort(order.begin(), order.end(),
                         [&](std::size_t a, std::size_t b) { return found[a].score > found[b].score; });
        std::vector<std::size_t> kept;
        for (const std::size_t i : order) {
            const bool free = std::all_of(kept.begin(), kept.end(),
                                          [&](std::size_t k) { return overlap(found[i], found[k]) <= iou_; });
            if (free) kept.push_back(i);
        }
        return kept;
    }

    // The mean of all detections that are of the face of `best`, by their scores (Bazarevsky et al. 2019, section 3.4).
    Face merged(const std::vector<Face>& found, const Face& best) const {
        float total = 0;
        for (const Face& face : found) total += same_face(best, face, iou_) ? face.score : 0;
        Face mean{{}, best.score};
        for (const Face& face : found) {
            if (!same_face(best, face, iou_)) continue;
            for (std::size_t i = 0; i < mean.figures.size(); ++i)
                mean.figures[i] += face.score / total * face.figures[i];
        }
        return mean;
    }

    static std::string shown(const std::vector<Face>& faces) {
        const auto listed = [&](auto one) {
            std::string text;
            for (const Face& face : faces) text += (text.empty() ? "" : ", ") + one(face);
            return "[" + text + "]";
        };
        const auto figures = [](const Face& face, std::size_t begin, std::size_t end) {
            std::string text;
            for (std::size_t i = begin; i < end; ++i) {
                text += (i == begin ? "" : ", ") + rounded_as_numpy(face.figures[i], 1);
            }
            return "[" + text + "]";
        };
        const auto points = [&](const Face& face) {
            std::string text;
            for (std::size_t p = 0; p < kPoints; ++p) {
                text += (p == 0 ? "" : ", ") + figures(face, 4 + 2 * p, 6 + 2 * p);
            }
            return "[" + text + "]";
        };
        return "\"xyxy\": " + listed([&](const Face& face) { return figures(face, 0, 4); }) +
               ", \"score\": " + listed([](const Face& face) { return rounded_as_numpy(face.score, 4); }) +
               ", \"landmarks\": " + listed(points);
    }

    int height_, width_;
    float threshold_, iou_;
    std::vector<Cell> cells_;
};

}  // namespace

std::unique_ptr<Task> face_task(const Model& model) { return std::make_unique<FaceTask>(model); }
