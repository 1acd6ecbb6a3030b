#pragma once

#include <optional>
#include <string>
#include <vector>

#include "image.h"

namespace maskrcnn {

/// A box in pixels.
struct Box {
    float x1 = 0;
    float y1 = 0;
    float x2 = 0;
    float y2 = 0;
};

/// A mask's pixels where it has any: `width` columns of `height` values each, the first at (x, y) of the image.
struct PastedMask {
    int x = 0;
    int y = 0;
    int width = 0;
    int height = 0;
    std::vector<float> columns;
};

/// How masks are pasted: at the box's own coordinates, or as is done where the weights come from.
enum class PasteRule { exact, torchvision, mindspore_zoo };

/// The rule of a name as the metadata file has it, none for an unknown name.
std::optional<PasteRule> paste_rule(const std::string& name);

/// Interpolates a mask of `side` x `side` probabilities over the pixels of an image that it reaches from `box`.
///
/// This repeats src/maskrcnn/inference/paste.py step by step, in float32, so that both find the same pixels; the
/// compiler must not fuse multiplications and additions (-ffp-contract=off).
PastedMask paste_mask(const float* mask, int side, const Box& box, Size image, PasteRule rule);

}  // namespace maskrcnn
