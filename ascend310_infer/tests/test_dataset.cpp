#include "dataset.h"

#include "workspace.h"

namespace maskrcnn {
namespace {

using nlohmann::json;
using testing::contains;
using testing::error_of;

class Datasets : public testing::Workspace {
protected:
    static json annotations() {
        return {{"images",
                 {{{"id", 5}, {"file_name", "b.jpg"}, {"height", 4}, {"width", 6}},
                  {{"id", 2}, {"file_name", "sub/a.jpg"}, {"height", 1}, {"width", 2}}}},
                {"annotations", {{{"id", 1}, {"segmentation", "much of this"}}}},
                {"categories", {{{"id", 18}, {"name", "dog"}}, {{"id", 17}, {"name", "cat"}}}}};
    }
    Dataset read(const json& content) const {
        return read_annotations(write("instances.json", content.dump()), folder_);
    }
};

TEST_F(Datasets, ImagesKeepTheAnnotationFilesOrderAndIds) {
    const Dataset dataset = read(annotations());
    ASSERT_EQ(dataset.images.size(), 2U);
    EXPECT_EQ(dataset.images[0].id, "5");
    EXPECT_EQ(dataset.images[0].path, folder_ / "b.jpg");
    EXPECT_EQ(dataset.images[0].size, (Size{4, 6}));
    EXPECT_EQ(dataset.images[1].path, folder_ / "sub/a.jpg");
}

TEST_F(Datasets, CategoryIdsAreLookedUpByName) {
    Metadata metadata;
    metadata.classes = {"cat", "dog"};
    metadata.category_ids = {"1", "2"};
    EXPECT_EQ(category_ids(metadata, read(annotations())), (std::vector<Identity>{"17", "18"}));
    EXPECT_EQ(category_ids(metadata, Dataset{}), (std::vector<Identity>{"1", "2"}));
    metadata.classes = {"cat", "cow"};
    EXPECT_EQ(category_ids(metadata, read(annotations())), (std::vector<Identity>{"17", ""}));
    metadata.classes = {"cow", "sheep"};
    EXPECT_TRUE(contains(error_of([&] { category_ids(metadata, read(annotations())); }),
                         "has none of the model's classes, the first of which is 'cow'"));
}

TEST_F(Datasets, IdsAreAnyNumberOrText) {
    json content = annotations();
    content["images"][0]["id"] = "a/5";
    content["images"][1]["id"] = 2.5;
    content["categories"][0]["id"] = "d";
    const Dataset dataset = read(content);
    EXPECT_EQ(dataset.images[0].id, "\"a/5\"");
    EXPECT_EQ(dataset.images[1].id, "2.5");
    EXPECT_EQ(dataset.category_ids.at("dog"), "\"d\"");
    content["images"][1]["id"] = nullptr;
    EXPECT_TRUE(contains(error_of([&] { read(content); }), "the id null, which is neither a number nor a text"));
}

TEST_F(Datasets, WhatAnEntryLeavesOutDoesNotMatter) {
    json content = annotations();
    content["images"][0].erase("height");
    content["images"][1]["width"] = nullptr;
    content["images"].push_back(content["images"][0]);
    const Dataset dataset = read(content);
    ASSERT_EQ(dataset.images.size(), 2U);
    EXPECT_FALSE(dataset.images[0].size || dataset.images[1].size);
    ASSERT_EQ(dataset.warnings.size(), 1U);
    EXPECT_TRUE(contains(dataset.warnings[0], "lists image 5 twice; the first entry is kept"));
}

TEST_F(Datasets, DeepNestingIsNoStackOverflow) {
    write("instances.json", "{\"images\": " + std::string(100000, '['));
    EXPECT_TRUE(
        contains(error_of([this] { read_annotations(folder_ / "instances.json", folder_); }), "cannot be read"));
}

TEST_F(Datasets, AnnotationFilesOfAnotherKindAreRefused) {
    const auto error = [this](const json& content) { return error_of([&] { read(content); }); };
    EXPECT_TRUE(contains(error(json::array()), "is not a COCO instances file"));
    json content = annotations();
    content.erase("images");
    EXPECT_TRUE(contains(error(content), "is not a COCO instances file"));
    content = annotations();
    content["images"][1].erase("file_name");
    EXPECT_TRUE(contains(error(content), "file_name"));
    content = annotations();
    content["images"] = json::array();
    EXPECT_TRUE(contains(error(content), "lists no images"));
    write("instances.json", "{\"images\": [");
    EXPECT_TRUE(
        contains(error_of([this] { read_annotations(folder_ / "instances.json", folder_); }), "cannot be read"));
    EXPECT_TRUE(contains(error_of([this] { read_annotations(folder_ / "none.json", folder_); }), "no annotation file"));
    EXPECT_TRUE(contains(error_of([this] { read_annotations(folder_ / "x", folder_ / "none"); }), "no image folder"));
}

TEST_F(Datasets, AFoldersImagesAreNumberedByName) {
    for (const char* name : {"b.JPG", "a.png", "sub/c.jpeg", "note.txt"}) {
        write(name, "x");
    }
    const Dataset dataset = list_folder(folder_);
    ASSERT_EQ(dataset.images.size(), 3U);
    EXPECT_EQ(dataset.images[0].path, folder_ / "a.png");
    EXPECT_EQ(dataset.images[0].id, "1");
    EXPECT_EQ(dataset.images[2].path, folder_ / "sub/c.jpeg");
    EXPECT_FALSE(dataset.images[0].size);
}

TEST_F(Datasets, AFolderWithoutImagesIsAnError) {
    EXPECT_TRUE(contains(error_of([this] { list_folder(folder_); }), "holds no image"));
    EXPECT_TRUE(contains(error_of([this] { list_folder(folder_ / "none"); }), "no image folder"));
}

}  // namespace
}  // namespace maskrcnn
