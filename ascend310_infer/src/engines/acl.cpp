// An OM on an Ascend device by AscendCL.

#include <acl/acl.h>

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "engines/engines.h"
#include "error.h"

namespace maskrcnn {
namespace {

[[noreturn]] void fail(const std::string& what) {
    const char* reason = aclGetRecentErrMsg();
    throw std::runtime_error(what + (reason != nullptr ? std::string(": ") + reason : ""));
}

void check(aclError code, const char* call) {
    if (code != ACL_SUCCESS) {
        fail(std::string(call) + " gave error " + std::to_string(code));
    }
}

template <typename T>
T* check(T* made, const char* call) {
    if (made == nullptr) {
        fail(std::string(call) + " gave nothing");
    }
    return made;
}

/// A C object that its own function destroys.
template <typename T, aclError (*destroy)(T*)>
struct Destroyer {
    void operator()(T* object) const { destroy(object); }
};
template <typename T, aclError (*destroy)(T*)>
using Owned = std::unique_ptr<std::remove_const_t<T>, Destroyer<T, destroy>>;

// What is opened is closed in the opposite order, also when a later step fails.

struct Library {
    Library() { check(aclInit(nullptr), "aclInit"); }
    ~Library() { aclFinalize(); }
    Library(const Library&) = delete;
    Library& operator=(const Library&) = delete;
};

struct OpenDevice {
    explicit OpenDevice(int number) : id(number) { check(aclrtSetDevice(id), "aclrtSetDevice"); }
    ~OpenDevice() { aclrtResetDevice(id); }
    OpenDevice(const OpenDevice&) = delete;
    OpenDevice& operator=(const OpenDevice&) = delete;

    const int id;
};

struct Context {
    explicit Context(int device) { check(aclrtCreateContext(&handle, device), "aclrtCreateContext"); }
    ~Context() { aclrtDestroyContext(handle); }
    Context(const Context&) = delete;
    Context& operator=(const Context&) = delete;

    aclrtContext handle = nullptr;
};

/// The library, a device and a context, shared by the engines of a process.
struct Runtime {
    explicit Runtime(int device_id) : device(device_id), context(device_id) {}

    static std::shared_ptr<Runtime> of_device(int device_id) {
        static std::weak_ptr<Runtime> shared;
        auto runtime = shared.lock();
        if (!runtime || runtime->device.id != device_id) {
            runtime = std::make_shared<Runtime>(device_id);
            shared = runtime;
        }
        return runtime;
    }

    Library library;
    OpenDevice device;
    Context context;
};

struct LoadedModel {
    explicit LoadedModel(const std::string& path) {
        check(aclmdlLoadFromFile(path.c_str(), &id), "aclmdlLoadFromFile");
    }
    ~LoadedModel() { aclmdlUnload(id); }
    LoadedModel(const LoadedModel&) = delete;
    LoadedModel& operator=(const LoadedModel&) = delete;

    std::uint32_t id = 0;
};

/// Memory on the device, and what AscendCL calls a data buffer around it.
struct DeviceBuffer {
    explicit DeviceBuffer(std::size_t bytes) : size(bytes) {
        void* memory = nullptr;
        check(aclrtMalloc(&memory, size, ACL_MEM_MALLOC_HUGE_FIRST), "aclrtMalloc");
        data.reset(memory);
        buffer.reset(check(aclCreateDataBuffer(memory, size), "aclCreateDataBuffer"));
    }

    std::size_t size;
    Owned<void, aclrtFree> data;
    Owned<const aclDataBuffer, aclDestroyDataBuffer> buffer;
};

/// The inputs or the outputs of a model, on the device.
class Dataset {
public:
    Dataset() : dataset_(check(aclmdlCreateDataset(), "aclmdlCreateDataset")) {}

