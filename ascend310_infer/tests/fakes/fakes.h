#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

/// What the stand-ins for vendors' libraries have in common: a model, and failures on demand.
namespace fake {

/// A model file of the stand-ins holds five numbers: images, height, width, detections, mask side. In every image it
/// finds one object: all of the picture, of class 1, with the red of the first pixel / 255 as its score.
struct Model {
    std::int64_t images = 0;
    std::int64_t height = 0;
    std::int64_t width = 0;
    std::int64_t detections = 0;
    std::int64_t side = 0;

    /// Returns false for a file that holds something else.
    bool read(const std::string& path);
    std::array<std::size_t, 2> input_bytes() const;
    std::array<std::vector<std::int64_t>, 5> output_shapes() const;
    std::array<std::size_t, 5> output_bytes() const;
    /// Memory of the sizes above. It takes as many milliseconds as the environment variable FAKE_DELAY says.
    void run(const std::array<const void*, 2>& inputs, const std::array<void*, 5>& outputs) const;
};

/// Whether `call` is to fail: it is the one in the environment variable FAKE_FAIL.
bool fails(const std::string& call);

/// Objects and memory that have been made and not yet been destroyed.
int& alive();

}  // namespace fake
