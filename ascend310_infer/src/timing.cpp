#include "timing.h"

#include <algorithm>
#include <numeric>

namespace maskrcnn {

double StepTiming::total() const { return std::accumulate(seconds.begin(), seconds.end(), 0.0); }

double StepTiming::median() const {
    if (seconds.empty()) {
        return 0;
    }
    std::vector<double> sorted = seconds;
    std::sort(sorted.begin(), sorted.end());
    const std::size_t middle = sorted.size() / 2;
    return sorted.size() % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

double StepTiming::longest() const { return seconds.empty() ? 0 : *std::max_element(seconds.begin(), seconds.end()); }

}  // namespace maskrcnn