    void add(std::size_t bytes) {
        buffers_.emplace_back(bytes);
        check(aclmdlAddDatasetBuffer(dataset_.get(), buffers_.back().buffer.get()), "aclmdlAddDatasetBuffer");
    }
    void copy_in(std::size_t index, const void* from) const {
        const DeviceBuffer& to = buffers_[index];
        check(aclrtMemcpy(to.data.get(), to.size, from, to.size, ACL_MEMCPY_HOST_TO_DEVICE),
              "aclrtMemcpy to the device");
    }
    void copy_out(std::size_t index, std::vector<std::uint8_t>& to) const {
        const DeviceBuffer& from = buffers_[index];
        to.resize(from.size);
        check(aclrtMemcpy(to.data(), to.size(), from.data.get(), from.size, ACL_MEMCPY_DEVICE_TO_HOST),
              "aclrtMemcpy from the device");
    }
    aclmdlDataset* get() const { return dataset_.get(); }

private:
    std::vector<DeviceBuffer> buffers_;
    Owned<const aclmdlDataset, aclmdlDestroyDataset> dataset_;  // goes before the buffers in it
};

ElementType element_type(aclDataType type) {
    switch (type) {
        case ACL_FLOAT: return ElementType::float32;
        case ACL_INT32: return ElementType::int32;
        case ACL_INT64: return ElementType::int64;
        case ACL_UINT8: return ElementType::uint8;
        case ACL_BOOL: return ElementType::boolean;
        default: return ElementType::other;
    }
}

class AclEngine : public Engine {
public:
    AclEngine(const ModelFile& model, const EngineOptions& options)
        : shape_(model.shape),
          runtime_(Runtime::of_device(options.device_id)),
          model_(model.path.string()),
          description_(check(aclmdlCreateDesc(), "aclmdlCreateDesc")) {
        check(aclmdlGetDesc(description_.get(), model_.id), "aclmdlGetDesc");
        add_inputs();
        add_outputs();
    }

    std::string description() const override {
        const char* chip = aclrtGetSocName();
        return std::string("AscendCL, ") + (chip != nullptr ? chip : "unknown chip") + ", device " +
               std::to_string(runtime_->device.id);
    }

    Detections run(const InputBatch& batch) override {
        check(aclrtSetCurrentContext(runtime_->context.handle), "aclrtSetCurrentContext");
        inputs_.copy_in(0, batch.image.data());
        inputs_.copy_in(1, batch.image_shape.data());
        check(aclmdlExecute(model_.id, inputs_.get(), outputs_.get()), "aclmdlExecute");
        for (std::size_t i = 0; i < views_.size(); ++i) {
            outputs_.copy_out(i, host_[i]);
            views_[i].data = host_[i].data();
            views_[i].bytes = host_[i].size();
        }
        return copy_outputs(views_, shape_);
    }

private:
    /// Sizes, not shapes: an input that AIPP prepares is described otherwise, but has the same bytes.
    void add_inputs() {
        check_count("inputs", aclmdlGetNumInputs(description_.get()), input_names.size());
        const InputBatch batch(shape_);
        const std::array<std::size_t, 2> expected = {batch.image.size(), batch.image_shape.size() * sizeof(float)};
        for (std::size_t i = 0; i < expected.size(); ++i) {
            const std::size_t bytes = aclmdlGetInputSizeByIndex(description_.get(), i);
            if (bytes != expected[i]) {
                throw Error(std::string("the model's '") + input_names[i] + "' has " + std::to_string(bytes) +
                            " bytes, but its metadata says " + std::to_string(expected[i]) +
                            ": model and metadata are of different exports");
            }
            inputs_.add(bytes);
        }
    }

    void add_outputs() {
        check_count("outputs", aclmdlGetNumOutputs(description_.get()), output_names.size());
        for (std::size_t i = 0; i < views_.size(); ++i) {
            aclmdlIODims dims{};
            check(aclmdlGetOutputDims(description_.get(), i, &dims), "aclmdlGetOutputDims");
            views_[i].shape.assign(dims.dims, dims.dims + std::min<std::size_t>(dims.dimCount, ACL_MAX_DIM_CNT));
            views_[i].type = element_type(aclmdlGetOutputDataType(description_.get(), i));
            outputs_.add(aclmdlGetOutputSizeByIndex(description_.get(), i));
        }
    }

    const ModelShape shape_;
    const std::shared_ptr<Runtime> runtime_;
    const LoadedModel model_;
    const Owned<aclmdlDesc, aclmdlDestroyDesc> description_;
    Dataset inputs_;
    Dataset outputs_;
    std::array<TensorView, 5> views_;
    std::array<std::vector<std::uint8_t>, 5> host_;
};

}  // namespace

std::unique_ptr<Engine> open_acl(const ModelFile& model, const EngineOptions& options) {
    return std::make_unique<AclEngine>(model, options);
}

}  // namespace maskrcnn
