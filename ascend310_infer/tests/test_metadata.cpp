#include "metadata.h"

#include "workspace.h"

namespace maskrcnn {
namespace {

using nlohmann::json;
using testing::contains;
using testing::error_of;
using testing::metadata_json;

class MetadataFile : public testing::Workspace {
protected:
    std::string error(const json& values, const std::string& model = "net.onnx") {
        write("net.json", values.dump());
        return error_of([&] { read_metadata(write(model, "x")); });
    }
};

TEST_F(MetadataFile, SettingsAreRead) {
    json values = metadata_json("net.onnx", 2, 256, 320);
    values["keep_ratio"] = false;
    values["paste"] = "mindspore_zoo";
    write("net.json", values.dump());
    const Metadata metadata = read_metadata(write("net.onnx", "x"));
    ASSERT_EQ(metadata.models.size(), 1U);
    const ModelShape& shape = metadata.models[0].shape;
    EXPECT_EQ(metadata.models[0].path, folder_ / "net.onnx");
    EXPECT_EQ(shape.images, 2);
    EXPECT_EQ(shape.canvas, (Size{256, 320}));
    EXPECT_EQ(shape.max_detections, 2);
    EXPECT_EQ(shape.mask_side, 2);
    EXPECT_EQ(metadata.category_ids, (std::vector<Identity>{"17", "18"}));
    EXPECT_FALSE(metadata.keep_ratio);
    EXPECT_EQ(metadata.paste, PasteRule::mindspore_zoo);
    EXPECT_FLOAT_EQ(metadata.mask_threshold, 0.5F);
}

TEST_F(MetadataFile, OlderExportsAreRead) {
    for (const bool integer_boxes : {false, true}) {
        json values = metadata_json("net.onnx");
        values.erase("paste");
        values["format"] = "maskrcnn-export-1";
        values["paste_integer_boxes"] = integer_boxes;
        write("net.json", values.dump());
        const Metadata metadata = read_metadata(write("net.onnx", "x"));
        EXPECT_EQ(metadata.paste, integer_boxes ? PasteRule::torchvision : PasteRule::exact);
    }
}

json two_canvases() {
    json values = metadata_json("net.onnx", 1, 256, 320);
    values["models"].push_back({{"file", "net_upright.onnx"}, {"batch_size", 1}, {"height", 320}, {"width", 256}});
    values["models"].push_back({{"file", "net.mindir"}, {"batch_size", 1}, {"height", 128}, {"width", 192}});
    return values;
}

TEST_F(MetadataFile, UprightImagesGetTheUprightModel) {
    write("net.json", two_canvases().dump());
    write("net_upright.onnx", "x");
    const Metadata metadata = read_metadata(write("net.onnx", "x"));
    ASSERT_EQ(metadata.models.size(), 2U);
    EXPECT_EQ(metadata.model_for({100, 200}), 0U);
    EXPECT_EQ(metadata.model_for({100, 100}), 0U);
    EXPECT_EQ(metadata.model_for({200, 100}), 1U);
}

TEST_F(MetadataFile, OneCanvasTakesAll) {
    write("net.json", metadata_json("net.onnx").dump());
    EXPECT_EQ(read_metadata(write("net.onnx", "x")).model_for({200, 100}), 0U);
}

TEST_F(MetadataFile, AConvertedModelTakesThePlaceOfItsSource) {
    write("net.json", two_canvases().dump());
    write("net_upright.om", "x");
    const Metadata metadata = read_metadata(write("net.om", "x"));
    ASSERT_EQ(metadata.models.size(), 2U);
    EXPECT_EQ(metadata.models[1].path, folder_ / "net_upright.om");
    EXPECT_EQ(metadata.models[1].shape.canvas, (Size{320, 256}));
}

TEST_F(MetadataFile, AnotherMetadataFileCanBeNamed) {
    const auto file = write("elsewhere/other.json", metadata_json("net.onnx").dump());
    EXPECT_EQ(read_metadata(write("net.onnx", "x"), file).classes.size(), 2U);
}

TEST_F(MetadataFile, WhatIsMissingOrWrongIsSaid) {
    EXPECT_TRUE(contains(error_of([&] { read_metadata(folder_ / "net.onnx"); }), "there is no model file"));
    EXPECT_TRUE(contains(error_of([&] { read_metadata(write("net.onnx", "x")); }), "net.json is missing"));
    write("net.json", "{");
    EXPECT_TRUE(contains(error_of([&] { read_metadata(write("net.onnx", "x")); }), "cannot be read as metadata"));

    EXPECT_TRUE(contains(error({{"format", "other"}}), "is of format \"other\""));
    EXPECT_TRUE(contains(error(json::array()), "is of format none"));
    json values = metadata_json("net.onnx");
    values.erase("mask_threshold");
    EXPECT_TRUE(contains(error(values), "is incomplete"));
    EXPECT_TRUE(contains(error(metadata_json("other.onnx")), "is not listed in its metadata"));
    EXPECT_TRUE(contains(error(two_canvases()), "net_upright.onnx is missing"));
    EXPECT_TRUE(contains(error(metadata_json("net.onnx", 0)), "a size below 1"));
    values = metadata_json("net.onnx");
    values["paste"] = "rounded";
    EXPECT_TRUE(contains(error(values), "has the paste rule \"rounded\""));
    values = metadata_json("net.onnx");
    values["category_ids"] = {1};
    EXPECT_TRUE(contains(error(values), "2 classes and 1 category ids"));
}

}  // namespace
}  // namespace maskrcnn
