#include "paste.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace maskrcnn {
namespace {

/// Where the pixels of one axis fall in the mask, which has a ring of one zero cell around it.
struct Axis {
    int start = 0;                ///< first pixel with a value
    std::vector<int> cell;        ///< cell of the ringed mask below pixel start + i
    std::vector<float> fraction;  ///< how far the pixel lies from that cell to the next

    int size() const { return static_cast<int>(cell.size()); }
};

/// Maps pixels by their centres at p + 0.5, and mask cells likewise; what lies beyond the ring has no value.
Axis exact_axis(float low, float high, int side, int cells) {
    Axis axis;
    const float extent = high - low;
    if (!(extent > 0)) {
        return axis;
    }
    for (int pixel = 0; pixel < side; ++pixel) {
        const float position = (static_cast<float>(pixel) + 0.5F - low) / extent * static_cast<float>(cells) - 0.5F;
        if (!(position > -1 && position < static_cast<float>(cells))) {
            continue;
        }
        if (axis.cell.empty()) {
            axis.start = pixel;
        }
        const float lower = std::floor(position);
        axis.cell.push_back(static_cast<int>(lower) + 1);
        axis.fraction.push_back(position - lower);
    }
    return axis;
}

/// Follows torchvision: the ringed mask fills the enlarged box, cut to whole pixels.
Axis torchvision_axis(float low, float high, int side, int cells) {
    Axis axis;
    const int padded = cells + 2;
    const auto enlarged = static_cast<float>(static_cast<double>(padded) / cells);
    const float half_extent = (high - low) * 0.5F * enlarged;
    const float centre = (high + low) * 0.5F;
    const int first = static_cast<int>(centre - half_extent);
    const int last = static_cast<int>(centre + half_extent);
    const int count = std::max(last - first + 1, 1);
    const auto cells_per_pixel = static_cast<float>(static_cast<double>(padded) / count);
    axis.start = std::max(first, 0);
    const int stop = std::min(last + 1, side);
    for (int pixel = axis.start; pixel < stop; ++pixel) {
        const float position = std::max((static_cast<float>(pixel - first) + 0.5F) * cells_per_pixel - 0.5F, 0.0F);
        const float lower = std::min(std::floor(position), static_cast<float>(padded - 2));
        axis.cell.push_back(static_cast<int>(lower));
        axis.fraction.push_back(std::min(position - lower, 1.0F));
    }
    return axis;
}

/// Follows MindSpore's model zoo: the mask fills the pixels from int(low) to int(high), both included, and ends sharply
/// there. What would leave the image is squeezed into it.
Axis mindspore_zoo_axis(float low, float high, int side, int cells) {
    Axis axis;
    axis.start = std::max(static_cast<int>(low), 0);
    const int count = std::min(std::max(static_cast<int>(high) - axis.start + 1, 1), side - axis.start);
    if (count <= 0) {
        return {};
    }
    const auto cells_per_pixel = static_cast<float>(static_cast<double>(cells) / count);
    for (int step = 0; step < count; ++step) {
        const float position = (static_cast<float>(step) + 0.5F) * cells_per_pixel - 0.5F;
        const float clamped = std::clamp(position, 0.0F, static_cast<float>(cells - 1));
        const float lower = std::floor(clamped);
        axis.cell.push_back(static_cast<int>(lower) + 1);
        axis.fraction.push_back(clamped - lower);
    }
    return axis;
}

using AxisRule = Axis (*)(float low, float high, int side, int cells);

AxisRule axis_of(PasteRule rule) {
    switch (rule) {
        case PasteRule::torchvision:
            return torchvision_axis;
        case PasteRule::mindspore_zoo:
            return mindspore_zoo_axis;
        case PasteRule::exact:
            break;
    }
    return exact_axis;
}

}  // namespace

std::optional<PasteRule> paste_rule(const std::string& name) {
    if (name == "exact") {
        return PasteRule::exact;
    }
    if (name == "torchvision") {
        return PasteRule::torchvision;
    }
    if (name == "mindspore_zoo") {
        return PasteRule::mindspore_zoo;
    }
    return std::nullopt;
}

PastedMask paste_mask(const float* mask, int side, const Box& box, Size image, PasteRule rule) {
    const AxisRule axis = axis_of(rule);
    const Axis across = axis(box.x1, box.x2, image.width, side);
    const Axis down = axis(box.y1, box.y2, image.height, side);
    const int ringed = side + 2;
    const auto value = [mask, side](int row, int column) {  // of the ringed mask
        const bool inside = row >= 1 && row <= side && column >= 1 && column <= side;
        return inside ? mask[(row - 1) * side + column - 1] : 0.0F;
    };

    // First down: column c of the ringed mask at every pixel row.
    const auto height = static_cast<std::size_t>(down.size());
    std::vector<float> columns(static_cast<std::size_t>(ringed) * height);
    for (int column = 0; column < ringed; ++column) {
        float* out = columns.data() + static_cast<std::size_t>(column) * height;
        for (std::size_t i = 0; i < height; ++i) {
            const float upper = value(down.cell[i], column);
            const float lower = value(down.cell[i] + 1, column);
            out[i] = upper + (lower - upper) * down.fraction[i];
        }
    }

    // Then across, between two such columns.
    PastedMask pasted{across.start, down.start, across.size(), down.size(), {}};
    pasted.columns.resize(static_cast<std::size_t>(pasted.width) * height);
    for (int i = 0; i < pasted.width; ++i) {
        const float* left = columns.data() + static_cast<std::size_t>(across.cell[i]) * height;
        const float* right = left + height;
        const float fraction = across.fraction[i];
        float* out = pasted.columns.data() + static_cast<std::size_t>(i) * height;
        for (std::size_t j = 0; j < height; ++j) {
            out[j] = (right[j] - left[j]) * fraction + left[j];
        }
    }
    return pasted;
}

}  // namespace maskrcnn
