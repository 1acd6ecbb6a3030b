// A MINDIR on a CPU by the MindSpore that Python has. Slow to start; there to compare with Python bit by bit.

#include <pybind11/embed.h>
#include <pybind11/numpy.h>

#include <cstdlib>

#include "build_config.h"
#include "engines/engines.h"
#include "error.h"

namespace maskrcnn {
namespace {

namespace py = pybind11;

constexpr const char* load_model = R"(
import os
# As the project's own package: with AVX-512, oneDNN's plain-layout convolutions are many times slower.
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX2")
os.environ.setdefault("GLOG_v", "3")
import mindspore as ms

def load(path):
    ms.set_context(mode=ms.GRAPH_MODE)
    ms.set_device("CPU")
    network = ms.nn.GraphCell(ms.load(path))
    return lambda *inputs: [output.asnumpy() for output in network(*map(ms.Tensor, inputs))]

version = ms.__version__
)";

/// Starts the interpreter of the Python that the build was made with (MASKRCNN_PYTHON names another), once for the
/// process. It is never finalized: MindSpore's threads do not outlive that.
void start_python() {
    if (Py_IsInitialized() != 0) {
        return;
    }
    const char* chosen = std::getenv("MASKRCNN_PYTHON");
    PyConfig config;
    PyConfig_InitPythonConfig(&config);
    config.install_signal_handlers = 0;
    PyStatus status =
        PyConfig_SetBytesString(&config, &config.program_name, chosen != nullptr ? chosen : build::python);
    if (PyStatus_Exception(status) == 0) {
        status = Py_InitializeFromConfig(&config);
    }
    PyConfig_Clear(&config);
    if (PyStatus_Exception(status) != 0) {
        throw Error(std::string("Python cannot start: ") +
                    (status.err_msg != nullptr ? status.err_msg : "unknown reason"));
    }
}

ElementType element_type(const py::dtype& type) {
    if (type.is(py::dtype::of<float>())) return ElementType::float32;
    if (type.is(py::dtype::of<std::int32_t>())) return ElementType::int32;
    if (type.is(py::dtype::of<std::int64_t>())) return ElementType::int64;
    if (type.is(py::dtype::of<std::uint8_t>())) return ElementType::uint8;
    if (type.is(py::dtype::of<bool>())) return ElementType::boolean;
    return ElementType::other;
}

template <typename T>
py::array_t<T> to_array(const std::vector<std::int64_t>& shape, const std::vector<T>& values) {
    return py::array_t<T>(py::array::ShapeContainer(shape.begin(), shape.end()), values.data());
}

class MindSporeEngine : public Engine {
public:
    explicit MindSporeEngine(const ModelFile& model) : shape_(model.shape) {
        start_python();
        py::dict scope;
        scope["__builtins__"] = py::module_::import("builtins");
        py::exec(load_model, scope);
        version_ = scope["version"].cast<std::string>();
        network_ = scope["load"](model.path.string());
    }

    std::string description() const override { return "MindSpore " + version_ + " in Python, CPU"; }

    Detections run(const InputBatch& batch) override {
        const auto shapes = input_shapes(shape_);
        const py::list results = network_(to_array(shapes[0], batch.image), to_array(shapes[1], batch.image_shape));
        check_count("outputs", results.size(), output_names.size());
        std::array<py::array, 5> arrays;
        std::array<TensorView, 5> outputs;
        for (std::size_t i = 0; i < arrays.size(); ++i) {
            arrays[i] = py::array::ensure(results[i], py::array::c_style);
            outputs[i] = {element_type(arrays[i].dtype()),
                          {arrays[i].shape(), arrays[i].shape() + arrays[i].ndim()},
                          arrays[i].data(),
                          static_cast<std::size_t>(arrays[i].nbytes())};
        }
        return copy_outputs(outputs, shape_);
    }

private:
    const ModelShape shape_;
    std::string version_;
    py::object network_;
};

}  // namespace

std::unique_ptr<Engine> open_mindspore(const ModelFile& model, const EngineOptions& /*options*/) {
    return std::make_unique<MindSporeEngine>(model);
}

}  // namespace maskrcnn
