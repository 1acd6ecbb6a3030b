// An ONNX model on a CPU by OpenVINO.

#include <openvino/openvino.hpp>

#include "engines/engines.h"

namespace maskrcnn {
namespace {

ElementType element_type(const ov::element::Type& type) {
    if (type == ov::element::f32) return ElementType::float32;
    if (type == ov::element::i32) return ElementType::int32;
    if (type == ov::element::i64) return ElementType::int64;
    if (type == ov::element::u8) return ElementType::uint8;
    if (type == ov::element::boolean) return ElementType::boolean;
    return ElementType::other;
}

std::vector<std::int64_t> sides(const ov::Shape& shape) { return {shape.begin(), shape.end()}; }

class OpenVinoEngine : public Engine {
public:
    OpenVinoEngine(const ModelFile& model, const EngineOptions& options) : shape_(model.shape) {
        // Without these two, OpenVINO may compute in half precision or bfloat16 where the CPU can.
        ov::AnyMap settings{ov::hint::inference_precision(ov::element::f32),
                            ov::hint::execution_mode(ov::hint::ExecutionMode::ACCURACY),
                            ov::hint::performance_mode(ov::hint::PerformanceMode::LATENCY)};
        if (options.threads > 0) {
            settings.insert(ov::inference_num_threads(options.threads));
        }
        model_ = core_.compile_model(model.path.string(), "CPU", settings);
        request_ = model_.create_infer_request();
        const auto expected = input_shapes(shape_);
        for (std::size_t i = 0; i < input_names.size(); ++i) {
            check_shape(input_names[i], sides(model_.input(input_names[i]).get_shape()), expected[i]);
        }
    }

    std::string description() const override {
        return std::string("OpenVINO ") + ov::get_openvino_version().buildNumber + ", " +
               core_.get_property("CPU", ov::device::full_name);
    }

    Detections run(const InputBatch& batch) override {
        // OpenVINO only reads its inputs, though it takes them as if it wrote.
        const auto input = [](ov::element::Type type, const std::vector<std::int64_t>& shape, const void* data) {
            return ov::Tensor(type, ov::Shape(shape.begin(), shape.end()), const_cast<void*>(data));
        };
        const auto shapes = input_shapes(shape_);
        request_.set_tensor(input_names[0], input(ov::element::u8, shapes[0], batch.image.data()));
        request_.set_tensor(input_names[1], input(ov::element::f32, shapes[1], batch.image_shape.data()));
        request_.infer();
        std::array<TensorView, 5> outputs;
        for (std::size_t i = 0; i < outputs.size(); ++i) {
            const ov::Tensor tensor = request_.get_tensor(output_names[i]);
            outputs[i] = {element_type(tensor.get_element_type()), sides(tensor.get_shape()), tensor.data(),
                          tensor.get_byte_size()};
        }
        return copy_outputs(outputs, shape_);
    }

private:
    const ModelShape shape_;
    ov::Core core_;
    ov::CompiledModel model_;
    ov::InferRequest request_;
};

}  // namespace

std::unique_ptr<Engine> open_openvino(const ModelFile& model, const EngineOptions& options) {
    return std::make_unique<OpenVinoEngine>(model, options);
}

}  // namespace maskrcnn
