#include "rle.h"

#include <cstddef>

namespace maskrcnn {

RunLengths run_lengths(const PastedMask& mask, Size image, float threshold) {
    RunLengths runs;
    std::uint32_t last_edge = 0;
    bool foreground = false;
    const auto edge_at = [&](std::uint32_t position) {
        runs.push_back(position - last_edge);
        last_edge = position;
        foreground = !foreground;
    };
    const auto height = static_cast<std::uint32_t>(image.height);
    const auto rows = static_cast<std::uint32_t>(mask.height);
    for (std::uint32_t column = 0; column < static_cast<std::uint32_t>(mask.width); ++column) {
        const std::uint32_t top = (static_cast<std::uint32_t>(mask.x) + column) * height;
        const std::uint32_t begin = top + static_cast<std::uint32_t>(mask.y);
        const float* values = mask.columns.data() + static_cast<std::size_t>(column) * rows;
        if (foreground && mask.y > 0) {  // the column before ended in ones at the image's lower edge
            edge_at(top);
        }
        for (std::uint32_t row = 0; row < rows; ++row) {
            if ((values[row] >= threshold) != foreground) {
                edge_at(begin + row);
            }
        }
        if (foreground && begin + rows < top + height) {
            edge_at(begin + rows);
        }
    }
    const std::uint32_t end = height * static_cast<std::uint32_t>(image.width);
    const std::uint32_t behind = height * static_cast<std::uint32_t>(mask.x + mask.width);
    if (foreground && behind < end) {  // so did the last column
        edge_at(behind);
    }
    if (last_edge < end || runs.empty()) {
        runs.push_back(end - last_edge);
    }
    return runs;
}

std::string compress(const RunLengths& runs) {
    std::string text;
    for (std::size_t i = 0; i < runs.size(); ++i) {
        std::int64_t value = runs[i];
        if (i > 2) {
            value -= runs[i - 2];
        }
        bool more = true;
        while (more) {
            const std::int64_t group = value & 0x1f;
            value >>= 5;
            const bool negative = (group & 0x10) != 0;
            more = negative ? value != -1 : value != 0;
            text += static_cast<char>('0' + (more ? group | 0x20 : group));
        }
    }
    return text;
}

}  // namespace maskrcnn
