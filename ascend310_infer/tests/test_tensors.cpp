#include "tensors.h"

#include "workspace.h"

namespace maskrcnn {
namespace {

using testing::contains;
using testing::error_of;

ModelShape small() {
    ModelShape shape;
    shape.images = 1;
    shape.canvas = {4, 6};
    shape.max_detections = 3;
    shape.mask_side = 1;
    return shape;
}

class Outputs : public ::testing::Test {
protected:
    std::array<TensorView, 5> views() const {
        return {{{ElementType::float32, {1, 2, 4}, boxes.data(), sizeof boxes},
                 {ElementType::float32, {1, 2}, scores.data(), sizeof scores},
                 {ElementType::int64, {1, 2}, labels.data(), sizeof labels},
                 {ElementType::boolean, {1, 2}, valid.data(), sizeof valid},
                 {ElementType::float32, {1, 2, 1, 1}, masks.data(), sizeof masks}}};
    }
    std::string refusal(std::size_t output, const TensorView& view) const {
        auto changed = views();
        changed[output] = view;
        return error_of([&] { copy_outputs(changed, small()); });
    }

    const std::array<float, 8> boxes = {1, 2, 3, 4, 5, 6, 7, 8};
    const std::array<float, 2> scores = {0.5F, 0.25F};
    const std::array<std::int64_t, 2> labels = {7, 80};
    const std::array<std::uint8_t, 2> valid = {1, 0};
    const std::array<float, 2> masks = {0.5F, 1};
};

TEST_F(Outputs, TheyAreCopiedAndLabelsNarrowed) {
    const Detections found = copy_outputs(views(), small());
    EXPECT_EQ(found.slots, 2U);
    EXPECT_EQ(found.boxes, std::vector<float>(boxes.begin(), boxes.end()));
    EXPECT_EQ(found.scores, std::vector<float>(scores.begin(), scores.end()));
    EXPECT_EQ(found.labels, (std::vector<std::int32_t>{7, 80}));
    EXPECT_EQ(found.valid, (std::vector<std::uint8_t>{1, 0}));
    EXPECT_EQ(found.masks, std::vector<float>(masks.begin(), masks.end()));
}

TEST_F(Outputs, OtherShapesTypesAndSizesAreRefused) {
    EXPECT_TRUE(contains(refusal(0, {ElementType::float32, {1, 3, 4}, boxes.data(), 48}),
                         "'boxes' has the shape [1, 3, 4], but its metadata says [1, 2, 4]"));
    EXPECT_TRUE(contains(refusal(1, {ElementType::float32, {1, 4}, scores.data(), 16}),
                         "'boxes' has the shape [1, 2, 4], but its metadata says [1, 3, 4]"));
    EXPECT_TRUE(
        contains(refusal(1, {ElementType::other, {1, 2}, scores.data(), 8}), "'scores' is not of type float32"));
    EXPECT_TRUE(
        contains(refusal(2, {ElementType::float32, {1, 2}, scores.data(), 8}), "'labels' is not of type int32"));
    EXPECT_TRUE(contains(refusal(3, {ElementType::int32, {1, 2}, labels.data(), 8}), "'valid' is not of type uint8"));
    EXPECT_TRUE(contains(refusal(4, {ElementType::float32, {1, 2, 1, 1}, masks.data(), 4}), "gave 4 bytes"));
    EXPECT_TRUE(contains(refusal(4, {ElementType::float32, {1, 2, 1, 1}, nullptr, 8}), "[1, 2, 1, 1]"));
}

TEST(Inputs, ABatchHasTheModelsSize) {
    const InputBatch batch(small());
    EXPECT_EQ(batch.image.size(), 4U * 6 * 3);
    EXPECT_EQ(batch.image_shape.size(), 2U);
    EXPECT_TRUE(contains(error_of([] { check_count("inputs", 1, 2); }), "1 inputs, not 2"));
}

TEST(Messages, ManyLinesBecomeOne) { EXPECT_STREQ(Error("a\n  b\t c \n").what(), "a b c"); }

}  // namespace
}  // namespace maskrcnn
