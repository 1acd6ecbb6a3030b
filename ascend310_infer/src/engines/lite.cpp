// A MINDIR on an Ascend device or on a CPU by MindSpore Lite.

#include <cstring>
#include <filesystem>
#include <stdexcept>

#include <include/api/context.h>
#include <include/api/model.h>
#include <include/api/status.h>

#include "engines/engines.h"
#include "error.h"

namespace maskrcnn {
namespace {

void check(const mindspore::Status& status, const char* call) {
    if (status.IsError()) {
        throw std::runtime_error(std::string(call) + " gave error " +
                                 std::to_string(static_cast<std::uint32_t>(status.StatusCode())) + ": " +
                                 status.ToString());
    }
}

ElementType element_type(mindspore::DataType type) {
    switch (type) {
        case mindspore::DataType::kNumberTypeFloat32: return ElementType::float32;
        case mindspore::DataType::kNumberTypeInt32: return ElementType::int32;
        case mindspore::DataType::kNumberTypeInt64: return ElementType::int64;
        case mindspore::DataType::kNumberTypeUInt8: return ElementType::uint8;
        case mindspore::DataType::kNumberTypeBool: return ElementType::boolean;
        default: return ElementType::other;
    }
}

std::shared_ptr<mindspore::Context> make_context(DeviceTarget target, const EngineOptions& options) {
    auto context = std::make_shared<mindspore::Context>();
    if (target == DeviceTarget::ascend) {
        auto device = std::make_shared<mindspore::AscendDeviceInfo>();
        device->SetDeviceID(static_cast<std::uint32_t>(options.device_id));
        // Vector operators stay in float32: in float16, the default, a box at 1280 pixels is off by half a pixel.
        device->SetPrecisionMode("preferred_fp32");
        context->MutableDeviceInfo().push_back(device);
    } else {
        context->MutableDeviceInfo().push_back(std::make_shared<mindspore::CPUDeviceInfo>());
        if (options.threads > 0) {
            context->SetThreadNum(options.threads);
        }
    }
    return context;
}

DeviceTarget chosen_device(DeviceTarget wished) {
    if (wished != DeviceTarget::automatic) {
        return wished;
    }
    return std::filesystem::exists("/dev/davinci_manager") ? DeviceTarget::ascend : DeviceTarget::cpu;
}

void copy_in(mindspore::MSTensor& tensor, const void* data, std::size_t bytes) {
    if (tensor.DataSize() != bytes) {
        throw Error("the model's '" + tensor.Name() + "' has " + std::to_string(tensor.DataSize()) + " bytes, not " +
                    std::to_string(bytes) + ": export it again");
    }
    void* memory = tensor.MutableData();
    if (memory == nullptr) {
        throw std::runtime_error("MSTensor::MutableData gave nothing");
    }
    std::memcpy(memory, data, bytes);
}

class LiteEngine : public Engine {
public:
    LiteEngine(const ModelFile& model, const EngineOptions& options)
        : shape_(model.shape), options_(options), target_(chosen_device(options.device_target)) {
        check(model_.Build(model.path.string(), mindspore::kMindIR, make_context(target_, options)), "Model::Build");
        inputs_ = model_.GetInputs();
        check_count("inputs", inputs_.size(), input_names.size());
        const auto expected = input_shapes(shape_);
        for (std::size_t i = 0; i < inputs_.size(); ++i) {
            check_shape(input_names[i], inputs_[i].Shape(), expected[i]);
        }
    }

    std::string description() const override {
        return "MindSpore Lite, " +
               (target_ == DeviceTarget::ascend ? "Ascend device " + std::to_string(options_.device_id) : "CPU");
    }

    Detections run(const InputBatch& batch) override {
        copy_in(inputs_[0], batch.image.data(), batch.image.size());
        copy_in(inputs_[1], batch.image_shape.data(), batch.image_shape.size() * sizeof(float));
        std::vector<mindspore::MSTensor> tensors;
        check(model_.Predict(inputs_, &tensors), "Model::Predict");
        check_count("outputs", tensors.size(), output_names.size());
        std::array<TensorView, 5> outputs;
        for (std::size_t i = 0; i < outputs.size(); ++i) {
            outputs[i] = {element_type(tensors[i].DataType()), tensors[i].Shape(), tensors[i].MutableData(),
                          tensors[i].DataSize()};
        }
        return copy_outputs(outputs, shape_);
    }

private:
    const ModelShape shape_;
    const EngineOptions options_;
    const DeviceTarget target_;
    mindspore::Model model_;
    std::vector<mindspore::MSTensor> inputs_;
};

}  // namespace

std::unique_ptr<Engine> open_lite(const ModelFile& model, const EngineOptions& options) {
    return std::make_unique<LiteEngine>(model, options);
}

}  // namespace maskrcnn
