#include "exif.h"
#include "image.h"

#include <opencv2/imgcodecs.hpp>

#include "workspace.h"

namespace maskrcnn {
namespace {

using testing::contains;
using testing::error_of;

class Image : public testing::Vectors {};
class ImageErrors : public testing::Workspace {};

TEST_F(Image, SizesOnTheCanvasAreThoseOfPython) {
    const auto cases = load("sizes");
    ASSERT_GT(cases.size(), 100U);
    for (const auto& item : cases) {
        const Size fitted = fit_size({item[0], item[1]}, {item[2], item[3]}, item[4]);
        EXPECT_EQ(fitted.height, item[5].get<int>()) << item;
        EXPECT_EQ(fitted.width, item[6].get<int>()) << item;
    }
}

/// Colour, grey, CMYK, 16 bits, alpha, EXIF orientation, damaged: whatever Python makes of the same file.
TEST_F(Image, PixelsAreThoseOfPython) {
    const auto cases = load("images");
    ASSERT_GT(cases.size(), 8U);
    for (const auto& item : cases) {
        const auto file = item["file"].get<std::string>();
        const auto data = bytes(file);
        if (item["pixels"].is_null()) {
            EXPECT_TRUE(contains(error_of([&] { decode_image(data); }), item["error"])) << file;
            continue;
        }
        const cv::Mat rgb = decode_image(data);
        ASSERT_EQ(rgb.rows, item["height"].get<int>()) << file;
        ASSERT_EQ(rgb.cols, item["width"].get<int>()) << file;
        EXPECT_EQ(std::vector<std::uint8_t>(rgb.datastart, rgb.dataend), bytes(item["pixels"])) << file;
        const cv::Mat resized = resize_image(rgb, {item["resized_height"], item["resized_width"]});
        EXPECT_EQ(std::vector<std::uint8_t>(resized.datastart, resized.dataend), bytes(item["resized"])) << file;
    }
}

/// All orientations in all formats, with sizes that tell and that do not: what Python makes of the same files.
TEST_F(Image, OrientationsAreThoseOfPython) {
    const auto cases = load("orientations");
    ASSERT_GE(cases.size(), 96U);
    for (const auto& item : cases) {
        const auto data = bytes(item["file"]);
        const cv::Mat stored = decode_image(data);
        std::optional<Size> listed;
        if (!item["listed"].is_null()) {
            listed = Size{item["listed"][0], item["listed"][1]};
        }
        EXPECT_EQ(exif_orientation(data), item["orientation"].get<int>()) << item;
        const Orientation chosen =
            orientation_to_apply(exif_orientation(data), {stored.rows, stored.cols}, listed, item["apply"]);
        EXPECT_EQ(chosen, item["chosen"].get<int>()) << item;
        const cv::Mat shown = orient(stored, chosen);
        ASSERT_EQ(shown.rows, item["height"].get<int>()) << item;
        ASSERT_EQ(shown.cols, item["width"].get<int>()) << item;
        EXPECT_EQ(std::vector<std::uint8_t>(shown.datastart, shown.dataend), bytes(item["pixels"])) << item;
    }
}

TEST(Exif, DamagedFilesHaveNoOrientation) {
    EXPECT_EQ(exif_orientation({}), 1);
    EXPECT_EQ(exif_orientation({0xFF, 0xD8, 0xFF, 0xE1, 0x00}), 1);
    EXPECT_EQ(exif_orientation({0xFF, 0xD8, 0xFF, 0xE1, 0x00, 0x00, 'E', 'x', 'i', 'f', 0, 0, 'M', 'M', 0, 42}), 1);
    EXPECT_EQ(exif_orientation({'R', 'I', 'F', 'F', 0, 0, 0, 0, 'W', 'E', 'B', 'P', 'E', 'X', 'I', 'F'}), 1);
}

TEST_F(ImageErrors, FilesThatAreMissingOrFoldersAreNamed) {
    EXPECT_TRUE(contains(error_of([&] { read_file(folder_ / "none.jpg"); }),
                         "none.jpg: the image file cannot be read (No such"));
    EXPECT_TRUE(contains(error_of([&] { read_file(folder_); }), "cannot be read (Is a directory"));
}

TEST_F(ImageErrors, BytesThatAreNoImageAreRefused) {
    EXPECT_TRUE(contains(error_of([] { decode_image({}); }), "is empty"));
    EXPECT_TRUE(contains(error_of([] { decode_image({1, 2, 3}); }), "3 bytes, no valid JPEG, PNG or WebP"));
}

TEST(ImageSize, TheCanvasIsFilledWithoutKeepingTheRatio) {
    EXPECT_EQ(fit_size({10, 20}, {30, 40}, false), (Size{30, 40}));
    EXPECT_EQ(fit_size({1, 10000}, {64, 64}, true), (Size{1, 64}));  // never below one pixel
}

}  // namespace
}  // namespace maskrcnn
