#include "exif.h"

#include <algorithm>
#include <cstddef>
#include <string>

namespace maskrcnn {
namespace {

constexpr Orientation upright = 1;
constexpr unsigned orientation_tag = 0x0112;
constexpr unsigned short_type = 3;

/// Part of a file's bytes, whose positions are checked: what lies behind the end is zero or not there.
class Bytes {
public:
    Bytes() = default;
    Bytes(const std::uint8_t* begin, std::size_t size) : begin_(begin), size_(size) {}

    std::size_t size() const { return size_; }
    unsigned at(std::size_t place) const { return place < size_ ? begin_[place] : 0; }
    bool has(const std::string& text, std::size_t place) const {
        return place <= size_ && text.size() <= size_ - place &&
               std::equal(text.begin(), text.end(), begin_ + place,
                          [](char letter, std::uint8_t byte) { return static_cast<std::uint8_t>(letter) == byte; });
    }
    Bytes part(std::size_t place, std::size_t size) const {
        return place >= size_ ? Bytes() : Bytes(begin_ + place, std::min(size, size_ - place));
    }
    std::uint32_t number(std::size_t place, std::size_t bytes, bool big_endian) const {
        std::uint32_t value = 0;
        for (std::size_t i = 0; i < bytes; ++i) {
            value = value << 8U | at(place + (big_endian ? i : bytes - 1 - i));
        }
        return value;
    }

private:
    const std::uint8_t* begin_ = nullptr;
    std::size_t size_ = 0;
};

const std::string exif_header("Exif\0\0", 6);

/// Whether a JPEG marker stands alone, without a length.
bool has_no_length(unsigned marker) { return (marker >= 0xD0 && marker < 0xDA) || marker == 0x01 || marker == 0xFF; }

/// The content of the first APP1 segment that holds EXIF data.
Bytes exif_of_jpeg(Bytes file) {
    std::size_t place = 2;
    while (place + 4 <= file.size() && file.at(place) == 0xFF) {
        const unsigned marker = file.at(place + 1);
        if (has_no_length(marker)) {
            place += marker == 0xFF ? 1 : 2;
            continue;
        }
        if (marker == 0xDA) {  // the pixels begin
            break;
        }
        const std::size_t length = file.number(place + 2, 2, true);
        if (marker == 0xE1 && file.has(exif_header, place + 4)) {
            return file.part(place + 4, length < 2 ? 0 : length - 2);
        }
        place += 2 + length;
    }
    return {};
}

/// The content of a chunk of a PNG or, with the name first, of a RIFF file.
Bytes chunk(Bytes file, std::size_t place, const std::string& wanted, bool length_first) {
    while (place + 8 <= file.size()) {
        const std::size_t size = file.number(place + (length_first ? 0 : 4), 4, length_first);
        if (file.has(wanted, place + (length_first ? 4 : 0))) {
            return file.part(place + 8, size);
        }
        // A PNG chunk ends with four bytes of CRC, a RIFF chunk has an even size.
        place += 8 + size + (length_first ? 4 : size % 2);
    }
    return {};
}

/// The value of the tag in the first directory of a TIFF structure.
Orientation orientation_of(Bytes tiff) {
    if (!tiff.has("II", 0) && !tiff.has("MM", 0)) {
        return upright;
    }
    const bool big_endian = tiff.has("MM", 0);
    if (tiff.number(2, 2, big_endian) != 42) {
        return upright;
    }
    const std::size_t directory = tiff.number(4, 4, big_endian);
    const std::size_t entries = tiff.number(directory, 2, big_endian);
    for (std::size_t entry = 0; entry < entries; ++entry) {
        const std::size_t place = directory + 2 + 12 * entry;
        if (place + 12 > tiff.size()) {
            break;
        }
        if (tiff.number(place, 2, big_endian) == orientation_tag) {
            const auto value = static_cast<Orientation>(tiff.number(place + 8, 2, big_endian));
            const bool valid = tiff.number(place + 2, 2, big_endian) == short_type && value >= 1 && value <= 8;
            return valid ? value : upright;
        }
    }
    return upright;
}

bool exchanges_sides(Orientation orientation) { return orientation >= 5; }

}  // namespace

Orientation exif_orientation(const std::vector<std::uint8_t>& data) {
    const Bytes file(data.data(), data.size());
    Bytes tiff;
    if (file.has("\xFF\xD8", 0)) {
        tiff = exif_of_jpeg(file);
    } else if (file.has("\x89PNG\r\n\x1A\n", 0)) {
        tiff = chunk(file, 8, "eXIf", true);
    } else if (file.has("RIFF", 0) && file.has("WEBP", 8)) {
        tiff = chunk(file, 12, "EXIF", false);
    }
    return orientation_of(tiff.has(exif_header, 0) ? tiff.part(exif_header.size(), tiff.size()) : tiff);
}

Orientation orientation_to_apply(Orientation orientation, Size stored, std::optional<Size> listed, bool apply) {
    if (exchanges_sides(orientation) && listed) {
        const bool fits_stored = *listed == stored;
        const bool fits_shown = *listed == Size{stored.width, stored.height};
        if (fits_stored != fits_shown) {
            return fits_shown ? orientation : upright;
        }
    }
    return apply ? orientation : upright;
}

cv::Mat orient(const cv::Mat& image, Orientation orientation) {
    cv::Mat shown = image;
    if (exchanges_sides(orientation)) {
        cv::transpose(shown, shown);
    }
    const bool top_to_bottom = orientation == 3 || orientation == 4 || orientation == 7 || orientation == 8;
    const bool left_to_right = orientation == 2 || orientation == 3 || orientation == 6 || orientation == 7;
    if (top_to_bottom || left_to_right) {
        cv::Mat flipped;
        cv::flip(shown, flipped, top_to_bottom && left_to_right ? -1 : top_to_bottom ? 0 : 1);
        return flipped;
    }
    return shown;
}

}  // namespace maskrcnn
