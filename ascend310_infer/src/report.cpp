#include "report.h"

#include <cmath>
#include <iomanip>
#include <sstream>

#include <nlohmann/json.hpp>

namespace maskrcnn {
namespace {

using nlohmann::ordered_json;

double rounded(double seconds) { return std::round(seconds * 1e6) / 1e6; }

ordered_json to_json(const StepTiming& step) {
    return {{"count", step.seconds.size()},
            {"total_seconds", rounded(step.total())},
            {"median_seconds", rounded(step.median())},
            {"longest_seconds", rounded(step.longest())}};
}

double images_per_second(const PipelineResult& result) {
    return result.timing.elapsed > 0 ? static_cast<double>(result.images.size()) / result.timing.elapsed : 0;
}

/// JSON is UTF-8; file names need not be.
std::string dump(const ordered_json& value) {
    return value.dump(1, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace

std::string timing_json(const RunInfo& info, const Options& options, const PipelineResult& result) {
    const Timing& timing = result.timing;
    return dump({{"engine", info.engine},
                 {"model", info.model},
                 {"complete", !result.stopped && !result.images.empty()},
                 {"images_to_do", info.images},
                 {"images", result.images.size()},
                 {"images_left_out", result.skipped.size()},
                 {"left_out", result.skipped},
                 {"detections", result.detections},
                 {"decode_threads", options.decode_threads},
                 {"opening_seconds", rounded(info.opening)},
                 {"decode", to_json(timing.decode)},
                 {"network", to_json(timing.network)},
                 {"postprocess", to_json(timing.postprocess)},
                 {"elapsed_seconds", rounded(timing.elapsed)},
                 {"images_per_second", rounded(images_per_second(result))}});
}

std::string images_json(const PipelineResult& result, const std::filesystem::path& image_dir) {
    ordered_json images = ordered_json::array();
    for (const SeenImage& image : result.images) {
        images.push_back({{"id", ordered_json::parse(image.id)},
                          {"file_name", image.path.lexically_relative(image_dir).generic_string()},
                          {"height", image.size.height},
                          {"width", image.size.width}});
    }
    return dump({{"images", images}});
}

std::string summary(const PipelineResult& result) {
    const Timing& timing = result.timing;
    std::ostringstream text;
    text << std::fixed << std::setprecision(2) << result.detections << " detections in " << result.images.size()
         << " images, " << result.skipped.size() << " left out; " << images_per_second(result)
         << " images/s (medians: decoding " << std::setprecision(1) << timing.decode.median() * 1e3 << " ms, network "
         << timing.network.median() * 1e3 << " ms a batch, post-processing " << timing.postprocess.median() * 1e3
         << " ms)";
    return text.str();
}

}  // namespace maskrcnn
