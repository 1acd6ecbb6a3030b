#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "image.h"

namespace maskrcnn {

/// An EXIF orientation, one of the eight symmetries of a rectangle (Exif 2.3, section 4.6.4); 1 shows pixels as stored.
using Orientation = int;

/// The EXIF orientation in the bytes of a JPEG, PNG or WebP file; 1 where there is no valid one.
Orientation exif_orientation(const std::vector<std::uint8_t>& data);

/// The orientation in which the annotations of an image see it: their size decides where it tells, otherwise `apply`.
/// `stored` is the size of the pixels as stored, `listed` that in the annotations.
Orientation orientation_to_apply(Orientation orientation, Size stored, std::optional<Size> listed, bool apply);

/// An image as it is shown in an orientation.
cv::Mat orient(const cv::Mat& image, Orientation orientation);

}  // namespace maskrcnn
