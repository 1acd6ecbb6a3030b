#include "app.h"

#include <cstdio>
#include <iostream>
#include <system_error>

#include "dataset.h"
#include "engines/engines.h"
#include "error.h"
#include "pipeline.h"
#include "progress.h"
#include "report.h"
#include "result_file.h"
#include "stop_signal.h"
#include "stopwatch.h"

namespace maskrcnn {
namespace {

namespace fs = std::filesystem;

Dataset read_dataset(const Options& options) {
    Dataset dataset = options.ann_file.empty() ? list_folder(options.image_dir)
                                               : read_annotations(options.ann_file, options.image_dir);
    if (options.max_images > 0 && options.max_images < dataset.images.size()) {
        dataset.images.resize(options.max_images);
    }
    for (ImageSource& image : dataset.images) {
        image.apply_exif = options.apply_exif;
    }
    return dataset;
}

void print_warnings(const Dataset& dataset, const Metadata& metadata, const fs::path& ann_file) {
    for (const std::string& warning : dataset.warnings) {
        std::fprintf(stderr, "warning: %s\n", warning.c_str());
    }
    for (std::size_t i = 0; i < metadata.classes.size(); ++i) {
        if (metadata.category_ids[i].empty()) {
            std::fprintf(stderr, "warning: %s has no category '%s': what is found of it is left out\n",
                         ann_file.c_str(), metadata.classes[i].c_str());
        }
    }
}

void make_folder(const fs::path& path) {
    std::error_code error;
    fs::create_directories(path, error);
    if (error) {
        throw Error("cannot make the folder " + path.string() + ": " + error.message() + "; choose another --output");
    }
}

}  // namespace

int run_app(const Options& options) {
    Metadata metadata = read_metadata(options.model, options.metadata);
    const Dataset dataset = read_dataset(options);
    metadata.category_ids = category_ids(metadata, dataset);
    print_warnings(dataset, metadata, options.ann_file);
    const EngineKind& kind = find_engine(options.engine, options.model);
    make_folder(options.output);

    const Stopwatch opening;
    std::vector<std::unique_ptr<Engine>> engines;
    for (const ModelFile& model : metadata.models) {
        engines.push_back(open_engine(kind, model, options.engine_options));
    }
    const RunInfo info{engines.front()->description(), options.model.filename().string(), opening.seconds(),
                       dataset.images.size()};
    std::cout << "Engine: " << info.engine << std::endl;

    const StopSignal signals;  // after the engines, which may have set handlers of their own
    ResultFile boxes(options.output / "bbox.json");
    ResultFile masks(options.output / "segm.json");
    PipelineResult result;
    {
        Progress progress(dataset.images.size());
        PipelineOptions pipeline;
        pipeline.decode_threads = options.decode_threads;
        pipeline.strict = options.strict;
        pipeline.stop = StopSignal::requested;
        pipeline.progress = [&progress](std::size_t done) { progress.update(done); };
        pipeline.warning = [&progress](const std::string& reason) {
            progress.clear_line();
            std::fprintf(stderr, "warning: left out: %s\n", reason.c_str());
        };
        result = run_pipeline(dataset.images, metadata, engines, boxes, masks, pipeline);
    }
    boxes.close();
    masks.close();
    std::cout << summary(result) << std::endl;
    const auto write_timing = [&] {
        write_file(options.output / "timing.json", timing_json(info, options, result));
    };
    if (result.stopped) {
        write_timing();
        std::fprintf(stderr, "error: interrupted after %zu of %zu images; what was found is in %s and %s\n",
                     result.images.size(), dataset.images.size(), boxes.partial_path().c_str(),
                     masks.partial_path().c_str());
        return exit_interrupted;
    }
    if (result.images.empty()) {
        write_timing();
        throw Error("none of the " + std::to_string(dataset.images.size()) + " images in " +
                    options.image_dir.string() + " could be read; the first: " + result.skipped.front());
    }
    if (options.ann_file.empty()) {
        write_file(options.output / "images.json", images_json(result, options.image_dir));
    }
    boxes.publish();
    masks.publish();
    write_timing();  // only now is the run complete
    std::cout << "Results are in " << options.output.string() << std::endl;
    return 0;
}

}  // namespace maskrcnn
