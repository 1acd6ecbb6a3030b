#include "image_loader.h"

#include <algorithm>
#include <string>
#include <utility>

#include "error.h"
#include "exif.h"
#include "stopwatch.h"

namespace maskrcnn {
namespace {

std::string text(Size size) { return std::to_string(size.width) + "x" + std::to_string(size.height); }

}  // namespace

LoadedImage load_image(const ImageSource& source, const Metadata& metadata) {
    const Stopwatch stopwatch;
    const auto data = read_file(source.path);
    cv::Mat rgb;
    try {
        rgb = decode_image(data);
    } catch (const ImageError& error) {
        throw ImageError(source.path.string() + ": " + error.what());
    }
    const Size stored{rgb.rows, rgb.cols};
    rgb = orient(rgb, orientation_to_apply(exif_orientation(data), stored, source.size, source.apply_exif));
    const Size original{rgb.rows, rgb.cols};
    if (source.size && *source.size != original) {
        throw ImageError(source.path.string() + ": the image is " + text(original) +
                         " pixels, but the annotations say " + text(*source.size));
    }
    const std::size_t model = metadata.model_for(original);
    const Size fitted = fit_size(original, metadata.models[model].shape.canvas, metadata.keep_ratio);
    cv::Mat pixels = resize_image(rgb, fitted);
    return {source, original, fitted, model, std::move(pixels), stopwatch.seconds()};
}

ImageLoader::ImageLoader(const std::vector<ImageSource>& images, const Metadata& metadata, std::size_t threads,
                         std::size_t ahead)
    : images_(images), metadata_(metadata), ahead_(std::max<std::size_t>(ahead, 1)), tasks_(ahead_) {
    for (std::size_t i = 0; i < std::max<std::size_t>(threads, 1); ++i) {
        threads_.emplace_back([this] {
            while (auto task = tasks_.pop()) {
                (*task)();  // what it throws goes to its future
            }
        });
    }
}

ImageLoader::~ImageLoader() {
    tasks_.abandon();
    for (std::thread& thread : threads_) {
        thread.join();
    }
}

std::optional<LoadedImage> ImageLoader::next() {
    submit_ahead();
    if (pending_.empty()) {
        return std::nullopt;
    }
    std::future<LoadedImage> image = std::move(pending_.front());
    pending_.pop_front();
    return image.get();
}

void ImageLoader::submit_ahead() {
    while (pending_.size() < ahead_ && submitted_ < images_.size()) {
        const ImageSource& source = images_[submitted_++];
        std::packaged_task<LoadedImage()> task([this, &source] { return load_image(source, metadata_); });
        pending_.push_back(task.get_future());
        tasks_.push(std::move(task));
    }
}

}  // namespace maskrcnn
