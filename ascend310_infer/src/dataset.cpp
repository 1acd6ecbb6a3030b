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
    std::set<std::int64_t> ids;
    try {
        for (const json& image : content.at("images")) {
            const Size size{image.at("height").get<int>(), image.at("width").get<int>()};
            const auto id = image.at("id").get<std::int64_t>();
            dataset.images.push_back({id, image_dir / image.at("file_name").get<std::string>(), size});
            if (!ids.insert(id).second) {
                throw Error(file.string() + ": the id " + std::to_string(id) + " appears twice in 'images'");
            }
        }
        for (const json& category : content.at("categories")) {
            dataset.category_ids[category.at("name").get<std::string>()] = category.at("id").get<std::int64_t>();
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
        dataset.images.push_back({static_cast<std::int64_t>(dataset.images.size()) + 1, path, std::nullopt});
    }
    return dataset;
}

std::vector<std::int64_t> category_ids(const Metadata& metadata, const Dataset& dataset) {
    if (dataset.category_ids.empty()) {
        return metadata.category_ids;
    }
    std::vector<std::int64_t> ids;
    for (const std::string& name : metadata.classes) {
        const auto found = dataset.category_ids.find(name);
        if (found == dataset.category_ids.end()) {
            throw Error("the model's class '" + name +
                        "' is not a category of the annotation file: take the annotations of its own data set");
        }
        ids.push_back(found->second);
    }
    return ids;
}

}  // namespace maskrcnn
