#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>

#include "engine.h"

namespace maskrcnn {

struct Options {
    std::filesystem::path model;
    std::filesystem::path metadata;
    std::filesystem::path image_dir;
    std::filesystem::path ann_file;
    std::filesystem::path output = "infer";
    std::string engine = "auto";
    EngineOptions engine_options;
    std::size_t decode_threads = 2;
    std::size_t max_images = 0;
    bool strict = false;
    bool apply_exif = true;
};

/// The command line's options; none after printing the help that it asked for. Throws Error.
std::optional<Options> parse_options(int argc, const char* const* argv);

}  // namespace maskrcnn
