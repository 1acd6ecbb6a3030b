"""Decoding, fitting, resizing and recolouring of images, against closed forms."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from maskrcnn.data.batches.transforms import (
    canvas_for,
    decode_image,
    fit_size,
    jitter_colour,
    resize_image,
)
from maskrcnn.errors import DataError


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize(
    ("size", "canvas"),
    [
        ((480, 640), (768, 1280)),
        ((640, 480), (1280, 768)),
        ((500, 500), (768, 1280)),
        ((1, 9000), (768, 1280)),
    ],
)
def test_canvas_follows_the_orientation(size, canvas):
    assert canvas_for(*size, 768, 1280) == canvas
    assert canvas_for(*size, 1280, 768) == canvas


@pytest.mark.parametrize("size", [(480, 640), (427, 640), (640, 333), (1, 4000), (4000, 3), (768, 1280), (7, 5)])
def test_fitted_image_touches_the_canvas_and_keeps_its_ratio(size):
    canvas = canvas_for(*size, 768, 1280)
    height, width = fit_size(*size, *canvas)
    assert height <= canvas[0] and width <= canvas[1]
    assert height == canvas[0] or width == canvas[1]
    scale = min(canvas[0] / size[0], canvas[1] / size[1])
    assert abs(height - max(size[0] * scale, 1)) <= 0.5 and abs(width - max(size[1] * scale, 1)) <= 0.5


def test_without_keep_ratio_the_canvas_is_filled():
    assert fit_size(100, 33, 768, 1280, keep_ratio=False) == (768, 1280)


def test_decoding_gives_rgb_of_the_stored_pixels():
    rgb = picture(13, 21)
    ok, png = cv2.imencode(".png", rgb[..., ::-1])
    assert ok
    np.testing.assert_array_equal(decode_image(png.tobytes()), rgb)
    ok, grey = cv2.imencode(".png", rgb[..., 0])
    assert ok
    np.testing.assert_array_equal(decode_image(grey.tobytes()), np.repeat(rgb[..., :1], 3, axis=2))


def test_decoding_ignores_the_exif_orientation():
    ok, jpeg = cv2.imencode(".jpg", picture(16, 40))
    assert ok
    # An APP1 segment with one entry: tag 0x0112 (orientation), value 6 (turn by 90 degrees).
    tiff = b"II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\x01\x00\x00\x00\x06\x00\x00\x00\x00\x00\x00\x00"
    segment = b"Exif\x00\x00" + tiff
    data = jpeg.tobytes()
    turned = data[:2] + b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big") + segment + data[2:]
    assert cv2.imdecode(np.frombuffer(turned, np.uint8), cv2.IMREAD_COLOR).shape == (40, 16, 3)
    assert decode_image(turned).shape == (16, 40, 3)


@pytest.mark.parametrize("data", [b"", b"no image at all", b"\xff\xd8\xff\xe0" + b"\x00" * 50])
def test_bytes_that_are_no_image_are_a_data_error(data):
    with pytest.raises(DataError, match="image"):
        decode_image(data)


def test_resize_is_bilinear_with_half_pixel_centres():
    rgb = picture(9, 14)
    height, width = 20, 25
    y = np.clip((np.arange(height) + 0.5) * 9 / height - 0.5, 0, 8)
    x = np.clip((np.arange(width) + 0.5) * 14 / width - 0.5, 0, 13)
    y0, x0 = np.minimum(y.astype(int), 7), np.minimum(x.astype(int), 12)
    fy, fx = (y - y0)[:, None, None], (x - x0)[None, :, None]
    grid = rgb.astype(np.float64)
    rows = grid[y0] * (1 - fy) + grid[y0 + 1] * fy
    expected = rows[:, x0] * (1 - fx) + rows[:, x0 + 1] * fx
    assert np.abs(resize_image(rgb, height, width) - expected).max() <= 1.0


def test_jitter_is_repeatable_and_bounded():
    rgb = np.full((4, 5, 3), 128, np.uint8)
    first = jitter_colour(rgb, np.random.default_rng(1))
    np.testing.assert_array_equal(first, jitter_colour(rgb, np.random.default_rng(1)))
    assert first.dtype == np.uint8 and first.shape == rgb.shape
    for seed in range(50):
        value = jitter_colour(rgb, np.random.default_rng(seed))[0, 0].astype(int)
        assert np.ptp(value) <= 1, "a grey pixel has no hue or saturation to change"
        assert (128 - 32) * 0.5 - 1 <= value.mean() <= (128 + 32) * 1.5 + 1
