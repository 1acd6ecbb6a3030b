#include <cmath>

#include "paste.h"
#include "rle.h"
#include "workspace.h"

namespace maskrcnn {
namespace {

class Masks : public testing::Vectors {};

/// Random masks and boxes, over the edges, of no width, of whole pixels: pycocotools' text for Python's pixels.
TEST_F(Masks, RleIsThatOfPythonAndPycocotools) {
    const auto cases = load("masks");
    ASSERT_GE(cases.size(), 300U);
    for (const auto& item : cases) {
        const auto mask = item["mask"].get<std::vector<float>>();
        const auto side = static_cast<int>(std::lround(std::sqrt(mask.size())));
        const auto corners = item["box"].get<std::vector<float>>();
        const Box box{corners[0], corners[1], corners[2], corners[3]};
        const Size image{item["height"], item["width"]};
        const auto rule = paste_rule(item["rule"]);
        ASSERT_TRUE(rule.has_value()) << item["rule"];
        const auto pasted = paste_mask(mask.data(), side, box, image, *rule);
        EXPECT_EQ(compress(run_lengths(pasted, image, item["threshold"])), item["counts"].get<std::string>())
            << item["rule"] << " " << item["box"] << " " << item["height"] << "x" << item["width"];
    }
}

/// Run lengths of any kind, long and short, rising and falling.
TEST_F(Masks, CompressionIsThatOfPycocotools) {
    const auto cases = load("runs");
    ASSERT_GT(cases.size(), 50U);
    for (const auto& item : cases) {
        EXPECT_EQ(compress(item["runs"].get<RunLengths>()), item["counts"].get<std::string>());
    }
}

PastedMask ones(int x, int y, int width, int height) {
    return {x, y, width, height, std::vector<float>(static_cast<std::size_t>(width * height), 1.0F)};
}

TEST(RunLengths, RunsGoDownTheColumns) {
    EXPECT_EQ(run_lengths(ones(1, 1, 2, 1), {3, 4}, 0.5F), (RunLengths{4, 1, 2, 1, 4}));
    EXPECT_EQ(run_lengths(ones(1, 0, 2, 3), {3, 4}, 0.5F), (RunLengths{3, 6, 3}));        // whole columns are one run
    EXPECT_EQ(run_lengths(ones(0, 0, 4, 3), {3, 4}, 0.5F), (RunLengths{0, 12}));          // the whole image
    EXPECT_EQ(run_lengths(ones(0, 2, 2, 1), {3, 4}, 0.5F), (RunLengths{2, 1, 2, 1, 6}));  // the lower edge
    EXPECT_EQ(run_lengths(ones(3, 2, 1, 1), {3, 4}, 0.5F), (RunLengths{11, 1}));          // the last pixel
    EXPECT_EQ(run_lengths(ones(0, 0, 0, 0), {3, 4}, 0.5F), (RunLengths{12}));             // nothing
    EXPECT_EQ(run_lengths(ones(1, 1, 1, 1), {3, 4}, 1.5F), (RunLengths{12}));             // nothing above the threshold
}

TEST(Paste, TheValueAtACellsCentreIsTheCells) {
    const std::vector<float> mask = {0.1F, 0.2F, 0.3F, 0.4F};
    const auto pasted = paste_mask(mask.data(), 2, {2, 1, 4, 3}, {6, 6}, PasteRule::exact);
    ASSERT_EQ(pasted.x, 2);
    ASSERT_EQ(pasted.y, 1);
    ASSERT_EQ(pasted.width, 2);
    ASSERT_EQ(pasted.height, 2);
    const std::vector<float> down_the_columns = {0.1F, 0.3F, 0.2F, 0.4F};
    EXPECT_EQ(pasted.columns, down_the_columns);
}

TEST(Paste, ABoxWithoutExtentHasNoPixels) {
    const std::vector<float> mask(4, 1.0F);
    EXPECT_EQ(paste_mask(mask.data(), 2, {3, 1, 3, 5}, {6, 6}, PasteRule::exact).width, 0);
    EXPECT_EQ(paste_mask(mask.data(), 2, {4, 1, 3, 5}, {6, 6}, PasteRule::exact).width, 0);
}

}  // namespace
}  // namespace maskrcnn
