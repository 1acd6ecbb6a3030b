#include "options.h"

#include <iostream>
#include <map>

#include <CLI/CLI.hpp>

#include "engines/engines.h"
#include "error.h"

namespace maskrcnn {

std::optional<Options> parse_options(int argc, const char* const* argv) {
    Options options;
    CLI::App app(
        "Find objects and their masks with a Mask R-CNN that export.py wrote: COCO results in bbox.json and "
        "segm.json.\nEngines in this build: " +
        engine_list());
    app.add_option("--model", options.model, "exported model: .onnx, .mindir or .om")->required();
    app.add_option("--metadata", options.metadata, "its metadata; by default the .json of the model's name");
    app.add_option("--image_dir", options.image_dir, "folder of the images")->required();
    app.add_option("--ann_file", options.ann_file,
                   "COCO annotations that name the images; by default all images in the folder are looked at");
    app.add_option("--output", options.output, "folder of the results")->capture_default_str();
    app.add_option("--engine", options.engine, "auto, lite, acl, openvino or mindspore; auto goes by the model's kind")
        ->capture_default_str();
    app.add_option("--device_target", options.engine_options.device_target,
                   "where MindSpore Lite runs: Ascend or CPU; by default Ascend where there is one")
        ->transform(CLI::CheckedTransformer(
            std::map<std::string, DeviceTarget>{{"Ascend", DeviceTarget::ascend}, {"CPU", DeviceTarget::cpu}}));
    app.add_option("--device_id", options.engine_options.device_id, "number of the Ascend device")
        ->check(CLI::NonNegativeNumber)
        ->capture_default_str();
    app.add_option("--threads", options.engine_options.threads, "threads of a CPU engine; 0 = its own choice")
        ->check(CLI::Range(0, 1024))
        ->capture_default_str();
    app.add_option("--num_parallel_workers", options.decode_threads, "threads that decode images")
        ->check(CLI::Range(1, 256))
        ->capture_default_str();
    app.add_option("--eval_images", options.max_images, "look at only so many images; 0 = all")->capture_default_str();
    app.add_option("--exif", options.apply_exif,
                   "apply = images as EXIF lets viewers show them, ignore = as stored; where listed sizes tell, they "
                   "decide")
        ->transform(CLI::CheckedTransformer(std::map<std::string, bool>{{"apply", true}, {"ignore", false}}));
    app.add_flag("--strict", options.strict, "stop at the first image that cannot be read");
    try {
        app.parse(argc, argv);
    } catch (const CLI::CallForHelp&) {
        std::cout << app.help();
        return std::nullopt;
    } catch (const CLI::ParseError& error) {
        throw Error(std::string(error.what()) + " (see --help)");
    }
    return options;
}

}  // namespace maskrcnn
