#include "pipeline.h"

#include <limits>
#include <numeric>
#include <thread>

#include "image_loader.h"
#include "workspace.h"

namespace maskrcnn {
namespace {

using nlohmann::json;
using testing::contains;
using testing::error_of;
using testing::png;

/// Finds one object in every picture: all of it, with the red of its first pixel / 255 as its score.
class ToyEngine : public Engine {
public:
    explicit ToyEngine(const ModelShape& shape) : shape_(shape) {}

    std::string description() const override { return "toy"; }

    Detections run(const InputBatch& batch) override {
        if (runs_++ == fails_at) {
            throw Error("the engine broke");
        }
        const auto images = static_cast<std::size_t>(shape_.images);
        const auto slots = static_cast<std::size_t>(shape_.max_detections);
        const auto cells = static_cast<std::size_t>(shape_.mask_side * shape_.mask_side);
        Detections found{slots,
                         std::vector<float>(images * slots * 4),
                         std::vector<float>(images * slots),
                         std::vector<std::int32_t>(images * slots, 1),
                         std::vector<std::uint8_t>(images * slots),
                         std::vector<float>(images * slots * cells, 1.0F)};
        const std::size_t bytes = batch.image.size() / images;
        for (std::size_t n = 0; n < images; ++n) {
            found.boxes[n * slots * 4 + 2] = batch.image_shape[n * 2 + 1];
            found.boxes[n * slots * 4 + 3] = batch.image_shape[n * 2];
            found.scores[n * slots] = static_cast<float>(batch.image[n * bytes]) / 255.0F;
            found.valid[n * slots] = 1;
            seen.push_back(std::accumulate(batch.image.begin() + static_cast<std::ptrdiff_t>(n * bytes),
                                           batch.image.begin() + static_cast<std::ptrdiff_t>((n + 1) * bytes), 0L));
        }
        if (runs_ == gives_nan_at) {
            found.scores[0] = std::numeric_limits<float>::quiet_NaN();
        }
        return found;
    }

    int fails_at = -1;
    int gives_nan_at = -1;
    std::vector<long> seen;  ///< sum of all values of each row of the batches

private:
    const ModelShape shape_;
    int runs_ = 0;
};

class Pipeline : public testing::Workspace {
protected:
    void add_model(int images, Size canvas) {
        ModelShape shape;
        shape.images = images;
        shape.canvas = canvas;
        shape.max_detections = 2;
        shape.mask_side = 2;
        metadata_.models.push_back({"toy", shape});
        auto engine = std::make_unique<ToyEngine>(shape);
        toys_.push_back(engine.get());
        engines_.push_back(std::move(engine));
    }

    void add_image(int height, int width, int red) {
        const Identity id = std::to_string(dataset_.images.size() + 1);
        const auto path = write(id + ".png", png(height, width, red, 0, 0));
        dataset_.images.push_back({id, path, Size{height, width}, true});
    }

    void add_broken_image() {
        const Identity id = std::to_string(dataset_.images.size() + 1);
        dataset_.images.push_back({id, write(id + ".png", "no image"), std::nullopt, true});
    }

    PipelineResult run() {
        boxes_ = std::make_unique<ResultFile>(folder_ / "bbox.json");
        masks_ = std::make_unique<ResultFile>(folder_ / "segm.json");
        PipelineOptions options;
        options.strict = strict_;
        options.stop = [this] { return done_ >= stop_after_; };
        options.progress = [this](std::size_t done) { done_ = done; };
        options.warning = [this](const std::string& text) { warnings_.push_back(text); };
        return run_pipeline(dataset_.images, metadata_, engines_, *boxes_, *masks_, options);
    }

    json records(const std::string& kind) {
        boxes_.reset();
        masks_.reset();
        return json::parse(read(kind + ".partial.json"));
    }

