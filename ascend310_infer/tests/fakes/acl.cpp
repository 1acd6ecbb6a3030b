// AscendCL's stand-in. It is strict about the order of calls, and FAKE_FAIL names a call that fails.

#include <acl/acl.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "fakes.h"

struct aclDataBuffer {
    void* data;
    std::size_t size;
};

struct aclmdlDataset {
    std::vector<aclDataBuffer*> buffers;
};

struct aclmdlDesc {
    const fake::Model* model = nullptr;
};

namespace {

constexpr aclError failure = 507899;
constexpr aclDataType output_types[] = {ACL_FLOAT, ACL_FLOAT, ACL_INT32, ACL_BOOL, ACL_FLOAT};

struct State {
    bool initialized = false;
    bool device = false;
    int contexts = 0;
    aclrtContext current = nullptr;
    std::map<std::uint32_t, fake::Model> models;
    std::string message;
};

State& state() {
    static State state;
    return state;
}

/// Success, or an error whose reason aclGetRecentErrMsg tells.
aclError done(const char* call, bool in_order = true) {
    if (in_order && !fake::fails(call)) {
        return ACL_SUCCESS;
    }
    state().message = std::string("EZ9999: stand-in for ") + call +
                      (in_order ? " was told to fail" : " was called in the wrong order");
    return failure;
}

aclError made(const char* call, bool in_order = true) {
    const aclError code = done(call, in_order);
    fake::alive() += code == ACL_SUCCESS ? 1 : 0;
    return code;
}

aclError destroyed(const char* call, bool in_order = true) {
    --fake::alive();
    return done(call, in_order);
}

}  // namespace

