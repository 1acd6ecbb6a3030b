#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "fakes.h"
#include "include/api/context.h"
#include "include/api/status.h"

namespace mindspore {

enum class DataType : int {
    kNumberTypeBool = 30,
    kNumberTypeInt32 = 34,
    kNumberTypeInt64 = 35,
    kNumberTypeUInt8 = 37,
    kNumberTypeFloat16 = 42,
    kNumberTypeFloat32 = 43,
};

enum ModelType : std::uint32_t { kMindIR = 0 };

/// A handle: copies share their memory.
class MSTensor {
public:
    MSTensor(std::string name, enum DataType type, std::vector<std::int64_t> shape, std::size_t bytes);

    std::string Name() const { return name_; }
    enum DataType DataType() const { return type_; }
    const std::vector<std::int64_t>& Shape() const { return shape_; }
    std::size_t DataSize() const { return memory_->size(); }
    void* MutableData();

private:
    std::string name_;
    enum DataType type_;
    std::vector<std::int64_t> shape_;
    std::shared_ptr<std::vector<std::uint8_t>> memory_;
};

class Model {
public:
    Status Build(const std::string& path, ModelType type, const std::shared_ptr<Context>& context);
    std::vector<MSTensor> GetInputs();
    Status Predict(const std::vector<MSTensor>& inputs, std::vector<MSTensor>* outputs);

private:
    fake::Model model_;
};

}  // namespace mindspore
