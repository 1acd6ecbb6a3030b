#include "tensors.h"

#include <algorithm>
#include <numeric>
#include <string>

#include "error.h"

namespace maskrcnn {
namespace {

std::size_t elements(const std::vector<std::int64_t>& shape) {
    return std::accumulate(shape.begin(), shape.end(), std::size_t{1},
                           [](std::size_t count, std::int64_t side) { return count * static_cast<std::size_t>(side); });
}

std::string text(const std::vector<std::int64_t>& shape) {
    std::string sides;
    for (const auto side : shape) {
        sides += (sides.empty() ? "" : ", ") + std::to_string(side);
    }
    return "[" + sides + "]";
}

std::array<std::vector<std::int64_t>, 5> output_shapes(const ModelShape& shape, std::int64_t slots) {
    const std::int64_t n = shape.images;
    return {{{n, slots, 4}, {n, slots}, {n, slots}, {n, slots}, {n, slots, shape.mask_side, shape.mask_side}}};
}

/// Number of slots of an image, as the scores' shape [N, K] has it.
std::int64_t count_slots(const std::vector<std::int64_t>& scores, const ModelShape& shape) {
    const bool possible = scores.size() == 2 && scores[1] >= 1 && scores[1] <= shape.max_detections;
    return possible ? scores[1] : shape.max_detections;
}

template <typename From, typename To>
void copy(const TensorView& tensor, std::vector<To>& to) {
    to.resize(elements(tensor.shape));
    if (tensor.data == nullptr || tensor.bytes < to.size() * sizeof(From)) {
        throw Error("the engine gave " + std::to_string(tensor.bytes) + " bytes for an output of the shape " +
                    text(tensor.shape));
    }
    const auto* first = static_cast<const From*>(tensor.data);
    std::transform(first, first + to.size(), to.begin(), [](From value) { return static_cast<To>(value); });
}

[[noreturn]] void refuse_type(const char* name, const char* expected) {
    throw Error(std::string("the model's output '") + name + "' is not of type " + expected +
                ": take one that export.py wrote, or convert that again");
}

void copy_floats(const char* name, const TensorView& tensor, std::vector<float>& to) {
    if (tensor.type != ElementType::float32) {
        refuse_type(name, "float32");
    }
    copy<float>(tensor, to);
}

void copy_labels(const char* name, const TensorView& tensor, std::vector<std::int32_t>& to) {
    switch (tensor.type) {
        case ElementType::int32: return copy<std::int32_t>(tensor, to);
        case ElementType::int64: return copy<std::int64_t>(tensor, to);
        default: refuse_type(name, "int32");
    }
}

void copy_flags(const char* name, const TensorView& tensor, std::vector<std::uint8_t>& to) {
    if (tensor.type != ElementType::uint8 && tensor.type != ElementType::boolean) {
        refuse_type(name, "uint8 or bool");
    }
    copy<std::uint8_t>(tensor, to);
}

}  // namespace

InputBatch::InputBatch(const ModelShape& shape)
    : image(elements(input_shapes(shape)[0])), image_shape(elements(input_shapes(shape)[1])) {}

std::array<std::vector<std::int64_t>, 2> input_shapes(const ModelShape& shape) {
    return {{{shape.images, shape.canvas.height, shape.canvas.width, 3}, {shape.images, 2}}};
}

void check_count(const char* what, std::size_t found, std::size_t expected) {
    if (found != expected) {
        throw Error("the model has " + std::to_string(found) + " " + what + ", not " + std::to_string(expected) +
                    ": take one that export.py wrote, or convert that again");
    }
}

void check_shape(const char* name, const std::vector<std::int64_t>& found, const std::vector<std::int64_t>& expected) {
    if (found != expected) {
        throw Error(std::string("the model's '") + name + "' has the shape " + text(found) +
                    ", but its metadata says " + text(expected) + ": model and metadata are of different exports");
    }
}

Detections copy_outputs(const std::array<TensorView, 5>& outputs, const ModelShape& shape) {
    const std::int64_t slots = count_slots(outputs[1].shape, shape);
    const auto expected = output_shapes(shape, slots);
    for (std::size_t i = 0; i < outputs.size(); ++i) {
        check_shape(output_names[i], outputs[i].shape, expected[i]);
    }
    Detections found;
    found.slots = static_cast<std::size_t>(slots);
    copy_floats(output_names[0], outputs[0], found.boxes);
    copy_floats(output_names[1], outputs[1], found.scores);
    copy_labels(output_names[2], outputs[2], found.labels);
    copy_flags(output_names[3], outputs[3], found.valid);
    copy_floats(output_names[4], outputs[4], found.masks);
    return found;
}

}  // namespace maskrcnn