extern "C" {

aclError aclInit(const char* /*configPath*/) {
    const aclError code = made("aclInit", !state().initialized);
    state().initialized = code == ACL_SUCCESS;
    return code;
}

aclError aclFinalize() {
    const bool in_order = !state().device && state().contexts == 0 && state().models.empty();
    state().initialized = false;
    return destroyed("aclFinalize", in_order);
}

const char* aclGetRecentErrMsg() { return state().message.empty() ? nullptr : state().message.c_str(); }

const char* aclrtGetSocName() { return "AscendFake"; }

aclError aclrtSetDevice(std::int32_t deviceId) {
    const aclError code = made("aclrtSetDevice", state().initialized && deviceId < 8);
    state().device = code == ACL_SUCCESS;
    return code;
}

aclError aclrtResetDevice(std::int32_t /*deviceId*/) {
    state().device = false;
    return destroyed("aclrtResetDevice", state().contexts == 0);
}

aclError aclrtCreateContext(aclrtContext* context, std::int32_t /*deviceId*/) {
    const aclError code = made("aclrtCreateContext", state().device);
    if (code == ACL_SUCCESS) {
        *context = &state();
        state().current = *context;
        ++state().contexts;
    }
    return code;
}

aclError aclrtDestroyContext(aclrtContext /*context*/) {
    --state().contexts;
    state().current = nullptr;
    return destroyed("aclrtDestroyContext");
}

aclError aclrtSetCurrentContext(aclrtContext context) {
    state().current = context;
    return done("aclrtSetCurrentContext", context == &state());
}

aclError aclrtMalloc(void** devPtr, std::size_t size, aclrtMemMallocPolicy /*policy*/) {
    const aclError code = made("aclrtMalloc", state().current != nullptr);
    if (code == ACL_SUCCESS) {
        *devPtr = ::operator new(size);
    }
    return code;
}

aclError aclrtFree(void* devPtr) {
    ::operator delete(devPtr);
    return destroyed("aclrtFree");
}

aclError aclrtMemcpy(void* dst, std::size_t destMax, const void* src, std::size_t count, aclrtMemcpyKind /*kind*/) {
    const aclError code = done("aclrtMemcpy", count <= destMax && state().current != nullptr);
    if (code == ACL_SUCCESS) {
        std::memcpy(dst, src, count);
    }
    return code;
}

aclDataBuffer* aclCreateDataBuffer(void* data, std::size_t size) {
    return made("aclCreateDataBuffer") == ACL_SUCCESS
               ? std::make_unique<aclDataBuffer>(aclDataBuffer{data, size}).release()
               : nullptr;
}

aclError aclDestroyDataBuffer(const aclDataBuffer* dataBuffer) {
    const std::unique_ptr<const aclDataBuffer> owner(dataBuffer);
    return destroyed("aclDestroyDataBuffer");
}

aclmdlDataset* aclmdlCreateDataset() {
    return made("aclmdlCreateDataset") == ACL_SUCCESS ? std::make_unique<aclmdlDataset>().release() : nullptr;
}

aclError aclmdlDestroyDataset(const aclmdlDataset* dataset) {
    const std::unique_ptr<const aclmdlDataset> owner(dataset);
    return destroyed("aclmdlDestroyDataset");
}

aclError aclmdlAddDatasetBuffer(aclmdlDataset* dataset, aclDataBuffer* dataBuffer) {
    dataset->buffers.push_back(dataBuffer);
    return done("aclmdlAddDatasetBuffer");
}

aclError aclmdlLoadFromFile(const char* modelPath, std::uint32_t* modelId) {
    fake::Model model;
    const aclError code = made("aclmdlLoadFromFile", model.read(modelPath) && state().current != nullptr);
    if (code == ACL_SUCCESS) {
        *modelId = static_cast<std::uint32_t>(state().models.size()) + 1;
        state().models[*modelId] = model;
    }
    return code;
}

aclError aclmdlUnload(std::uint32_t modelId) {
    state().models.erase(modelId);
    return destroyed("aclmdlUnload", state().contexts > 0);
}

aclmdlDesc* aclmdlCreateDesc() {
    return made("aclmdlCreateDesc") == ACL_SUCCESS ? std::make_unique<aclmdlDesc>().release() : nullptr;
}

aclError aclmdlDestroyDesc(aclmdlDesc* modelDesc) {
    const std::unique_ptr<aclmdlDesc> owner(modelDesc);
    return destroyed("aclmdlDestroyDesc");
}

aclError aclmdlGetDesc(aclmdlDesc* modelDesc, std::uint32_t modelId) {
    modelDesc->model = &state().models.at(modelId);
    return done("aclmdlGetDesc");
}

std::size_t aclmdlGetNumInputs(aclmdlDesc* /*modelDesc*/) { return 2; }

std::size_t aclmdlGetNumOutputs(aclmdlDesc* /*modelDesc*/) { return fake::fails("five outputs") ? 3 : 5; }

std::size_t aclmdlGetInputSizeByIndex(aclmdlDesc* modelDesc, std::size_t index) {
    return modelDesc->model->input_bytes().at(index);
}

std::size_t aclmdlGetOutputSizeByIndex(aclmdlDesc* modelDesc, std::size_t index) {
    return modelDesc->model->output_bytes().at(index);
}

aclError aclmdlGetOutputDims(const aclmdlDesc* modelDesc, std::size_t index, aclmdlIODims* dims) {
    const auto shape = modelDesc->model->output_shapes().at(index);
    dims->dimCount = shape.size();
    std::copy(shape.begin(), shape.end(), dims->dims);
    return done("aclmdlGetOutputDims");
}

aclDataType aclmdlGetOutputDataType(const aclmdlDesc* /*modelDesc*/, std::size_t index) {
    return fake::fails("float32 outputs") && index == 0 ? ACL_FLOAT16 : output_types[index];
}

aclError aclmdlExecute(std::uint32_t modelId, const aclmdlDataset* input, aclmdlDataset* output) {
    const aclError code = done("aclmdlExecute", state().current != nullptr);
    if (code == ACL_SUCCESS) {
        std::array<const void*, 2> inputs{};
        std::array<void*, 5> outputs{};
        for (std::size_t i = 0; i < inputs.size(); ++i) {
            inputs[i] = input->buffers.at(i)->data;
        }
        for (std::size_t i = 0; i < outputs.size(); ++i) {
            outputs[i] = output->buffers.at(i)->data;
        }
        state().models.at(modelId).run(inputs, outputs);
    }
    return code;
}

}  // extern "C"
