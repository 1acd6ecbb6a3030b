#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "paste.h"

namespace maskrcnn {

/// Lengths of the runs of zeros, ones, zeros, ... down the columns of an image, one column after the other.
using RunLengths = std::vector<std::uint32_t>;

/// The runs of the pixels of an image at which a pasted mask is at least `threshold`, which is above zero.
RunLengths run_lengths(const PastedMask& mask, Size image, float threshold);

/// COCO's text for run lengths: from the third on as difference to the one before the last, in groups of 5 bits, as
/// the letters from '0' on (pycocotools calls this compressed RLE).
std::string compress(const RunLengths& runs);

}  // namespace maskrcnn
