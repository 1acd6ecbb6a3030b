#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "image.h"

namespace maskrcnn {

/// Sizes of a model's inputs and outputs, all fixed at export: N images on a canvas of H x W, masks of m x m.
struct ModelShape {
    int images = 1;
    Size canvas;
    int max_detections = 100;  ///< for each image; a model with few candidates, on a tiny canvas, has fewer slots
    int mask_side = 28;
};

/// The network's input: image uint8 [N, H, W, 3], RGB, zero right of and below each picture; image_shape float32 [N,
/// 2], each picture's height and width on the canvas.
struct InputBatch {
    explicit InputBatch(const ModelShape& shape);

    std::vector<std::uint8_t> image;
    std::vector<float> image_shape;
};

/// The network's output, with K slots for each image. boxes float32 [N, K, 4], x1, y1, x2, y2 in pixels of the canvas;
/// scores float32 [N, K]; labels int32 [N, K], 1 being the first class; valid [N, K], 0 marks padding; masks float32
/// [N, K, m, m], probabilities in the frame of the box.
struct Detections {
    std::size_t slots = 0;
    std::vector<float> boxes;
    std::vector<float> scores;
    std::vector<std::int32_t> labels;
    std::vector<std::uint8_t> valid;
    std::vector<float> masks;
};

enum class ElementType { float32, int32, int64, uint8, boolean, other };

/// An engine's own tensor, which lives no longer than until the next run.
struct TensorView {
    ElementType type = ElementType::other;
    std::vector<std::int64_t> shape;
    const void* data = nullptr;
    std::size_t bytes = 0;  ///< behind `data`
};

constexpr std::array<const char*, 2> input_names = {"image", "image_shape"};
constexpr std::array<const char*, 5> output_names = {"boxes", "scores", "labels", "valid", "masks"};

/// The shapes that the tensors named in `input_names` must have.
std::array<std::vector<std::int64_t>, 2> input_shapes(const ModelShape& shape);

/// Throws Error where a model has another number of `what` ("inputs", "outputs").
void check_count(const char* what, std::size_t found, std::size_t expected);

/// Throws Error where a model's tensor `name` has another shape than its metadata says.
void check_shape(const char* name, const std::vector<std::int64_t>& found, const std::vector<std::int64_t>& expected);

/// Copy the five outputs, in the order of `output_names`. Throws Error where a shape, type or size is not as
/// agreed.
Detections copy_outputs(const std::array<TensorView, 5>& outputs, const ModelShape& shape);

}  // namespace maskrcnn
