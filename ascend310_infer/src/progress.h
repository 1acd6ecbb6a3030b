#pragma once

#include <cstddef>

#include "stopwatch.h"

namespace maskrcnn {

/// Says on stderr how far the run is: on a terminal in one line that changes, in a log file a line now and then.
class Progress {
public:
    explicit Progress(std::size_t total);
    /// Ends the changing line.
    ~Progress();
    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;

    void update(std::size_t done);
    /// Make room for another line on the terminal.
    void clear_line() const;

private:
    const std::size_t total_;
    const bool terminal_;
    Stopwatch stopwatch_;
    double last_ = 0;  ///< when something was said, in seconds
};

}  // namespace maskrcnn
