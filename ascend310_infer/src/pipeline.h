#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "dataset.h"
#include "engine.h"
#include "metadata.h"
#include "records.h"
#include "result_file.h"
#include "timing.h"

namespace maskrcnn {

struct PipelineOptions {
    std::size_t decode_threads = 2;
    /// Fail at the first image that cannot be used.
    bool strict = false;
    /// Asked before every image: end early?
    std::function<bool()> stop = [] { return false; };
    /// Told how many images are done with.
    std::function<void(std::size_t)> progress = [](std::size_t) {};
    /// Told about every image left out.
    std::function<void(const std::string&)> warning = [](const std::string&) {};
};

/// An image that was looked at.
struct SeenImage {
    Identity id;
    std::filesystem::path path;
    Size size;
};

struct PipelineResult {
    std::vector<SeenImage> images;
    std::vector<std::string> skipped;  ///< images left out, and why
    std::size_t detections = 0;
    bool stopped = false;
    Timing timing;
};

/// Find the objects in all images, under the category ids of `metadata`, and append their records to two result files.
///
/// Threads decode ahead; this thread runs the engines, one for each of the metadata's models; one thread scales,
/// pastes, encodes and writes. Between them are queues of a fixed length, so memory does not grow with the data set. A
/// batch holds images of one canvas. Throws what any of the threads threw, after all of them have ended.
PipelineResult run_pipeline(const std::vector<ImageSource>& images, const Metadata& metadata,
                            const std::vector<std::unique_ptr<Engine>>& engines, ResultFile& boxes, ResultFile& masks,
                            const PipelineOptions& options);

}  // namespace maskrcnn
