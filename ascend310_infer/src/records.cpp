#include "records.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>

#include "error.h"
#include "rle.h"

namespace maskrcnn {
namespace {

void require_finite(const char* name, const float* values, std::size_t count) {
    if (!std::all_of(values, values + count, [](float value) { return std::isfinite(value); })) {
        throw Error(std::string("the network gave a ") + name +
                    " that is not finite: the model's weights are probably damaged or have diverged");
    }
}

/// COCO's letters for run lengths as JSON text: the backslash is one of them.
std::string escaped(const std::string& letters) {
    std::string text;
    for (const char letter : letters) {
        if (letter == '\\') {
            text += letter;
        }
        text += letter;
    }
    return text;
}

}  // namespace

std::vector<Object> objects_of_image(const Detections& found, int mask_side, int index, Size network, Size original) {
    const auto width = static_cast<float>(original.width);
    const auto height = static_cast<float>(original.height);
    // From both sizes: rounding the resized sides makes the factors differ from the common scale.
    const float across = width / static_cast<float>(network.width);
    const float down = height / static_cast<float>(network.height);
    const auto cells = static_cast<std::size_t>(mask_side) * static_cast<std::size_t>(mask_side);

    std::vector<Object> objects;
    const auto first = static_cast<std::size_t>(index) * found.slots;
    for (auto slot = first; slot < first + found.slots; ++slot) {
        if (found.valid[slot] == 0) {
            continue;
        }
        const float* box = &found.boxes[slot * 4];
        const float* mask = &found.masks[slot * cells];
        require_finite("box", box, 4);
        require_finite("score", &found.scores[slot], 1);
        require_finite("mask", mask, cells);
        objects.push_back({{std::clamp(box[0] * across, 0.0F, width), std::clamp(box[1] * down, 0.0F, height),
                            std::clamp(box[2] * across, 0.0F, width), std::clamp(box[3] * down, 0.0F, height)},
                           found.scores[slot],
                           found.labels[slot],
                           mask});
    }
    std::stable_sort(objects.begin(), objects.end(),
                     [](const Object& a, const Object& b) { return a.score > b.score; });
    return objects;
}

const Identity& category_of(const Object& object, const RecordRules& rules) {
    if (object.label < 1 || static_cast<std::size_t>(object.label) > rules.category_ids.size()) {
        throw Error("the network gave label " + std::to_string(object.label) + " but its metadata has " +
                    std::to_string(rules.category_ids.size()) +
                    " classes: model and metadata are of different exports");
    }
    return rules.category_ids[static_cast<std::size_t>(object.label) - 1];
}

Records coco_records(const Identity& image_id, const Object& object, Size image, const RecordRules& rules) {
    const std::string common = "{\"image_id\": " + image_id + ", \"category_id\": " + category_of(object, rules);
    const std::string score = ", \"score\": " + shortest(object.score) + "}";

    const Box& box = object.box;
    const std::string corners = shortest(box.x1) + ", " + shortest(box.y1) + ", " + shortest(box.x2 - box.x1) + ", " +
                                shortest(box.y2 - box.y1);
    const auto pasted = paste_mask(object.mask, rules.mask_side, box, image, rules.paste);
    const std::string counts = escaped(compress(run_lengths(pasted, image, rules.mask_threshold)));
    const std::string size = std::to_string(image.height) + ", " + std::to_string(image.width);
    return {common + ", \"bbox\": [" + corners + "]" + score,
            common + ", \"segmentation\": {\"size\": [" + size + "], \"counts\": \"" + counts + "\"}" + score};
}

std::string shortest(float value) {
    std::array<char, 32> digits{};
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
    return {digits.data(), end};
}

}  // namespace maskrcnn
