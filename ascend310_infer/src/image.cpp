#include "image.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <fstream>
#include <system_error>

#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>

#include "error.h"

namespace maskrcnn {
namespace {

/// Whether a JPEG's end marker is missing behind its last scan. OpenCV before 4.11 fills what is missing with grey.
bool is_cut_off(const std::vector<std::uint8_t>& data) {
    constexpr std::array<std::uint8_t, 2> start_of_image = {0xFF, 0xD8};
    constexpr std::array<std::uint8_t, 2> start_of_scan = {0xFF, 0xDA};
    constexpr std::array<std::uint8_t, 2> end_of_image = {0xFF, 0xD9};
    if (data.size() < 2 || !std::equal(start_of_image.begin(), start_of_image.end(), data.begin())) {
        return false;
    }
    const auto scan = std::find_end(data.begin(), data.end(), start_of_scan.begin(), start_of_scan.end());
    return std::search(scan, data.end(), end_of_image.begin(), end_of_image.end()) == data.end();
}

}  // namespace

Size fit_size(Size image, Size canvas, bool keep_ratio) {
    if (!keep_ratio) {
        return canvas;
    }
    const double scale =
        std::min(static_cast<double>(canvas.height) / image.height, static_cast<double>(canvas.width) / image.width);
    const auto fitted = [scale](int side, int limit) {
        return std::clamp(static_cast<int>(side * scale + 0.5), 1, limit);
    };
    return {fitted(image.height, canvas.height), fitted(image.width, canvas.width)};
}

std::vector<std::uint8_t> read_file(const std::filesystem::path& path) {
    const auto fail = [&path](int reason) {
        return ImageError(path.string() + ": the image file cannot be read (" +
                          std::generic_category().message(reason) + ")");
    };
    std::error_code error;
    const auto bytes = std::filesystem::file_size(path, error);
    if (error) {
        throw fail(error.value());
    }
    std::ifstream file(path, std::ios::binary);
    std::vector<std::uint8_t> data(bytes);
    // An empty vector has no address to read to; an empty file is decode_image's to report.
    if (!file || (bytes > 0 && !file.read(reinterpret_cast<char*>(data.data()), static_cast<std::streamsize>(bytes)))) {
        throw fail(errno != 0 ? errno : EIO);
    }
    return data;
}

cv::Mat decode_image(const std::vector<std::uint8_t>& data) {
    if (data.empty()) {
        throw ImageError("the image file is empty; replace the file or take the image out of the data set");
    }
    cv::Mat image;
    try {
        image = cv::imdecode(data, cv::IMREAD_COLOR | cv::IMREAD_IGNORE_ORIENTATION);
    } catch (const cv::Exception& error) {
        throw ImageError("the image cannot be decoded (" + error.err + "); replace the file");
    }
    if (image.empty() || is_cut_off(data)) {
        throw ImageError("the image cannot be decoded (" + std::to_string(data.size()) +
                         " bytes, no valid JPEG, PNG or WebP); replace the file");
    }
    cv::cvtColor(image, image, cv::COLOR_BGR2RGB);
    return image;
}

cv::Mat resize_image(const cv::Mat& rgb, Size size) {
    if (rgb.rows == size.height && rgb.cols == size.width) {
        return rgb;
    }
    cv::Mat resized;
    cv::resize(rgb, resized, {size.width, size.height}, 0, 0, cv::INTER_LINEAR);
    return resized;
}

}  // namespace maskrcnn
