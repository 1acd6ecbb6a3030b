#pragma once

#include <cstddef>
#include <vector>

namespace maskrcnn {

/// Seconds of each call of one step.
struct StepTiming {
    std::vector<double> seconds;

    double total() const;
    double median() const;  ///< 0 without calls
    double longest() const;
};

/// Where the time went. The steps run side by side, so their totals exceed the elapsed time.
struct Timing {
    StepTiming decode;       ///< per image: reading, decoding, resizing
    StepTiming network;      ///< per batch
    StepTiming postprocess;  ///< per image: scaling, pasting, encoding, writing
    double elapsed = 0;      ///< from the first image to the last record, opening the model not counted
};

}  // namespace maskrcnn
