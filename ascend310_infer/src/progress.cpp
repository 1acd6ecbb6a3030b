#include "progress.h"

#include <unistd.h>

#include <cstdio>

namespace maskrcnn {
namespace {

constexpr double terminal_interval = 0.2;  // seconds
constexpr double log_interval = 10;

}  // namespace

Progress::Progress(std::size_t total) : total_(total), terminal_(::isatty(STDERR_FILENO) == 1) {}

Progress::~Progress() { clear_line(); }

void Progress::update(std::size_t done) {
    const double now = stopwatch_.seconds();
    if (now - last_ < (terminal_ ? terminal_interval : log_interval)) {
        return;
    }
    last_ = now;
    const double rate = static_cast<double>(done) / now;
    const auto left = static_cast<long>(static_cast<double>(total_ - done) / rate);
    clear_line();
    std::fprintf(stderr, "%zu of %zu images, %.2f images/s, %ld:%02ld left", done, total_, rate, left / 60, left % 60);
    if (!terminal_) {
        std::fputc('\n', stderr);
    }
}

void Progress::clear_line() const {
    if (terminal_) {
        std::fputs("\r\033[K", stderr);
    }
}

}  // namespace maskrcnn
