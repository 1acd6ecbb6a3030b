#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace mindspore {

class DeviceInfoContext {
public:
    virtual ~DeviceInfoContext() = default;
};

class CPUDeviceInfo : public DeviceInfoContext {};

class AscendDeviceInfo : public DeviceInfoContext {
public:
    void SetDeviceID(std::uint32_t device_id) { device_id_ = device_id; }
    std::uint32_t GetDeviceID() const { return device_id_; }
    void SetPrecisionMode(const std::string& precision_mode) { precision_mode_ = precision_mode; }
    std::string GetPrecisionMode() const { return precision_mode_; }

private:
    std::uint32_t device_id_ = 0;
    std::string precision_mode_ = "enforce_fp16";
};

class Context {
public:
    void SetThreadNum(std::int32_t threads) { threads_ = threads; }
    std::int32_t GetThreadNum() const { return threads_; }
    std::vector<std::shared_ptr<DeviceInfoContext>>& MutableDeviceInfo() { return devices_; }

private:
    std::int32_t threads_ = 0;
    std::vector<std::shared_ptr<DeviceInfoContext>> devices_;
};

}  // namespace mindspore
