#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "metadata.h"
#include "paste.h"
#include "tensors.h"

namespace maskrcnn {

/// An object in pixels of the original image. `mask` points into the network's output.
struct Object {
    Box box;
    float score = 0;
    std::int32_t label = 0;
    const float* mask = nullptr;
};

/// The valid objects of image `index` of a batch, best score first, boxes scaled from the picture on the canvas
/// (`network`) to the image file's size (`original`) and clipped to it. `found` must outlive them.
/// Throws Error where the network gave something that is not finite.
std::vector<Object> objects_of_image(const Detections& found, int mask_side, int index, Size network, Size original);

/// An object as JSON objects of COCO's result format. `mask` carries no box: pycocotools would take the box's area.
struct Records {
    std::string box;
    std::string mask;
};

/// How objects become records; category_ids[label - 1] is the data set's id of a label, empty where it has none.
struct RecordRules {
    std::vector<Identity> category_ids;
    int mask_side = 28;
    float mask_threshold = 0.5F;
    PasteRule paste = PasteRule::exact;
};

/// The data set's id of an object's class, empty where it has none. Throws Error for a label beyond the category ids.
const Identity& category_of(const Object& object, const RecordRules& rules);

/// The records of an object whose class the data set has. Throws Error as `category_of` does.
Records coco_records(const Identity& image_id, const Object& object, Size image, const RecordRules& rules);

/// The number with the fewest digits that is still the same float32.
std::string shortest(float value);

}  // namespace maskrcnn
