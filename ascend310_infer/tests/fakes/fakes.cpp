#include "fakes.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <numeric>
#include <thread>

namespace fake {
namespace {

std::size_t elements(const std::vector<std::int64_t>& shape) {
    return static_cast<std::size_t>(std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>()));
}

}  // namespace

bool Model::read(const std::string& path) {
    std::ifstream file(path);
    return static_cast<bool>(file >> images >> height >> width >> detections >> side);
}

std::array<std::size_t, 2> Model::input_bytes() const {
    return {elements({images, height, width, 3}), elements({images, 2}) * sizeof(float)};
}

std::array<std::vector<std::int64_t>, 5> Model::output_shapes() const {
    return {{{images, detections, 4},
             {images, detections},
             {images, detections},
             {images, detections},
             {images, detections, side, side}}};
}

std::array<std::size_t, 5> Model::output_bytes() const {
    const auto shapes = output_shapes();
    return {elements(shapes[0]) * 4, elements(shapes[1]) * 4, elements(shapes[2]) * 4, elements(shapes[3]),
            elements(shapes[4]) * 4};
}

void Model::run(const std::array<const void*, 2>& inputs, const std::array<void*, 5>& outputs) const {
    const auto* image = static_cast<const std::uint8_t*>(inputs[0]);
    const auto* image_shape = static_cast<const float*>(inputs[1]);
    auto* boxes = static_cast<float*>(outputs[0]);
    auto* scores = static_cast<float*>(outputs[1]);
    auto* labels = static_cast<std::int32_t*>(outputs[2]);
    auto* valid = static_cast<std::uint8_t*>(outputs[3]);
    auto* masks = static_cast<float*>(outputs[4]);
    if (const char* delay = std::getenv("FAKE_DELAY")) {
        std::this_thread::sleep_for(std::chrono::milliseconds(std::atoi(delay)));
    }
    const auto sizes = output_bytes();
    for (std::size_t i = 0; i < sizes.size(); ++i) {
        std::fill_n(static_cast<std::uint8_t*>(outputs[i]), sizes[i], std::uint8_t{0});
    }
    for (std::int64_t n = 0; n < images; ++n) {
        const std::int64_t slot = n * detections;
        boxes[slot * 4 + 2] = image_shape[n * 2 + 1];
        boxes[slot * 4 + 3] = image_shape[n * 2];
        scores[slot] = static_cast<float>(image[n * height * width * 3]) / 255.0F;
        labels[slot] = 1;
        valid[slot] = 1;
        std::fill_n(masks + slot * side * side, side * side, 1.0F);
    }
}

bool fails(const std::string& call) {
    const char* chosen = std::getenv("FAKE_FAIL");
    return chosen != nullptr && call == chosen;
}

int& alive() {
    static int count = 0;
    return count;
}

}  // namespace fake
