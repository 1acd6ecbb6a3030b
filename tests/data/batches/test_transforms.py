"""Fitting, flipping and drawing of images, against closed forms."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from maskrcnn.data.batches.transforms import (
    Augmentation,
    View,
    canvas_for,
    decode_image,
    draw_view,
    fit_size,
    flip_boxes,
    flip_image,
    jitter_colour,
    pad_image,
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


def test_padding_is_zero_to_the_right_and_below():
    rgb = picture(5, 7) | 1
    padded = pad_image(rgb, 8, 16)
    np.testing.assert_array_equal(padded[:5, :7], rgb)
    assert padded.sum() == rgb.sum(dtype=np.int64)


def test_flipping_twice_changes_nothing():
    rgb = picture(11, 17)
    np.testing.assert_array_equal(flip_image(flip_image(rgb)), rgb)
    np.testing.assert_array_equal(flip_image(rgb), rgb[:, ::-1])
    boxes = np.array([[0.0, 1.0, 5.5, 3.0], [2.25, 0.0, 17.0, 11.0]])
    np.testing.assert_array_equal(flip_boxes(flip_boxes(boxes, 17), 17), boxes)
    np.testing.assert_array_equal(flip_boxes(boxes, 17)[0], [11.5, 1.0, 17.0, 3.0])


def test_flipped_boxes_frame_the_flipped_objects():
    rgb = np.zeros((60, 100, 3), np.uint8)
    rgb[20:40, 10:30] = 255
    box = np.array([[10, 20, 30, 40]], np.float32)
    view = View(source=(60, 100), canvas=(192, 256), valid=(120, 200), content=(120, 200), flip=True)
    canvas = np.zeros((192, 256, 3), np.uint8)
    view.draw(rgb, canvas, (0, 0, 0), np.random.default_rng(0))
    x1, y1, x2, y2 = view.boxes(box)[0].astype(int)
    assert (x1, y1, x2, y2) == (140, 40, 180, 80)
    assert canvas[y1 + 1 : y2 - 1, x1 + 1 : x2 - 1].min() == 255
    canvas[y1 - 2 : y2 + 2, x1 - 2 : x2 + 2] = 0
    assert canvas.max() == 0


def test_plain_view_is_resize_and_pad():
    rgb = picture(60, 80)
    view = draw_view(60, 80, (192, 320), Augmentation(), np.random.default_rng(3))
    canvas = np.zeros((192, 320, 3), np.uint8)
    view.draw(rgb, canvas, (1, 2, 3), np.random.default_rng(0))
    assert view.valid == view.content == (192, 256) and view.offset == (0, 0)
    np.testing.assert_array_equal(canvas, pad_image(resize_image(rgb, 192, 256), 192, 320))


def test_options_draw_what_they_say():
    rng = np.random.default_rng(5)
    settings = Augmentation(flip_ratio=0.3, photo_ratio=0.2, expand_ratio=2.0, multi_scale=(0.5, 0.75, 1.0))
    views = [draw_view(480, 640, (768, 1280), settings, rng) for _ in range(2000)]
    assert {view.valid for view in views} == {(384, 512), (576, 768), (768, 1024)}
    assert abs(np.mean([view.flip for view in views]) - 0.3) < 0.04
    assert abs(np.mean([view.jitter for view in views]) - 0.2) < 0.04
    for view in views:
        assert 0.49 <= view.content[0] / view.valid[0] <= 1
        boxes = view.boxes(np.array([[0, 0, 640, 480]], np.float32))[0]
        top, left = view.offset
        np.testing.assert_allclose(boxes, [left, top, left + view.content[1], top + view.content[0]])
        assert boxes[2] <= view.valid[1] and boxes[3] <= view.valid[0] and min(boxes) >= 0


def test_switching_one_option_off_leaves_the_others_draws():
    every = Augmentation(flip_ratio=0.5, photo_ratio=0.5, expand_ratio=2.0, multi_scale=(0.5, 1.0))
    flip_only = Augmentation(flip_ratio=0.5)
    for seed in range(20):
        one = draw_view(480, 640, (768, 1280), every, np.random.default_rng(seed))
        other = draw_view(480, 640, (768, 1280), flip_only, np.random.default_rng(seed))
        assert one.flip == other.flip


def test_zoomed_out_image_lies_on_the_fill_colour():
    view = View(source=(30, 40), canvas=(64, 64), valid=(48, 64), content=(24, 32), offset=(5, 9))
    canvas = np.zeros((64, 64, 3), np.uint8)
    view.draw(np.full((30, 40, 3), 250, np.uint8), canvas, (7, 8, 9), np.random.default_rng(0))
    assert (canvas[5:29, 9:41] == 250).all()
    assert (canvas[:5, :64] == (7, 8, 9)).all() and (canvas[48:] == 0).all()


def test_jitter_is_repeatable_and_bounded():
    rgb = np.full((4, 5, 3), 128, np.uint8)
    first = jitter_colour(rgb, np.random.default_rng(1))
    np.testing.assert_array_equal(first, jitter_colour(rgb, np.random.default_rng(1)))
    assert first.dtype == np.uint8 and first.shape == rgb.shape
    for seed in range(50):
        value = jitter_colour(rgb, np.random.default_rng(seed))[0, 0].astype(int)
        assert np.ptp(value) <= 1, "a grey pixel has no hue or saturation to change"
        assert (128 - 32) * 0.5 - 1 <= value.mean() <= (128 + 32) * 1.5 + 1
