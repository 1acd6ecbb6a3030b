#include "records.h"

#include <cmath>
#include <limits>

#include "workspace.h"

namespace maskrcnn {
namespace {

using nlohmann::json;
using testing::contains;
using testing::error_of;

class RecordVectors : public testing::Vectors {};

std::vector<Identity> identities(const json& ids) {
    std::vector<Identity> texts;
    for (const json& id : ids) {
        texts.push_back(id.dump());
    }
    return texts;
}

/// Scaling, clipping, order, category ids, numbers and masks of whole images.
TEST_F(RecordVectors, RecordsAreThoseOfPython) {
    for (const auto& item : load("records")) {
        const int mask_side = item["mask_side"];
        const Detections found{item["slots"],  item["boxes"], item["scores"],
                               item["labels"], item["valid"], item["masks"]};
        const Size network{item["network"][0], item["network"][1]};
        const Size original{item["original"][0], item["original"][1]};
        const RecordRules rules{identities(item["category_ids"]), mask_side, 0.5F, *paste_rule(item["rule"])};
        json boxes = json::array();
        json masks = json::array();
        for (const Object& object : objects_of_image(found, mask_side, item["index"], network, original)) {
            const Records records = coco_records(item["image_id"].dump(), object, original, rules);
            boxes.push_back(json::parse(records.box));
            masks.push_back(json::parse(records.mask));
        }
        EXPECT_EQ(boxes, item["bbox"]);
        EXPECT_EQ(masks, item["segm"]);
    }
}

/// One image, two slots, masks of 1 x 1; the second slot is padding.
Detections one_object(Box box = {1, 1, 3, 3}, float score = 0.5F, std::int32_t label = 1, float mask = 1) {
    const float nan = std::numeric_limits<float>::quiet_NaN();
    return {2, {box.x1, box.y1, box.x2, box.y2, nan, nan, nan, nan}, {score, nan}, {label, -7}, {1, 0}, {mask, nan}};
}

std::vector<Object> objects(const Detections& found) { return objects_of_image(found, 1, 0, {4, 4}, {8, 12}); }

TEST(Objects, BoxesAreScaledByEachAxisAndClipped) {
    const Detections found = one_object({-1, 1, 2, 9});
    const auto all = objects(found);
    ASSERT_EQ(all.size(), 1U);  // padding is not looked at
    EXPECT_FLOAT_EQ(all[0].box.x1, 0);
    EXPECT_FLOAT_EQ(all[0].box.y1, 2);
    EXPECT_FLOAT_EQ(all[0].box.x2, 6);
    EXPECT_FLOAT_EQ(all[0].box.y2, 8);
}

TEST(Objects, ValuesThatAreNotFiniteAreErrors) {
    const float nan = std::numeric_limits<float>::quiet_NaN();
    const float infinity = std::numeric_limits<float>::infinity();
    EXPECT_TRUE(contains(error_of([&] { objects(one_object({0, 0, nan, 1})); }), "a box that is not finite"));
    EXPECT_TRUE(contains(error_of([&] { objects(one_object({0, 0, 1, 1}, infinity)); }), "a score that is not finite"));
    EXPECT_TRUE(contains(error_of([&] { objects(one_object({0, 0, 1, 1}, 1, 1, nan)); }), "a mask that is not finite"));
}

TEST(Records, LabelsBeyondTheClassesAreErrors) {
    const RecordRules rules{{"17", "18"}, 1, 0.5F, PasteRule::exact};
    for (const std::int32_t label : {0, 3, -1}) {
        const Detections found = one_object({0, 0, 1, 1}, 1, label);
        const auto all = objects(found);
        EXPECT_TRUE(contains(error_of([&] { coco_records("1", all[0], {8, 12}, rules); }),
                             "label " + std::to_string(label) + " but its metadata has 2 classes"));
    }
}

TEST(Numbers, TheyAreShortAndTheSameFloat) {
    EXPECT_EQ(shortest(0.1F), "0.1");
    for (const float value : {0.0F, 1.0F, 1280.0F, 1.0F / 3, 1e-5F, 0.9999999F, 123456.79F}) {
        EXPECT_EQ(json::parse(shortest(value)).get<float>(), value);
    }
}

}  // namespace
}  // namespace maskrcnn
