#include "engines/engines.h"

#include <algorithm>

#include "build_config.h"
#include "error.h"

namespace maskrcnn {
namespace {

std::vector<EngineKind> make_kinds() {
    std::vector<EngineKind> kinds{
        {"lite", {".mindir"}, "unpack MindSpore Lite and set LITE_HOME", nullptr},
        {"acl", {".om"}, "install CANN and source its set_env.sh", nullptr},
        {"openvino", {".onnx"}, "pip install openvino", nullptr},
        {"mindspore", {".mindir"}, "take a Python with MindSpore and its shared library (libpython)", nullptr},
    };
    // The functions of engines that are not built are not looked for by the linker.
    if constexpr (build::with_lite) {
        kinds[0].open = open_lite;
    }
    if constexpr (build::with_acl) {
        kinds[1].open = open_acl;
    }
    if constexpr (build::with_openvino) {
        kinds[2].open = open_openvino;
    }
    if constexpr (build::with_mindspore) {
        kinds[3].open = open_mindspore;
    }
    return kinds;
}

const std::vector<EngineKind>& engine_kinds() {
    static const std::vector<EngineKind> kinds = make_kinds();
    return kinds;
}

/// Does `step`; a runtime's exception becomes an Error that begins with `where`.
template <typename Step>
auto named(const std::string& where, const Step& step) {
    try {
        return step();
    } catch (const Error&) {
        throw;
    } catch (const std::exception& error) {
        throw Error(where + error.what());
    }
}

/// Makes runtimes' exceptions Errors that say where they come from.
class NamedEngine : public Engine {
public:
    NamedEngine(const EngineKind& kind, const ModelFile& model, const EngineOptions& options)
        : where_("the engine " + kind.name + " failed with " + model.path.string() + ": "),
          engine_(named(where_, [&] { return kind.open(model, options); })) {}

    std::string description() const override {
        return named(where_, [this] { return engine_->description(); });
    }
    Detections run(const InputBatch& batch) override {
        return named(where_, [&] { return engine_->run(batch); });
    }

private:
    const std::string where_;
    const std::unique_ptr<Engine> engine_;
};

bool reads(const EngineKind& kind, const std::string& suffix) {
    return std::find(kind.suffixes.begin(), kind.suffixes.end(), suffix) != kind.suffixes.end();
}

[[noreturn]] void refuse(const std::string& suffix, const std::string& model) {
    if (suffix == ".air") {
        throw Error(model +
                    ": an AIR is not run as it is; make an OM of it: run_infer_310.sh does with --convert, "
                    "by atc --framework=1");
    }
    std::string ways;
    for (const EngineKind& kind : engine_kinds()) {
        if (reads(kind, suffix)) {
            ways += (ways.empty() ? "" : ", or ") + kind.how_to_get + " for the engine " + kind.name;
        }
    }
    throw Error(model + (ways.empty() ? ": models of the kinds .onnx, .mindir and .om can be run, not '" + suffix + "'"
                                      : ": this build has no engine for it: " + ways + ", and build again"));
}

}  // namespace

const EngineKind& find_engine(const std::string& name, const std::filesystem::path& model) {
    const std::string suffix = model.extension().string();
    const auto& kinds = engine_kinds();
    if (name == "auto") {
        const auto fits = [&suffix](const EngineKind& kind) { return kind.open && reads(kind, suffix); };
        const auto found = std::find_if(kinds.begin(), kinds.end(), fits);
        if (found == kinds.end()) {
            refuse(suffix, model.string());
        }
        return *found;
    }
    const auto found =
        std::find_if(kinds.begin(), kinds.end(), [&](const EngineKind& kind) { return kind.name == name; });
    if (found == kinds.end()) {
        throw Error("there is no engine '" + name + "': choose one of auto, lite, acl, openvino and mindspore");
    }
    if (!found->open) {
        throw Error("this build has no engine " + name + ": " + found->how_to_get + ", and build again");
    }
    if (!reads(*found, suffix)) {
        throw Error("the engine " + name + " cannot read " + model.string() + ": leave out --engine");
    }
    return *found;
}

std::unique_ptr<Engine> open_engine(const EngineKind& kind, const ModelFile& model, const EngineOptions& options) {
    return std::make_unique<NamedEngine>(kind, model, options);
}

std::string engine_list() {
    std::string names;
    for (const EngineKind& kind : engine_kinds()) {
        if (kind.open) {
            names += (names.empty() ? "" : ", ") + kind.name;
        }
    }
    return names.empty() ? "none" : names;
}

}  // namespace maskrcnn
