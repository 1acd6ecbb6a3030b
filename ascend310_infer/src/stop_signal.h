#pragma once

#include <csignal>

namespace maskrcnn {

/// Exit code of a run that was asked to end.
constexpr int exit_interrupted = 130;

/// While it lives, SIGINT and SIGTERM ask the run to end instead of killing it; a second one kills.
class StopSignal {
public:
    StopSignal();
    ~StopSignal();
    StopSignal(const StopSignal&) = delete;
    StopSignal& operator=(const StopSignal&) = delete;

    /// Whether a signal came.
    static bool requested();

private:
    struct sigaction old_interrupt_ {};
    struct sigaction old_terminate_ {};
};

}  // namespace maskrcnn
