"""Image files: sizes as stored, and damage that must not wait for training to be found."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from maskrcnn.data.batches.transforms import decode_image
from maskrcnn.data.sources.image_file import image_size, is_rotated_by_exif


def photo(height: int, width: int, suffix: str = ".jpg", channels: int = 3, flags: tuple = ()) -> bytes:
    rng = np.random.default_rng([height, width])
    image = rng.integers(0, 256, (height, width, channels), np.uint8)
    return cv2.imencode(suffix, image, list(flags))[1].tobytes()


def with_exif_orientation(jpeg: bytes, orientation: int) -> bytes:
    """Insert an APP1 segment with the one tag 0x0112 (Exif 2.3, section 4.6.4)."""
    tiff = b"II*\0\x08\0\0\0" + b"\x01\0" + b"\x12\x01\x03\0\x01\0\0\0" + bytes([orientation, 0, 0, 0]) + b"\0\0\0\0"
    body = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body + jpeg[2:]


@pytest.mark.parametrize("size", [(1, 1), (7, 9), (8, 8), (17, 64), (120, 33)])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp"])
@pytest.mark.parametrize("channels", [1, 3])
def test_sizes(size, suffix, channels):
    assert image_size(photo(*size, suffix, channels)) == size


def test_progressive_jpeg_and_data_behind_the_end():
    data = photo(40, 50, flags=(cv2.IMWRITE_JPEG_PROGRESSIVE, 1))
    assert image_size(data) == (40, 50)
    assert image_size(data + b"\0" * 100) == (40, 50)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_seen_but_not_applied(orientation):
    data = with_exif_orientation(photo(40, 64), orientation)
    assert image_size(data) == (40, 64)
    assert decode_image(data).shape == (40, 64, 3)
    assert decode_image(data, apply_exif=True).shape == ((64, 40, 3) if orientation >= 5 else (40, 64, 3))
    assert is_rotated_by_exif(data) == (orientation >= 5)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_every_cut_is_found(suffix):
    data = photo(24, 31, suffix)
    for length in [*range(0, len(data) - 2, 13), len(data) - 2]:
        with pytest.raises(ValueError):
            image_size(data[:length])


def test_a_preview_in_the_header_does_not_hide_a_cut():
    preview = photo(8, 8)
    segment = b"\xff\xe2" + (len(preview) + 2).to_bytes(2, "big") + preview
    data = photo(64, 64)
    data = data[:2] + segment + data[2:]
    assert image_size(data) == (64, 64)
    with pytest.raises(ValueError, match="cut off"):
        image_size(data[:-400])


@pytest.mark.parametrize("data", [b"", b"not an image", b"\xff\xd8\xff", b"\xff\xd8\xff\xd9", b"\x89PNG\r\n\x1a\n"])
def test_garbage(data):
    with pytest.raises(ValueError):
        image_size(data)
