#pragma once

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

/// Interpolate a mask of `side` x `side` probabilities over the pixels of an image that it reaches from `box`.
///
/// This is maskrcnn/evaluation/paste.py step by step, in float32, so both find the same pixels; the compiler must not
/// fuse multiplications and additions (-ffp-contract=off). `integer_boxes` follows torchvision's whole-pixel boxes.
PastedMask paste_mask(const float* mask, int side, const Box& box, Size image, bool integer_boxes);

}  // namespace maskrcnn
