#pragma once

#include <cstddef>
#include <filesystem>
#include <string>

#include "options.h"
#include "pipeline.h"

namespace maskrcnn {

struct RunInfo {
    std::string engine;
    std::string model;
    double opening = 0;      ///< seconds to open the models
    std::size_t images = 0;  ///< to look at
};

/// Content of timing.json: what ran, how much of it, how long each step took.
std::string timing_json(const RunInfo& info, const Options& options, const PipelineResult& result);

/// Content of images.json: the ids of images that no annotation file numbers, as COCO's list `images`.
std::string images_json(const PipelineResult& result, const std::filesystem::path& image_dir);

/// One line for people.
std::string summary(const PipelineResult& result);

}  // namespace maskrcnn
