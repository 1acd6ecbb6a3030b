#pragma once

// The part of MindSpore Lite's C++ API that the engine uses, for tests on machines without it: names and values as its
// documentation has them.

#include <cstdint>
#include <string>
#include <utility>

namespace mindspore {

enum StatusCode : std::uint32_t { kSuccess = 0, kLiteError = 0x10000001 };

class Status {
public:
    Status() = default;
    Status(enum StatusCode code, std::string message) : code_(code), message_(std::move(message)) {}

    bool IsError() const { return code_ != kSuccess; }
    enum StatusCode StatusCode() const { return code_; }
    std::string ToString() const { return message_; }

private:
    enum StatusCode code_ = kSuccess;
    std::string message_;
};

}  // namespace mindspore
