#include "stop_signal.h"

#include <atomic>

namespace maskrcnn {
namespace {

std::atomic<bool> received{false};
static_assert(std::atomic<bool>::is_always_lock_free, "a signal handler may not wait for a lock");

}  // namespace

StopSignal::StopSignal() {
    received = false;
    struct sigaction action {};
    action.sa_handler = [](int /*signal*/) { received = true; };
    action.sa_flags = static_cast<int>(SA_RESETHAND | SA_RESTART);
    sigaction(SIGINT, &action, &old_interrupt_);
    sigaction(SIGTERM, &action, &old_terminate_);
}

StopSignal::~StopSignal() {
    sigaction(SIGINT, &old_interrupt_, nullptr);
    sigaction(SIGTERM, &old_terminate_, nullptr);
}

bool StopSignal::requested() { return received; }

}  // namespace maskrcnn
