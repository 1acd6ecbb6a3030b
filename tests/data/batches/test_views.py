"""Views of photographs: what lies where on the canvas, against closed forms and against the pixels drawn."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from maskrcnn.data.batches.transforms import resize_image
from maskrcnn.data.batches.views import Augmentation, View, draw_view
from maskrcnn.data.sources.orientation import MIRRORED, exchanges_sides, orient

CANVAS = (192, 256)
ALL = Augmentation(
    flip_ratio=0.5,
    vertical_flip_ratio=0.5,
    rotate_ratio=0.75,
    photo_ratio=0.0,
    expand_ratio=1.0,
    multi_scale=(0.5, 1.0, 1.5),
    scale_jitter=(0.3, 2.0),
)


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def drawn(settings: Augmentation, seed: int, height: int = 480, width: int = 640, canvas=(768, 1280)) -> View:
    return draw_view(height, width, canvas, settings, np.random.default_rng(seed), np.random.default_rng(seed + 10**6))


def test_flipped_boxes_frame_the_flipped_objects():
    rgb = np.zeros((60, 100, 3), np.uint8)
    rgb[20:40, 10:30] = 255
    box = np.array([[10, 20, 30, 40]], np.float32)
    view = View((60, 100), canvas=CANVAS, valid=(120, 200), content=(120, 200), orientation=MIRRORED)
    canvas = np.zeros((*CANVAS, 3), np.uint8)
    view.draw(rgb, canvas, (0, 0, 0), np.random.default_rng(0))
    x1, y1, x2, y2 = view.boxes(box)[0].astype(int)
    assert (x1, y1, x2, y2) == (140, 40, 180, 80)
    assert canvas[y1 + 1 : y2 - 1, x1 + 1 : x2 - 1].min() == 255
    canvas[y1 - 2 : y2 + 2, x1 - 2 : x2 + 2] = 0
    assert canvas.max() == 0


def test_plain_view_is_resize_and_pad():
    rgb = picture(60, 80)
    view = drawn(Augmentation(), 3, 60, 80, (192, 320))
    canvas = np.zeros((192, 320, 3), np.uint8)
    view.draw(rgb, canvas, (1, 2, 3), np.random.default_rng(0))
    assert view.valid == view.content == (192, 256) and view.offset == (0, 0) and not view.crops
    np.testing.assert_array_equal(canvas[:, :256], resize_image(rgb, 192, 256))
    assert not canvas[:, 256:].any()


def test_options_draw_what_they_say():
    settings = Augmentation(flip_ratio=0.3, photo_ratio=0.2, expand_ratio=2.0, multi_scale=(0.5, 0.75, 1.0))
    views = [drawn(settings, seed) for seed in range(2000)]
    assert {view.valid for view in views} == {(384, 512), (576, 768), (768, 1024)}
    assert abs(np.mean([view.orientation == MIRRORED for view in views]) - 0.3) < 0.04
    assert abs(np.mean([view.jitter for view in views]) - 0.2) < 0.04
    for view in views:
        assert 0.49 <= view.content[0] / view.valid[0] <= 1
        boxes = view.boxes(np.array([[0, 0, 640, 480]], np.float32))[0]
        top, left = view.offset
        np.testing.assert_allclose(boxes, [left, top, left + view.content[1], top + view.content[0]])
        assert boxes[2] <= view.valid[1] and boxes[3] <= view.valid[0] and min(boxes) >= 0


def test_rotations_are_by_all_three_angles():
    found = Counter(drawn(Augmentation(rotate_ratio=0.6), seed).orientation for seed in range(3000))
    assert set(found) == {1, 3, 6, 8}
    assert abs(found[1] / 3000 - 0.4) < 0.03
    assert all(abs(found[o] / 3000 - 0.2) < 0.03 for o in (3, 6, 8))
    found = Counter(drawn(Augmentation(vertical_flip_ratio=0.25), seed).orientation for seed in range(2000))
    assert set(found) == {1, 4} and abs(found[4] / 2000 - 0.25) < 0.03


def test_large_scale_jitter_crops_what_is_larger_and_pads_what_is_smaller():
    """Sizes are uniform in the range (Ghiasi et al. 2021, section 3); a crop is uniform over the places there are."""
    views = [drawn(Augmentation(scale_jitter=(0.1, 2.0)), seed) for seed in range(3000)]
    scale = np.array([view.content[1] / 1024 for view in views])  # 480x640 fits 768x1280 at 768x1024
    assert scale.min() < 0.11 and scale.max() > 1.99
    counts, _ = np.histogram(scale, bins=10, range=(0.1, 2.0))
    assert (np.abs(counts / 3000 - 0.1) < 0.025).all()
    for view, factor in zip(views, scale):
        assert view.valid == (min(view.content[0], 768), min(view.content[1], 1280))
        assert view.crops == (view.content[0] > 768 or view.content[1] > 1280)
        for axis in (0, 1):
            assert view.valid[axis] - view.content[axis] <= view.offset[axis] <= 0
        assert factor > 0.995 or view.offset == (0, 0)
    places = [-view.offset[0] / (view.content[0] - 768) for view in views if view.content[0] > 1000]
    assert abs(np.mean(places) - 0.5) < 0.03 and min(places) < 0.05 and max(places) > 0.95


def test_multi_scale_above_one_crops():
    views = [drawn(Augmentation(multi_scale=(1.0, 1.5)), seed) for seed in range(50)]
    assert {view.content for view in views} == {(768, 1024), (1152, 1536)}
    assert {view.valid for view in views} == {(768, 1024), (768, 1280)}


def test_switching_one_option_off_leaves_the_others_draws():
    flips = Augmentation(flip_ratio=0.5, vertical_flip_ratio=0.5)
    every = Augmentation(
        flip_ratio=0.5, vertical_flip_ratio=0.5, photo_ratio=0.5, expand_ratio=2.0, multi_scale=(0.5, 1.0),
        scale_jitter=(0.5, 2.0),
    )  # fmt: skip
    for seed in range(20):
        assert drawn(every, seed).orientation == drawn(flips, seed).orientation


def test_the_new_options_leave_the_draws_of_earlier_versions():
    """The first stream has six numbers before the colours, whatever is switched on."""
    rng = np.random.default_rng(7)
    draw_view(480, 640, (768, 1280), ALL, rng, np.random.default_rng(0))
    reference = np.random.default_rng(7)
    reference.random(6)
    assert rng.random() == reference.random()


def test_zoomed_out_image_lies_on_the_fill_colour():
    view = View(source=(30, 40), canvas=(64, 64), valid=(48, 64), content=(24, 32), offset=(5, 9))
    canvas = np.zeros((64, 64, 3), np.uint8)
    view.draw(np.full((30, 40, 3), 250, np.uint8), canvas, (7, 8, 9), np.random.default_rng(0))
    assert (canvas[5:29, 9:41] == 250).all()
    assert (canvas[:5, :64] == (7, 8, 9)).all() and (canvas[48:] == 0).all()


@pytest.mark.parametrize("seed", range(40))
def test_pixels_boxes_and_nearest_pixels_agree_in_every_view(seed):
    """A bright rectangle in the photograph is where its box says, and where ``nearest`` finds its mask."""
    rng = np.random.default_rng(seed)
    height, width = (90, 140) if seed % 2 else (120, 100)
    (x1, x2), (y1, y2) = (np.sort(rng.choice(np.arange(0, side, 5), 2, replace=False)) for side in (width, height))
    rgb = np.zeros((height, width, 3), np.uint8)
    rgb[y1:y2, x1:x2] = 255
    view = drawn(ALL, seed, height, width, CANVAS)
    canvas = np.zeros((*CANVAS, 3), np.uint8)
    view.draw(rgb, canvas, (0, 0, 0), rng)
    assert not canvas[view.valid[0] :].any() and not canvas[:, view.valid[1] :].any()
    box = view.boxes(np.array([[x1, y1, x2, y2]], np.float32))[0]
    assert (box >= 0).all() and box[2] <= view.valid[1] and box[3] <= view.valid[0]
    row, column = np.mgrid[: CANVAS[0], : CANVAS[1]] + 0.5
    distance = np.max([box[0] - column, column - box[2], box[1] - row, row - box[3]], axis=0)  # < 0 inside
    blur = 1.5 * max(view.content[axis] / (90 if seed % 2 else 100) for axis in (0, 1))
    within = (row < view.valid[0]) & (column < view.valid[1])
    on_border = [box[0] == 0, box[1] == 0, box[2] == view.valid[1], box[3] == view.valid[0]]
    inner = distance < -blur
    if not any(on_border):
        assert (canvas[inner] > 250).all()
    assert (canvas[(distance > blur) & within] < 5).all()
    y, x = (view.nearest(axis, np.arange(CANVAS[axis])) for axis in (0, 1))
    nearest = orient(rgb[..., 0], view.orientation)[np.ix_(np.maximum(y, 0), np.maximum(x, 0))]
    nearest = nearest * ((y >= 0)[:, None] & (x >= 0)) * within
    assert (nearest[(distance < -blur / 1.5) & within] == 255).all() and (nearest[distance > blur / 1.5] == 0).all()


@pytest.mark.parametrize("seed", range(20))
def test_boxes_come_back_from_the_canvas(seed):
    rng = np.random.default_rng(seed)
    view = drawn(Augmentation(**{**ALL.__dict__, "expand_ratio": 1.5}), seed, 90, 140, CANVAS)
    low, high = np.sort(rng.uniform(0, [[[140, 90]], [[140, 90]]], (2, 30, 2)), axis=0)
    boxes = np.concatenate([low, high], axis=1)
    there = view.boxes(boxes)
    whole = (there[:, :2] > 0).all(axis=1) & (there[:, 2:] < [view.valid[1], view.valid[0]]).all(axis=1)
    np.testing.assert_allclose(view.source_boxes(there)[whole], boxes[whole], atol=1e-9)
    seen = view.source_boxes(there)
    assert ((seen[:, :2] >= boxes[:, :2] - 1e-9) | (seen[:, :2] >= seen[:, 2:])).all() or not view.crops


def test_a_rotated_image_is_fitted_into_the_same_canvas():
    for seed in range(50):
        view = drawn(Augmentation(rotate_ratio=1.0), seed)
        assert view.canvas == (768, 1280)
        expected = (768, 576) if exchanges_sides(view.orientation) else (768, 1024)
        assert view.content == view.valid == expected
