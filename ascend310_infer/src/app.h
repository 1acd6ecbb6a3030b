#pragma once

#include "options.h"

namespace maskrcnn {

/// Look at all images and write the results: bbox.json, segm.json and timing.json, and images.json where no annotation
/// file numbers the images. Returns the process's exit code: 0, or 130 after SIGINT or SIGTERM. Throws Error.
///
/// bbox.json and segm.json have their names only if the run came to its end; otherwise what was found until then is in
/// bbox.partial.json and segm.partial.json.
int run_app(const Options& options);

}  // namespace maskrcnn
