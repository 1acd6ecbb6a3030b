#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

namespace maskrcnn {

/// What went wrong and what to do about it, in one line for the user.
class Error : public std::runtime_error {
public:
    explicit Error(std::string_view message);
};

/// An image that cannot be used. It is counted and left out unless the run is strict.
class ImageError : public Error {
public:
    using Error::Error;
};

/// `text` with every run of line breaks and blanks as one blank: vendors' messages span many lines.
std::string one_line(std::string_view text);

}  // namespace maskrcnn
