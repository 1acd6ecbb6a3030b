// MindSpore Lite's stand-in. FAKE_FAIL names a call that fails.

#include "include/api/model.h"

#include <utility>

namespace mindspore {
namespace {

Status failed(const std::string& call) { return {kLiteError, "stand-in for " + call + " was told to fail"}; }

}  // namespace

MSTensor::MSTensor(std::string name, enum DataType type, std::vector<std::int64_t> shape, std::size_t bytes)
    : name_(std::move(name)),
      type_(type),
      shape_(std::move(shape)),
      memory_(std::make_shared<std::vector<std::uint8_t>>(bytes)) {}

void* MSTensor::MutableData() { return fake::fails("MSTensor::MutableData") ? nullptr : memory_->data(); }

Status Model::Build(const std::string& path, ModelType type, const std::shared_ptr<Context>& context) {
    if (fake::fails("Model::Build")) {
        return failed("Model::Build");
    }
    const auto& devices = context->MutableDeviceInfo();
    const auto* ascend = devices.size() == 1 ? dynamic_cast<const AscendDeviceInfo*>(devices[0].get()) : nullptr;
    if (devices.size() != 1 || (ascend != nullptr && ascend->GetPrecisionMode() != "preferred_fp32")) {
        return {kLiteError, "one device is wanted, in float32"};
    }
    if (ascend != nullptr && ascend->GetDeviceID() > 7) {
        return {kLiteError, "there is no device " + std::to_string(ascend->GetDeviceID())};
    }
    return type == kMindIR && model_.read(path) ? Status() : Status(kLiteError, "the file is no MINDIR");
}

std::vector<MSTensor> Model::GetInputs() {
    const auto bytes = model_.input_bytes();
    return {MSTensor("image", DataType::kNumberTypeUInt8, {model_.images, model_.height, model_.width, 3}, bytes[0]),
            MSTensor("image_shape", DataType::kNumberTypeFloat32, {model_.images, 2}, bytes[1])};
}

Status Model::Predict(const std::vector<MSTensor>& inputs, std::vector<MSTensor>* outputs) {
    if (fake::fails("Model::Predict")) {
        return failed("Model::Predict");
    }
    constexpr enum DataType types[] = {DataType::kNumberTypeFloat32, DataType::kNumberTypeFloat32,
                                       DataType::kNumberTypeInt32, DataType::kNumberTypeBool,
                                       DataType::kNumberTypeFloat32};
    const auto shapes = model_.output_shapes();
    const auto bytes = model_.output_bytes();
    std::array<void*, 5> memory{};
    for (std::size_t i = 0; i < shapes.size(); ++i) {
        const bool half = i == 4 && fake::fails("float32 outputs");
        outputs->emplace_back("output", half ? DataType::kNumberTypeFloat16 : types[i], shapes[i], bytes[i]);
        memory[i] = outputs->back().MutableData();
    }
    MSTensor image = inputs.at(0);
    MSTensor image_shape = inputs.at(1);
    model_.run({image.MutableData(), image_shape.MutableData()}, memory);
    return {};
}

}  // namespace mindspore
