#pragma once

#include <cstddef>
#include <deque>
#include <future>
#include <optional>
#include <thread>
#include <vector>

#include "bounded_queue.h"
#include "dataset.h"
#include "image.h"
#include "metadata.h"

namespace maskrcnn {

/// An image as the network is to see it: RGB, fitted to the canvas of `model`, one of the metadata's models.
struct LoadedImage {
    ImageSource source;
    Size original;
    Size network;  ///< on the canvas
    std::size_t model = 0;
    cv::Mat pixels;
    double seconds = 0;  ///< spent on reading, decoding and resizing
};

/// Read, decode and resize an image. Throws ImageError, also for a size other than the annotations say.
LoadedImage load_image(const ImageSource& source, const Metadata& metadata);

/// Loads images on `threads` threads, a fixed number of images ahead, and gives them in their order.
class ImageLoader {
public:
    /// `images` and `metadata` must outlive the loader.
    ImageLoader(const std::vector<ImageSource>& images, const Metadata& metadata, std::size_t threads,
                std::size_t ahead);
    ~ImageLoader();
    ImageLoader(const ImageLoader&) = delete;
    ImageLoader& operator=(const ImageLoader&) = delete;

    /// The next image; none after the last. Throws ImageError for one that cannot be used; the call after that gives
    /// the image behind it.
    std::optional<LoadedImage> next();

private:
    void submit_ahead();

    const std::vector<ImageSource>& images_;
    const Metadata& metadata_;
    const std::size_t ahead_;
    std::size_t submitted_ = 0;
    std::deque<std::future<LoadedImage>> pending_;
    BoundedQueue<std::packaged_task<LoadedImage()>> tasks_;
    std::vector<std::thread> threads_;
};

}  // namespace maskrcnn
