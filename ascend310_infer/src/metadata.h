#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "identity.h"
#include "paste.h"
#include "tensors.h"

namespace maskrcnn {

/// A file that an engine opens, and what to expect in it.
struct ModelFile {
    std::filesystem::path path;
    ModelShape shape;
};

/// What export.py says about a model.
struct Metadata {
    std::vector<ModelFile> models;           ///< one for each canvas
    std::vector<std::string> classes;        ///< name of label 1, 2, ...
    std::vector<Identity> category_ids;      ///< the training data's id of label 1, 2, ...
    bool keep_ratio = true;
    float mask_threshold = 0.5F;
    PasteRule paste = PasteRule::exact;

    /// The model for an image of this size: that of the upright canvas, if there is one, for upright images.
    std::size_t model_for(Size image) const;
};

/// Read NAME.json beside the model NAME.onnx, NAME.mindir, ..., or `file` if one is given. A model converted by
/// vendors' tools (NAME.om) is not listed there; it takes the place of the model listed that it was made from.
/// Throws Error.
Metadata read_metadata(const std::filesystem::path& model, const std::filesystem::path& file = {});

}  // namespace maskrcnn
