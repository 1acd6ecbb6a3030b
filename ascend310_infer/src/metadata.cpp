#include "metadata.h"

#include <algorithm>
#include <fstream>

#include <nlohmann/json.hpp>

#include "error.h"

namespace maskrcnn {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* current_format = "maskrcnn-export-2";
constexpr const char* older_format = "maskrcnn-export-1";  // says paste_integer_boxes, true or false, not `paste`

json parse(const fs::path& path) {
    std::ifstream file(path);
    if (!file) {
        throw Error(path.string() +
                    " is missing or cannot be read: export.py writes it beside the model; keep them "
                    "together, or name it with --metadata");
    }
    try {
        return json::parse(file);
    } catch (const json::exception& error) {
        throw Error(path.string() + " cannot be read as metadata of a model (" + error.what() + "): export it again");
    }
}

/// The models of the suffix of `model`, or, where none is listed, those it can have been converted from.
std::vector<ModelFile> models_of(const json& values, const fs::path& model) {
    const auto listed_with = [&values](const fs::path& suffix) {
        std::vector<json> found;
        for (const json& entry : values.at("models")) {
            if (fs::path(entry.at("file").get<std::string>()).extension() == suffix) {
                found.push_back(entry);
            }
        }
        return found;
    };
    std::vector<json> entries;
    for (const fs::path suffix :
         {model.extension().string(), std::string(".onnx"), std::string(".air"), std::string(".mindir")}) {
        if (entries.empty()) {
            entries = listed_with(suffix);
        }
    }
    std::vector<ModelFile> models;
    for (const json& entry : entries) {
        fs::path name = entry.at("file").get<std::string>();
        ModelShape shape;
        shape.images = entry.at("batch_size").get<int>();
        shape.canvas = {entry.at("height").get<int>(), entry.at("width").get<int>()};
        shape.max_detections = values.at("max_detections").get<int>();
        shape.mask_side = values.at("mask_size").get<int>();
        models.push_back({model.parent_path() / name.replace_extension(model.extension()), shape});
    }
    return models;
}

PasteRule paste_rule_of(const json& values, bool older, const fs::path& file) {
    if (older) {
        return values.at("paste_integer_boxes").get<bool>() ? PasteRule::torchvision : PasteRule::exact;
    }
    const auto name = values.at("paste").get<std::string>();
    if (const auto rule = paste_rule(name)) {
        return *rule;
    }
    throw Error(file.string() + " has the paste rule \"" + name +
                "\", this app knows exact, torchvision and mindspore_zoo: export the model again");
}

void check(const Metadata& metadata, const fs::path& model, const fs::path& file) {
    const auto is_model = [&model](const ModelFile& listed) { return listed.path.filename() == model.filename(); };
    if (std::none_of(metadata.models.begin(), metadata.models.end(), is_model)) {
        throw Error(model.string() + " is not listed in its metadata " + file.string() + ": export it again");
    }
    if (metadata.classes.empty() || metadata.classes.size() != metadata.category_ids.size()) {
        throw Error(file.string() + " has " + std::to_string(metadata.classes.size()) + " classes and " +
                    std::to_string(metadata.category_ids.size()) + " category ids: export the model again");
    }
    for (const ModelFile& listed : metadata.models) {
        const ModelShape& shape = listed.shape;
        const auto sides = {shape.images, shape.canvas.height, shape.canvas.width, shape.max_detections,
                            shape.mask_side};
        if (*std::min_element(sides.begin(), sides.end()) < 1) {
            throw Error(file.string() + " gives " + listed.path.filename().string() +
                        " a size below 1: export the model again");
        }
        if (!fs::is_regular_file(listed.path)) {
            throw Error(listed.path.string() + " is missing: " + file.string() +
                        " lists it with the model; keep them together, or convert it too");
        }
    }
}

}  // namespace

std::size_t Metadata::model_for(Size image) const {
    const bool upright = image.height > image.width;
    const auto fits = [upright](const ModelFile& model) {
        return (model.shape.canvas.height > model.shape.canvas.width) == upright;
    };
    const auto found = std::find_if(models.begin(), models.end(), fits);
    return found == models.end() ? 0 : static_cast<std::size_t>(found - models.begin());
}

Metadata read_metadata(const fs::path& model, const fs::path& file) {
    if (!fs::is_regular_file(model)) {
        throw Error("there is no model file " + model.string());
    }
    const fs::path path = file.empty() ? fs::path(model).replace_extension(".json") : file;
    const json values = parse(path);
    const std::string found = values.is_object() ? values.value("format", json()).dump() : "none";
    const bool older = found == json(older_format).dump();
    if (!older && found != json(current_format).dump()) {
        throw Error(path.string() + " is of format " + found + ", this app reads \"" + current_format +
                    "\": export the model again");
    }
    Metadata metadata;
    try {
        metadata.models = models_of(values, model);
        metadata.classes = values.at("classes").get<std::vector<std::string>>();
        for (const json& id : values.at("category_ids")) {
            metadata.category_ids.push_back(id.dump());
        }
        metadata.keep_ratio = values.at("keep_ratio").get<bool>();
        metadata.mask_threshold = values.at("mask_threshold").get<float>();
        metadata.paste = paste_rule_of(values, older, path);
    } catch (const json::exception& error) {
        throw Error(path.string() + " is incomplete (" + error.what() + "): export the model again");
    }
    check(metadata, model, path);
    return metadata;
}

}  // namespace maskrcnn
