#pragma once

// The part of AscendCL that the engine uses, for tests on machines without CANN: names, types and values as CANN
// documents them.

#include <cstddef>
#include <cstdint>

extern "C" {

constexpr int ACL_SUCCESS = 0;
constexpr std::size_t ACL_MAX_DIM_CNT = 128;
constexpr std::size_t ACL_MAX_TENSOR_NAME_LEN = 128;

using aclError = int;
using aclrtContext = void*;
struct aclDataBuffer;
struct aclmdlDataset;
struct aclmdlDesc;

enum aclDataType { ACL_FLOAT = 0, ACL_FLOAT16 = 1, ACL_INT32 = 3, ACL_UINT8 = 4, ACL_INT64 = 9, ACL_BOOL = 12 };
enum aclrtMemMallocPolicy { ACL_MEM_MALLOC_HUGE_FIRST };
enum aclrtMemcpyKind { ACL_MEMCPY_HOST_TO_HOST, ACL_MEMCPY_HOST_TO_DEVICE, ACL_MEMCPY_DEVICE_TO_HOST };

struct aclmdlIODims {
    char name[ACL_MAX_TENSOR_NAME_LEN];
    std::size_t dimCount;
    std::int64_t dims[ACL_MAX_DIM_CNT];
};

aclError aclInit(const char* configPath);
aclError aclFinalize();
const char* aclGetRecentErrMsg();
const char* aclrtGetSocName();
aclError aclrtSetDevice(std::int32_t deviceId);
aclError aclrtResetDevice(std::int32_t deviceId);
aclError aclrtCreateContext(aclrtContext* context, std::int32_t deviceId);
aclError aclrtDestroyContext(aclrtContext context);
aclError aclrtSetCurrentContext(aclrtContext context);
aclError aclrtMalloc(void** devPtr, std::size_t size, aclrtMemMallocPolicy policy);
aclError aclrtFree(void* devPtr);
aclError aclrtMemcpy(void* dst, std::size_t destMax, const void* src, std::size_t count, aclrtMemcpyKind kind);

aclDataBuffer* aclCreateDataBuffer(void* data, std::size_t size);
aclError aclDestroyDataBuffer(const aclDataBuffer* dataBuffer);
aclmdlDataset* aclmdlCreateDataset();
aclError aclmdlDestroyDataset(const aclmdlDataset* dataset);
aclError aclmdlAddDatasetBuffer(aclmdlDataset* dataset, aclDataBuffer* dataBuffer);

aclError aclmdlLoadFromFile(const char* modelPath, std::uint32_t* modelId);
aclError aclmdlUnload(std::uint32_t modelId);
aclmdlDesc* aclmdlCreateDesc();
aclError aclmdlDestroyDesc(aclmdlDesc* modelDesc);
aclError aclmdlGetDesc(aclmdlDesc* modelDesc, std::uint32_t modelId);
std::size_t aclmdlGetNumInputs(aclmdlDesc* modelDesc);
std::size_t aclmdlGetNumOutputs(aclmdlDesc* modelDesc);
std::size_t aclmdlGetInputSizeByIndex(aclmdlDesc* modelDesc, std::size_t index);
std::size_t aclmdlGetOutputSizeByIndex(aclmdlDesc* modelDesc, std::size_t index);
aclError aclmdlGetOutputDims(const aclmdlDesc* modelDesc, std::size_t index, aclmdlIODims* dims);
aclDataType aclmdlGetOutputDataType(const aclmdlDesc* modelDesc, std::size_t index);
aclError aclmdlExecute(std::uint32_t modelId, const aclmdlDataset* input, aclmdlDataset* output);

}  // extern "C"
