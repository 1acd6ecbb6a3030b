#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "error.h"

namespace maskrcnn::testing {

/// A folder that lasts as long as a test.
class Workspace : public ::testing::Test {
protected:
    Workspace();
    ~Workspace() override;

    std::filesystem::path write(const std::string& name, const std::string& content) const;
    std::string read(const std::string& name) const;

    std::filesystem::path folder_;
};

/// What Python computed, from the folder that the environment variable MASKRCNN_VECTORS names. Tests skip without it.
class Vectors : public Workspace {
protected:
    void SetUp() override;
    /// Content of NAME.json.
    nlohmann::json load(const std::string& name) const;
    std::vector<std::uint8_t> bytes(const std::string& name) const;

    std::filesystem::path vectors_;
};

/// The message of the Error that `step` throws; a failure if it throws none.
template <typename Step>
std::string error_of(const Step& step) {
    try {
        step();
    } catch (const Error& error) {
        return error.what();
    }
    ADD_FAILURE() << "nothing was thrown";
    return {};
}

/// For EXPECT_TRUE: whether `part` is in `text`, and what the text is if not.
::testing::AssertionResult contains(const std::string& text, const std::string& part);

/// A PNG of one colour, as bytes.
std::string png(int height, int width, int red, int green, int blue);

/// Metadata of one model, MODEL_NAME, of `images` pictures of `height` x `width`, 2 detections, masks of 2 x 2.
nlohmann::json metadata_json(const std::string& model_name, int images = 1, int height = 4, int width = 8);

}  // namespace maskrcnn::testing
