#pragma once

#include <string>

#include "metadata.h"
#include "tensors.h"

namespace maskrcnn {

/// A vendor's runtime with one model in it.
class Engine {
public:
    virtual ~Engine() = default;

    /// Which runtime, of which version, on which device.
    virtual std::string description() const = 0;
    /// The objects in a batch. Called by the thread that made the engine.
    virtual Detections run(const InputBatch& batch) = 0;

protected:
    Engine() = default;
    Engine(const Engine&) = delete;
    Engine& operator=(const Engine&) = delete;
};

enum class DeviceTarget { automatic, ascend, cpu };

struct EngineOptions {
    DeviceTarget device_target = DeviceTarget::automatic;  ///< for MindSpore Lite, which knows both
    int device_id = 0;
    int threads = 0;  ///< of a CPU; 0 = the engine's own choice
};

}  // namespace maskrcnn
