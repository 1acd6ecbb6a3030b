#include "dataset.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <fstream>
#include <set>

#include <nlohmann/json.hpp>

#include "error.h"

namespace maskrcnn {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::array<const char*, 7> image_suffixes = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"};

void require_folder(const fs::path& image_dir) {
    if (!fs::is_directory(image_dir)) {
        throw Error("there is no image folder " + image_dir.string() + ": check --image_dir");
    }
}

/// The file without its annotations, which are most of it and not needed here.
json parse_without_annotations(const fs::path& path) {
    std::ifstream file(path);
    if (!file) {
        throw Error("there is no annotation file " + path.string() + ", or it cannot be read: check --ann_file");
    }
    const auto keep = [](int depth, json::parse_event_t event, const json& value) {
        return !(depth == 1 && event == json::parse_event_t::key && value == "annotations");
    };
    try {
        return json::parse(file, keep);
    } catch (const json::exception& error) {
        throw Error("the annotation file " + path.string() + " cannot be read: " + error.what());
    }
}

/// The id of an entry, a number or a text.
Identity identity(const json& entry) {
    const json& id = entry.at("id");
    if (!id.is_number() && !id.is_string()) {
        throw Error("an entry has the id " + id.dump() + ", which is neither a number nor a text");
    }
    return id.dump();
}

/// The size of an image entry, if it says both sides.
std::optional<Size> listed_size(const json& image) {
    const json height = image.value("height", json());
    const json width = image.value("width", json());
    if (!height.is_number_integer() || !width.is_number_integer()) {
        return std::nullopt;
    }
    return Size{height.get<int>(), width.get<int>()};
}

bool is_image(const fs::path& path) {
    std::string suffix = path.extension().string();
    std::transform(suffix.begin(), suffix.end(), suffix.begin(),
                   [](unsigned char letter) { return static_cast<char>(std::tolower(letter)); });
    return std::find(image_suffixes.begin(), image_suffixes.end(), suffix) != image_suffixes.end();
}

}  // namespace

Dataset read_annotations(const fs::path& file, const fs::path& image_dir) {
    require_folder(image_dir);
    const json content = parse_without_annotations(file);
    Dataset dataset;
    std::set<Identity> ids;
    try {
        for (const json& image : content.at("images")) {
            const Identity id = identity(image);
            if (!ids.insert(id).second) {
                dataset.warnings.push_back(file.string() + " lists image " + id + " twice; the first entry is kept");
                continue;
            }
            const auto name = image.at("file_name").get<std::string>();
            dataset.images.push_back({id, image_dir / name, listed_size(image), true});
        }
        for (const json& category : content.at("categories")) {
            dataset.category_ids[category.at("name").get<std::string>()] = identity(category);
        }
    } catch (const json::exception& error) {
        throw Error(file.string() + " is not a COCO instances file: " + error.what());
    }
    if (dataset.images.empty() || dataset.category_ids.empty()) {
        throw Error(file.string() + " lists no images or no categories: it is not a COCO instances file");
    }
    return dataset;
}

Dataset list_folder(const fs::path& image_dir) {
    require_folder(image_dir);
    std::vector<fs::path> paths;
    for (const fs::directory_entry& entry : fs::recursive_directory_iterator(image_dir)) {
        if (entry.is_regular_file() && is_image(entry.path())) {
            paths.push_back(entry.path());
        }
    }
    if (paths.empty()) {
        throw Error("the folder " + image_dir.string() +
                    " holds no image (.jpg, .jpeg, .png, .bmp, .tif, .tiff, .webp)");
    }
    std::sort(paths.begin(), paths.end());
    Dataset dataset;
    for (const fs::path& path : paths) {
        dataset.images.push_back({std::to_string(dataset.images.size() + 1), path, std::nullopt, true});
    }
    return dataset;
}

std::vector<Identity> category_ids(const Metadata& metadata, const Dataset& dataset) {
    if (dataset.category_ids.empty()) {
        return metadata.category_ids;
    }
    std::vector<Identity> ids;
    bool none = true;
    for (const std::string& name : metadata.classes) {
        const auto found = dataset.category_ids.find(name);
        ids.push_back(found == dataset.category_ids.end() ? Identity() : found->second);
        none = none && ids.back().empty();
    }
    if (none) {
        throw Error("the annotation file has none of the model's classes, the first of which is '" +
                    metadata.classes.front() + "': take the annotations of the model's own data set");
    }
    return ids;
}

}  // namespace maskrcnn
