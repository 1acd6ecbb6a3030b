#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "identity.h"
#include "image.h"
#include "metadata.h"

namespace maskrcnn {

/// An image file. `size` is what the annotations say about it, if they do. `apply_exif` rotates and mirrors it as its
/// EXIF orientation says, unless the size tells that the annotations were made on the pixels as stored.
struct ImageSource {
    Identity id;
    std::filesystem::path path;
    std::optional<Size> size;
    bool apply_exif = true;
};

/// The images to look at. `category_ids` maps the names of an annotation file's categories to their ids, and is empty
/// where there is no such file. `warnings` are lines about entries that could not be used.
struct Dataset {
    std::vector<ImageSource> images;
    std::map<std::string, Identity> category_ids;
    std::vector<std::string> warnings;
};

/// The images that a COCO annotation file lists, in `image_dir`. Throws Error.
Dataset read_annotations(const std::filesystem::path& file, const std::filesystem::path& image_dir);

/// The images in a folder and its subfolders, in the order of their names, with the ids 1, 2, ... Throws Error.
Dataset list_folder(const std::filesystem::path& image_dir);

/// The id of each label in the data set: looked up by the class's name where the data set has categories, else that of
/// the training data. Empty for a class that the data set does not have; throws Error if it has none of them.
std::vector<Identity> category_ids(const Metadata& metadata, const Dataset& dataset);

}  // namespace maskrcnn
