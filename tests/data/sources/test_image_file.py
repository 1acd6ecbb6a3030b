"""Image files: sizes as stored, and damage that must not wait for training to be found."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from maskrcnn.data.sources.image_file import image_size


def photo(height: int, width: int, suffix: str = ".jpg", channels: int = 3, flags: tuple = ()) -> bytes:
    rng = np.random.default_rng([height, width])
    image = rng.integers(0, 256, (height, width, channels), np.uint8)
    return cv2.imencode(suffix, image, list(flags))[1].tobytes()


@pytest.mark.parametrize("size", [(1, 1), (7, 9), (8, 8), (17, 64), (120, 33)])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp"])
@pytest.mark.parametrize("channels", [1, 3])
def test_sizes(size, suffix, channels):
    assert image_size(photo(*size, suffix, channels)) == size


def test_progressive_jpeg_and_data_behind_the_end():
    data = photo(40, 50, flags=(cv2.IMWRITE_JPEG_PROGRESSIVE, 1))
    assert image_size(data) == (40, 50)
    assert image_size(data + b"\0" * 100) == (40, 50)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
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
