#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include <opencv2/core.hpp>

namespace maskrcnn {

/// In pixels.
struct Size {
    int height = 0;
    int width = 0;

    bool operator==(const Size& other) const { return height == other.height && width == other.width; }
    bool operator!=(const Size& other) const { return !(*this == other); }
};

/// The size at which an image fills the canvas, with its ratio kept or not.
Size fit_size(Size image, Size canvas, bool keep_ratio);

/// The bytes of a file. Throws ImageError.
std::vector<std::uint8_t> read_file(const std::filesystem::path& path);

/// Decodes a JPEG, PNG, ... to 8-bit RGB, the pixels as stored: `orient` in exif.h rotates and mirrors them.
/// Throws ImageError, whose message does not name the file.
cv::Mat decode_image(const std::vector<std::uint8_t>& data);

/// Bilinear with half-pixel centres, on 8-bit values.
cv::Mat resize_image(const cv::Mat& rgb, Size size);

}  // namespace maskrcnn
