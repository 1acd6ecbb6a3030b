#include "result_file.h"

#include <filesystem>

#include "workspace.h"

namespace maskrcnn {
namespace {

using nlohmann::json;
using testing::contains;
using testing::error_of;

class ResultFiles : public testing::Workspace {
protected:
    bool exists(const std::string& name) const { return std::filesystem::exists(folder_ / name); }
};

TEST_F(ResultFiles, OnlyAPublishedFileHasItsName) {
    write("bbox.json", "older");
    ResultFile file(folder_ / "bbox.json");
    file.append("{\"a\": 1}");
    file.append("{\"a\": 2}");
    file.close();
    EXPECT_EQ(read("bbox.json"), "older");
    EXPECT_EQ(json::parse(read("bbox.partial.json")), json::parse(R"([{"a": 1}, {"a": 2}])"));
    file.publish();
    EXPECT_EQ(json::parse(read("bbox.json")).size(), 2U);
    EXPECT_FALSE(exists("bbox.partial.json"));
}

TEST_F(ResultFiles, AnAbortedFileCanBeReadAndKeepsItsPartialName) {
    {
        ResultFile file(folder_ / "bbox.json");
        file.append("1");
    }
    EXPECT_FALSE(exists("bbox.json"));
    EXPECT_EQ(json::parse(read("bbox.partial.json")), json::parse("[1]"));
}

TEST_F(ResultFiles, NothingFoundIsAnEmptyList) {
    ResultFile file(folder_ / "bbox.json");
    file.close();
    file.publish();
    EXPECT_EQ(json::parse(read("bbox.json")), json::array());
}

TEST_F(ResultFiles, AFolderThatIsMissingIsAnError) {
    const auto open = [this] { ResultFile(folder_ / "none" / "bbox.json"); };
    EXPECT_TRUE(contains(error_of(open), "bbox.partial.json: No such file or directory"));
    EXPECT_TRUE(contains(error_of([this] { write_file(folder_ / "none" / "a", ""); }), "No such file or directory"));
}

TEST_F(ResultFiles, AFullDiskIsAnError) {
    std::filesystem::create_symlink("/dev/full", folder_ / "bbox.partial.json");
    ResultFile file(folder_ / "bbox.json");
    const auto fill = [&file] {
        for (int i = 0; i < 10000; ++i) {
            file.append("a line of some length");
        }
        file.close();
    };
    EXPECT_TRUE(contains(error_of(fill), "cannot write"));
    EXPECT_FALSE(exists("bbox.json"));
}

TEST_F(ResultFiles, WholeFilesAreReplaced) {
    write("timing.json", "older and longer");
    write_file(folder_ / "timing.json", "new");
    EXPECT_EQ(read("timing.json"), "new");
    EXPECT_FALSE(exists("timing.json.tmp"));
}

}  // namespace
}  // namespace maskrcnn