    Metadata metadata_{{}, {"thing"}, {"7"}, true, 0.5F, PasteRule::exact};
    Dataset dataset_;
    std::vector<std::unique_ptr<Engine>> engines_;
    std::vector<ToyEngine*> toys_;
    std::unique_ptr<ResultFile> boxes_;
    std::unique_ptr<ResultFile> masks_;
    bool strict_ = false;
    std::size_t stop_after_ = std::numeric_limits<std::size_t>::max();
    std::size_t done_ = 0;
    std::vector<std::string> warnings_;
};

TEST_F(Pipeline, EveryImageBecomesRecordsInOrder) {
    add_model(1, {8, 16});
    for (int i = 0; i < 50; ++i) {
        add_image(4 + i % 3, 8, i * 5);
    }
    const PipelineResult result = run();
    EXPECT_EQ(result.images.size(), 50U);
    EXPECT_EQ(result.detections, 50U);
    EXPECT_FALSE(result.stopped);
    EXPECT_EQ(done_, 50U);
    const json boxes = records("bbox");
    const json masks = records("segm");
    ASSERT_EQ(boxes.size(), 50U);
    ASSERT_EQ(masks.size(), 50U);
    for (int i = 0; i < 50; ++i) {
        const auto& box = boxes[static_cast<std::size_t>(i)];
        EXPECT_EQ(box["image_id"], i + 1);
        EXPECT_EQ(box["category_id"], 7);
        EXPECT_EQ(box["bbox"], json({0, 0, 8, 4 + i % 3}));
        EXPECT_FLOAT_EQ(box["score"].get<float>(), static_cast<float>(i * 5) / 255.0F);
        EXPECT_EQ(masks[static_cast<std::size_t>(i)]["segmentation"]["size"], json({4 + i % 3, 8}));
    }
    EXPECT_EQ(result.timing.decode.seconds.size(), 50U);
    EXPECT_EQ(result.timing.network.seconds.size(), 50U);
    EXPECT_EQ(result.timing.postprocess.seconds.size(), 50U);
    EXPECT_GT(result.timing.elapsed, 0);
}

TEST_F(Pipeline, ABatchHoldsOneCanvasAndIsFilledByRepeating) {
    add_model(2, {8, 16});
    add_model(2, {16, 8});
    add_image(8, 16, 10);  // landscape: first batch with the third image
    add_image(16, 8, 20);  // upright, alone
    add_image(4, 8, 30);   // landscape, enlarged
    add_image(8, 16, 40);  // landscape, alone
    const PipelineResult result = run();
    EXPECT_EQ(result.detections, 4U);
    EXPECT_EQ(toys_[0]->seen, (std::vector<long>{10 * 128, 30 * 128, 40 * 128, 40 * 128}));
    EXPECT_EQ(toys_[1]->seen, (std::vector<long>{20 * 128, 20 * 128}));
    EXPECT_EQ(records("bbox").size(), 4U);
}

TEST_F(Pipeline, PaddingIsZero) {
    add_model(1, {8, 16});
    add_image(8, 8, 10);
    run();
    EXPECT_EQ(toys_[0]->seen, (std::vector<long>{10 * 64}));
}

TEST_F(Pipeline, ImagesThatCannotBeReadAreLeftOutAndReported) {
    add_model(1, {8, 16});
    add_image(8, 16, 10);
    add_broken_image();
    add_image(8, 16, 30);
    dataset_.images[2].size = Size{1, 2};
    add_image(8, 16, 40);
    const PipelineResult result = run();
    EXPECT_EQ(result.images.size(), 2U);
    ASSERT_EQ(result.skipped.size(), 2U);
    EXPECT_EQ(result.skipped, warnings_);
    EXPECT_TRUE(contains(result.skipped[0], "2.png: the image cannot be decoded"));
    EXPECT_TRUE(contains(result.skipped[1], "3.png: the image is 16x8 pixels, but the annotations say 2x1"));
    EXPECT_EQ(done_, 4U);
}

TEST_F(Pipeline, AStrictRunFailsAtTheFirstOfThem) {
    strict_ = true;
    add_model(1, {8, 16});
    add_image(8, 16, 10);
    add_broken_image();
    EXPECT_TRUE(contains(error_of([this] { run(); }), "2.png"));
    EXPECT_LE(records("bbox").size(), 1U);  // a list that can be read
}

TEST_F(Pipeline, AnEngineThatFailsEndsAllThreads) {
    add_model(1, {8, 16});
    for (int i = 0; i < 30; ++i) {
        add_image(8, 16, 10);
    }
    toys_[0]->fails_at = 3;
    EXPECT_EQ(error_of([this] { run(); }), "the engine broke");
    EXPECT_LE(records("bbox").size(), 3U);
}

TEST_F(Pipeline, AWriterThatFailsEndsAllThreads) {
    add_model(1, {8, 16});
    for (int i = 0; i < 30; ++i) {
        add_image(8, 16, 10);
    }
    toys_[0]->gives_nan_at = 3;
    EXPECT_TRUE(contains(error_of([this] { run(); }), "a score that is not finite"));
    EXPECT_EQ(records("bbox").size(), 2U);
}

TEST_F(Pipeline, AFailureAtTheVeryEndIsNotLost) {
    add_model(1, {8, 16});
    add_image(8, 16, 10);
    toys_[0]->gives_nan_at = 1;
    EXPECT_TRUE(contains(error_of([this] { run(); }), "a score that is not finite"));
}

TEST_F(Pipeline, AStopKeepsWhatWasFound) {
    add_model(1, {8, 16});
    for (int i = 0; i < 30; ++i) {
        add_image(8, 16, 10);
    }
    stop_after_ = 5;
    const PipelineResult result = run();
    EXPECT_TRUE(result.stopped);
    EXPECT_EQ(result.images.size(), 5U);
    EXPECT_EQ(records("bbox").size(), 5U);
    EXPECT_EQ(records("segm").size(), 5U);
}

TEST_F(Pipeline, ClassesThatTheDataSetLacksAreLeftOut) {
    add_model(1, {8, 16});
    add_image(8, 16, 10);
    metadata_.category_ids = {""};
    const PipelineResult result = run();
    EXPECT_EQ(result.images.size(), 1U);
    EXPECT_EQ(result.detections, 0U);
    EXPECT_TRUE(records("bbox").empty());
    EXPECT_TRUE(records("segm").empty());
}

TEST_F(Pipeline, ALoaderThatIsNotEmptiedEnds) {
    add_model(1, {8, 16});
    for (int i = 0; i < 30; ++i) {
        add_image(8, 16, i);
    }
    ImageLoader loader(dataset_.images, metadata_, 2, 4);
    const auto first = loader.next();
    ASSERT_TRUE(first);
    EXPECT_EQ(first->source.id, "1");
    EXPECT_EQ(first->network, (Size{8, 16}));
}

}  // namespace
}  // namespace maskrcnn
