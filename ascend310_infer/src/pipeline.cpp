#include "pipeline.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <thread>
#include <utility>

#include "bounded_queue.h"
#include "error.h"
#include "image_loader.h"
#include "stopwatch.h"

namespace maskrcnn {
namespace {

constexpr std::size_t batches_ahead = 2;  // that wait for post-processing

/// A batch that the network has seen. The images' pixels are gone.
struct Finished {
    std::size_t model = 0;
    std::vector<LoadedImage> images;
    Detections found;
};

/// Draw images into the corners of their canvases. Rows without an image of their own repeat others.
InputBatch make_batch(const std::vector<LoadedImage>& images, const ModelShape& shape) {
    InputBatch batch(shape);
    const auto row_bytes = static_cast<std::size_t>(shape.canvas.width) * 3;
    for (std::size_t row = 0; row < static_cast<std::size_t>(shape.images); ++row) {
        const cv::Mat& pixels = images[row % images.size()].pixels;
        std::uint8_t* canvas = batch.image.data() + row * row_bytes * static_cast<std::size_t>(shape.canvas.height);
        for (int y = 0; y < pixels.rows; ++y) {
            std::memcpy(canvas + static_cast<std::size_t>(y) * row_bytes, pixels.ptr(y),
                        static_cast<std::size_t>(pixels.cols) * 3);
        }
        batch.image_shape[row * 2] = static_cast<float>(pixels.rows);
        batch.image_shape[row * 2 + 1] = static_cast<float>(pixels.cols);
    }
    return batch;
}

/// The thread that turns detections into records.
class Writer {
public:
    Writer(const Metadata& metadata, ResultFile& boxes, ResultFile& masks, PipelineResult& result)
        : rules_{metadata.category_ids, metadata.models.front().shape.mask_side, metadata.mask_threshold,
                 metadata.paste},
          boxes_(boxes),
          masks_(masks),
          result_(result),
          thread_([this] { work(); }) {}
    ~Writer() {
        queue_.abandon();
        join();
    }
    Writer(const Writer&) = delete;
    Writer& operator=(const Writer&) = delete;

    /// Throws what the thread threw.
    void push(Finished batch) {
        if (!queue_.push(std::move(batch))) {
            finish();
        }
    }

    /// Wait until all is written. Throws what the thread threw.
    void finish() {
        queue_.close();
        join();
        if (failure_) {
            std::rethrow_exception(std::exchange(failure_, nullptr));
        }
    }

private:
    void join() {
        if (thread_.joinable()) {
            thread_.join();
        }
    }

    void work() {
        try {
            while (const auto batch = queue_.pop()) {
                for (std::size_t i = 0; i < batch->images.size(); ++i) {
                    write(*batch, static_cast<int>(i));
                }
            }
        } catch (...) {
            failure_ = std::current_exception();
            queue_.abandon();
        }
    }

    void write(const Finished& batch, int index) {
        const Stopwatch stopwatch;
        const LoadedImage& image = batch.images[static_cast<std::size_t>(index)];
        const auto objects = objects_of_image(batch.found, rules_.mask_side, index, image.network, image.original);
        for (const Object& object : objects) {
            if (category_of(object, rules_).empty()) {
                continue;  // the annotation file does not have this class
            }
            const Records records = coco_records(image.source.id, object, image.original, rules_);
            boxes_.append(records.box);
            masks_.append(records.mask);
            ++result_.detections;
        }
        result_.images.push_back({image.source.id, image.source.path, image.original});
        result_.timing.postprocess.seconds.push_back(stopwatch.seconds());
    }

    const RecordRules rules_;
    ResultFile& boxes_;
    ResultFile& masks_;
    PipelineResult& result_;  // its images, detections and timing.postprocess are this thread's until finish()
    std::exception_ptr failure_;
    BoundedQueue<Finished> queue_{batches_ahead};
    std::thread thread_;  // last: it uses all of the above
};

/// What happens on the calling thread: images to batches, batches through the engines.
class Runner {
public:
    Runner(const Metadata& metadata, const std::vector<std::unique_ptr<Engine>>& engines, Writer& writer,
           PipelineResult& result)
        : metadata_(metadata), engines_(engines), writer_(writer), result_(result), waiting_(engines.size()) {}

    void add(LoadedImage image) {
        result_.timing.decode.seconds.push_back(image.seconds);
        const std::size_t model = image.model;
        waiting_[model].push_back(std::move(image));
        if (waiting_[model].size() == static_cast<std::size_t>(metadata_.models[model].shape.images)) {
            run(model);
        }
    }

    /// Run the batches that are not full.
    void run_rest() {
        for (std::size_t model = 0; model < waiting_.size(); ++model) {
            if (!waiting_[model].empty()) {
                run(model);
            }
        }
    }

private:
    void run(std::size_t model) {
        std::vector<LoadedImage> images = std::exchange(waiting_[model], {});
        const InputBatch batch = make_batch(images, metadata_.models[model].shape);
        for (LoadedImage& image : images) {
            image.pixels.release();
        }
        const Stopwatch stopwatch;
        Detections found = engines_[model]->run(batch);
        result_.timing.network.seconds.push_back(stopwatch.seconds());
        writer_.push({model, std::move(images), std::move(found)});
    }

    const Metadata& metadata_;
    const std::vector<std::unique_ptr<Engine>>& engines_;
    Writer& writer_;
    PipelineResult& result_;
    std::vector<std::vector<LoadedImage>> waiting_;
};

std::size_t largest_batch(const Metadata& metadata) {
    int largest = 1;
    for (const ModelFile& model : metadata.models) {
        largest = std::max(largest, model.shape.images);
    }
    return static_cast<std::size_t>(largest);
}

}  // namespace

PipelineResult run_pipeline(const std::vector<ImageSource>& images, const Metadata& metadata,
                            const std::vector<std::unique_ptr<Engine>>& engines, ResultFile& boxes, ResultFile& masks,
                            const PipelineOptions& options) {
    const Stopwatch stopwatch;
    PipelineResult result;
    Writer writer(metadata, boxes, masks, result);
    Runner runner(metadata, engines, writer, result);
    ImageLoader loader(images, metadata, options.decode_threads, 2 * options.decode_threads + largest_batch(metadata));
    std::size_t done = 0;
    while (!(result.stopped = options.stop())) {
        try {
            auto image = loader.next();
            if (!image) {
                runner.run_rest();
                break;
            }
            runner.add(std::move(*image));
        } catch (const ImageError& error) {
            if (options.strict) {
                throw;
            }
            result.skipped.emplace_back(error.what());
            options.warning(error.what());
        }
        options.progress(++done);
    }
    writer.finish();
    result.timing.elapsed = stopwatch.seconds();
    return result;
}

}  // namespace maskrcnn
