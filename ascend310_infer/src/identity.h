#pragma once

#include <string>

namespace maskrcnn {

/// An id of an annotation file as JSON text, for instance 7 or "a/7"; empty where there is none.
using Identity = std::string;

}  // namespace maskrcnn
