#include "workspace.h"

#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <iterator>

#include <opencv2/imgcodecs.hpp>

#include "image.h"

namespace maskrcnn::testing {

namespace fs = std::filesystem;

Workspace::Workspace() {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    folder_ = fs::temp_directory_path() / (std::string("maskrcnn_") + test->test_suite_name() + "_" + test->name() +
                                           "_" + std::to_string(::getpid()));
    fs::create_directories(folder_);
}

Workspace::~Workspace() { fs::remove_all(folder_); }

fs::path Workspace::write(const std::string& name, const std::string& content) const {
    const fs::path path = folder_ / name;
    fs::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << content;
    return path;
}

std::string Workspace::read(const std::string& name) const {
    std::ifstream file(folder_ / name, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

void Vectors::SetUp() {
    const char* folder = std::getenv("MASKRCNN_VECTORS");
    if (folder == nullptr) {
        GTEST_SKIP() << "MASKRCNN_VECTORS is not set";
    }
    vectors_ = folder;
}

nlohmann::json Vectors::load(const std::string& name) const {
    std::ifstream file(vectors_ / (name + ".json"));
    return nlohmann::json::parse(file);
}

std::vector<std::uint8_t> Vectors::bytes(const std::string& name) const { return read_file(vectors_ / name); }

::testing::AssertionResult contains(const std::string& text, const std::string& part) {
    if (text.find(part) != std::string::npos) {
        return ::testing::AssertionSuccess();
    }
    return ::testing::AssertionFailure() << "'" << part << "' is not in: " << text;
}

std::string png(int height, int width, int red, int green, int blue) {
    std::vector<std::uint8_t> data;
    cv::imencode(".png", cv::Mat(height, width, CV_8UC3, cv::Scalar(blue, green, red)), data);
    return {data.begin(), data.end()};
}

nlohmann::json metadata_json(const std::string& model_name, int images, int height, int width) {
    return {{"format", "maskrcnn-export-2"},
            {"models", {{{"file", model_name}, {"batch_size", images}, {"height", height}, {"width", width}}}},
            {"classes", {"cat", "dog"}},
            {"category_ids", {17, 18}},
            {"max_detections", 2},
            {"mask_size", 2},
            {"keep_ratio", true},
            {"mask_threshold", 0.5},
            {"paste", "exact"}};
}

}  // namespace maskrcnn::testing
