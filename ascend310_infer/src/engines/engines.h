#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine.h"

namespace maskrcnn {

// One for each runtime; only those that CMake found are built. They throw Error where model and metadata do not fit,
// and any other std::exception with the runtime's own message.
std::unique_ptr<Engine> open_lite(const ModelFile& model, const EngineOptions& options);       ///< MindSpore Lite
std::unique_ptr<Engine> open_acl(const ModelFile& model, const EngineOptions& options);        ///< AscendCL
std::unique_ptr<Engine> open_openvino(const ModelFile& model, const EngineOptions& options);   ///< OpenVINO
std::unique_ptr<Engine> open_mindspore(const ModelFile& model, const EngineOptions& options);  ///< MindSpore in Python

/// A runtime: its name on the command line, the kinds of model it reads, and its function above, empty if the build
/// does not have it.
struct EngineKind {
    std::string name;
    std::vector<std::string> suffixes;
    std::string how_to_get;
    std::function<std::unique_ptr<Engine>(const ModelFile&, const EngineOptions&)> open;
};

/// The kind of engine called `name`, or, for "auto", the first in this build that reads the model. Throws Error.
const EngineKind& find_engine(const std::string& name, const std::filesystem::path& model);

/// Open a model. What it throws, and what the engine throws later, are Errors that name the engine and the file.
std::unique_ptr<Engine> open_engine(const EngineKind& kind, const ModelFile& model, const EngineOptions& options);

/// Names of the engines in this build, for people.
std::string engine_list();

}  // namespace maskrcnn
