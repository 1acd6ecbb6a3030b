// The engines of AscendCL and MindSpore Lite against the stand-ins in fakes/.

#include "engines/engines.h"

#include <cstdlib>

#include "fakes.h"
#include "workspace.h"

namespace maskrcnn {
namespace {

using testing::contains;
using testing::error_of;

/// A call that fails while it lives.
class Failing {
public:
    explicit Failing(const std::string& call) { ::setenv("FAKE_FAIL", call.c_str(), 1); }
    ~Failing() { ::unsetenv("FAKE_FAIL"); }
    Failing(const Failing&) = delete;
    Failing& operator=(const Failing&) = delete;
};

class FakeEngines : public testing::Workspace {
protected:
    /// A model of 2 pictures of 4 x 6, 3 detections, masks of 2 x 2.
    ModelFile model(const std::string& name, const std::string& content = "2 4 6 3 2") const {
        ModelShape shape;
        shape.images = 2;
        shape.canvas = {4, 6};
        shape.max_detections = 4;
        shape.mask_side = 2;
        return {write(name, content), shape};
    }
    std::string opening_error(const std::string& kind, const std::string& name,
                              const std::string& content = "2 4 6 3 2") {
        const auto& engine = find_engine(kind, name);
        return error_of([&] { open_engine(engine, model(name, content), {}); });
    }
    std::string running_error(const std::string& kind, const std::string& name, const std::string& call,
                              const std::string& content = "2 4 6 3 2") {
        const auto engine = open_engine(find_engine(kind, name), model(name, content), {});
        const Failing failing(call);
        return error_of([&] { engine->run(InputBatch(model(name).shape)); });
    }
};

void expect_toy_detections(Engine& engine, const ModelShape& shape) {
    InputBatch batch(shape);
    batch.image[0] = 51;
    batch.image[4 * 6 * 3] = 255;
    batch.image_shape = {3, 6, 4, 5};
    const Detections found = engine.run(batch);
    EXPECT_EQ(found.valid, (std::vector<std::uint8_t>{1, 0, 0, 1, 0, 0}));
    EXPECT_FLOAT_EQ(found.scores[0], 0.2F);
    EXPECT_FLOAT_EQ(found.scores[3], 1.0F);
    EXPECT_EQ(found.labels[3], 1);
    EXPECT_EQ(std::vector<float>(found.boxes.begin(), found.boxes.begin() + 4), (std::vector<float>{0, 0, 6, 3}));
    EXPECT_EQ(std::vector<float>(found.boxes.begin() + 12, found.boxes.begin() + 16), (std::vector<float>{0, 0, 5, 4}));
    EXPECT_EQ(found.masks.size(), 2U * 3 * 2 * 2);
    EXPECT_FLOAT_EQ(found.masks[12], 1.0F);
    EXPECT_FLOAT_EQ(found.masks[4], 0.0F);
}

TEST_F(FakeEngines, AclRunsBatchAfterBatchAndCleansUp) {
    const ModelFile file = model("net.om");
    {
        const auto engine = open_engine(find_engine("auto", file.path), file, {});
        EXPECT_EQ(engine->description(), "AscendCL, AscendFake, device 0");
        expect_toy_detections(*engine, file.shape);
        expect_toy_detections(*engine, file.shape);
        const auto second = open_engine(find_engine("acl", file.path), file, {});  // for the upright canvas
        expect_toy_detections(*second, file.shape);
        expect_toy_detections(*engine, file.shape);
        EXPECT_GT(fake::alive(), 0);
    }
    EXPECT_EQ(fake::alive(), 0);
    const auto again = open_engine(find_engine("acl", file.path), file, {});
    expect_toy_detections(*again, file.shape);
}

TEST_F(FakeEngines, EveryAclFailureIsToldAndLeavesNothingBehind) {
    for (const char* call : {"aclInit", "aclrtSetDevice", "aclrtCreateContext", "aclmdlLoadFromFile",
                             "aclmdlCreateDesc", "aclmdlGetDesc", "aclmdlCreateDataset", "aclrtMalloc",
                             "aclCreateDataBuffer", "aclmdlAddDatasetBuffer", "aclmdlGetOutputDims"}) {
        const Failing failing(call);
        const std::string error = opening_error("acl", "net.om");
        EXPECT_TRUE(contains(error, std::string("the engine acl failed with ")));
        EXPECT_TRUE(contains(error, "net.om: " + std::string(call) + " gave "));
        EXPECT_TRUE(contains(error, "EZ9999: stand-in for " + std::string(call) + " was told to fail"));
        EXPECT_EQ(fake::alive(), 0) << call;
    }
    for (const char* call : {"aclrtSetCurrentContext", "aclrtMemcpy", "aclmdlExecute"}) {
        EXPECT_TRUE(contains(running_error("acl", "net.om", call), std::string("stand-in for ") + call)) << call;
        EXPECT_EQ(fake::alive(), 0) << call;
    }
}

TEST_F(FakeEngines, AclModelsThatDoNotFitTheirMetadataAreRefused) {
    EXPECT_TRUE(contains(opening_error("acl", "net.om", "no model"), "aclmdlLoadFromFile gave error 507899: EZ9999"));
    EXPECT_TRUE(
        contains(opening_error("acl", "net.om", "1 4 6 3 2"), "'image' has 72 bytes, but its metadata says 144"));
    EXPECT_TRUE(contains(running_error("acl", "net.om", "nothing", "2 4 6 5 2"), "'boxes' has the shape [2, 5, 4]"));
    {
        const Failing failing("five outputs");
        EXPECT_TRUE(contains(opening_error("acl", "net.om"), "3 outputs, not 5"));
    }
    // The types are known when the model is opened, and refused when they are used.
    const Failing failing("float32 outputs");
    EXPECT_TRUE(contains(running_error("acl", "net.om", "float32 outputs"), "'boxes' is not of type float32"));
    EXPECT_EQ(fake::alive(), 0);
}

TEST_F(FakeEngines, LiteRunsBatchAfterBatch) {
    const ModelFile file = model("net.mindir");
    EngineOptions options;
    options.device_target = DeviceTarget::cpu;
    options.threads = 2;
    const auto engine = open_engine(find_engine("auto", file.path), file, options);
    EXPECT_EQ(engine->description(), "MindSpore Lite, CPU");
    expect_toy_detections(*engine, file.shape);
    expect_toy_detections(*engine, file.shape);
}

TEST_F(FakeEngines, LiteTakesTheAscendDeviceAskedFor) {
    EngineOptions options;
    options.device_target = DeviceTarget::ascend;
    options.device_id = 3;
    const auto engine = open_engine(find_engine("lite", "net.mindir"), model("net.mindir"), options);
    EXPECT_EQ(engine->description(), "MindSpore Lite, Ascend device 3");
    options.device_id = 9;
    const auto wrong = [&] { open_engine(find_engine("lite", "net.mindir"), model("net.mindir"), options); };
    EXPECT_TRUE(contains(error_of(wrong), "Model::Build gave error 268435457: there is no device 9"));
}

TEST_F(FakeEngines, EveryLiteFailureIsTold) {
    {
        const Failing failing("Model::Build");
        EXPECT_TRUE(contains(opening_error("lite", "net.mindir"), "the engine lite failed with "));
        EXPECT_TRUE(contains(opening_error("lite", "net.mindir"), "stand-in for Model::Build was told to fail"));
    }
    EXPECT_TRUE(contains(opening_error("lite", "net.mindir", "no model"), "the file is no MINDIR"));
    EXPECT_TRUE(contains(opening_error("lite", "net.mindir", "2 4 8 3 2"), "'image' has the shape [2, 4, 8, 3]"));
    EXPECT_TRUE(contains(running_error("lite", "net.mindir", "Model::Predict"), "Model::Predict was told to fail"));
    EXPECT_TRUE(contains(running_error("lite", "net.mindir", "MSTensor::MutableData"), "MutableData gave nothing"));
    EXPECT_TRUE(contains(running_error("lite", "net.mindir", "float32 outputs"), "'masks' is not of type float32"));
}

TEST(EngineChoice, WhatIsNotInTheBuildOrNotReadIsSaid) {
    const auto error = [](const char* name, const char* path) { return error_of([&] { find_engine(name, path); }); };
    EXPECT_TRUE(contains(error("auto", "net.onnx"), "this build has no engine for it: pip install openvino"));
    EXPECT_TRUE(contains(error("openvino", "net.onnx"), "this build has no engine openvino: pip install openvino"));
    EXPECT_TRUE(contains(error("auto", "net.air"), "make an OM of it"));
    EXPECT_TRUE(contains(error("auto", "net.txt"), "not '.txt'"));
    EXPECT_TRUE(contains(error("acl", "net.mindir"), "the engine acl cannot read net.mindir"));
    EXPECT_TRUE(contains(error("gpu", "net.onnx"), "there is no engine 'gpu'"));
    EXPECT_EQ(find_engine("auto", "net.mindir").name, "lite");
    EXPECT_EQ(engine_list(), "lite, acl");
}

}  // namespace
}  // namespace maskrcnn
