"""RoIAlign on all levels by one gather, against per-sample bilinear interpolation in float64, and torchvision."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.graph import Compiled, Gradient

from maskrcnn.ops import reference
from maskrcnn.ops.roi_align import RoIAlignSettings, feature_tables, level_of, roi_align

STRIDES = (4, 8, 16, 32)
SHAPES = ((16, 24), (8, 12), (4, 6), (2, 3))  # of a 64 x 96 image
FINEST = 8.0  # boxes of 16, 32 and 64 pixels begin levels 1, 2 and 3

# On each level: the whole image, outside on every side, half outside, one point, no width, no height, thin, one pixel
# beyond the border exactly, inside out.
EDGES = np.array(
    [
        [0, 0, 96, 64],
        [-40, -40, -20, -20],
        [120, 80, 160, 120],
        [-30, 10, 30, 50],
        [80, 50, 130, 100],
        [33, 21, 33, 21],
        [33, 10, 33, 50],
        [10, 33, 50, 33],
        [5, 5, 90, 6],
        [94, 62, 96, 64],
        [96, 64, 99, 67],
        [-4, -4, 0, 0],
        [60, 60, 20, 20],
    ],
    np.float32,
)


def pool(table, boxes, shapes, settings):
    levels = level_of(boxes, settings.finest_scale, len(shapes))
    return roi_align(table, shapes, boxes, levels, settings)


def settings_of(strides, shapes, size, sampling=2, aligned=True, finest_scale=FINEST) -> dict:
    """The settings of ``pool``."""
    return {"shapes": shapes, "settings": RoIAlignSettings(size, sampling, aligned, strides, finest_scale)}


def twin_of(maps, strides, rois, size, sampling=2, aligned=True, finest_scale=FINEST) -> np.ndarray:
    levels = reference.level_of(rois, finest_scale, len(maps))
    return reference.roi_align(maps, strides, rois, levels, size, sampling, aligned)


def random_maps(rng: np.random.Generator, channels: int = 3) -> list[np.ndarray]:
    return [rng.normal(size=(channels, h, w)).astype(np.float32) for h, w in SHAPES]


def as_table(maps) -> np.ndarray:
    return np.concatenate([m.reshape(m.shape[0], -1).T for m in maps])


def random_rois(rng: np.random.Generator, n: int) -> np.ndarray:
    """Of all sizes, some reaching over the border; not so close to a level's border that rounding decides."""
    side = 2 ** rng.uniform(1, 6.5, (n, 2))
    centre = rng.uniform(-5, [100, 70], (n, 2))
    rois = np.concatenate([centre - side / 2, centre + side / 2], 1).astype(np.float32)
    area = reference.area(rois)
    clear = (np.abs(np.log2(area[:, None] / np.array([16.0, 32.0, 64.0]) ** 2)) > 1e-3).all(1)
    return rois[clear]


def test_table_rows_are_positions():
    rng = np.random.default_rng(0)
    maps = [rng.normal(size=(2, 3, h, w)).astype(np.float32) for h, w in SHAPES]
    tables = Compiled(feature_tables)(maps)
    for image in range(2):
        np.testing.assert_array_equal(tables[image], as_table([m[image] for m in maps]))


def test_levels():
    rng = np.random.default_rng(1)
    boxes = random_rois(rng, 200)
    run = Compiled(level_of, finest_scale=FINEST, num_levels=4)
    assert (run(boxes) == reference.level_of(boxes, FINEST, 4)).all()
    assert (run(EDGES) == reference.level_of(EDGES, FINEST, 4)).all()


def test_levels_of_the_paper():
    """FPN, equation 1: 224 pixels belong to P4 (level 2), half as much to P3, twice to P5; borders go up."""
    sides = np.array([0, 1, 56, 111.9, 112, 223.9, 224, 447.9, 448, 2000])
    boxes = np.stack([np.full(10, 7.0), np.full(10, 5.0), 7 + sides / 2, 5 + sides * 2], 1)
    expected = [0, 0, 0, 0, 1, 1, 2, 2, 3, 3]
    assert Compiled(level_of, finest_scale=56.0, num_levels=4)(boxes).tolist() == expected
    assert reference.level_of(boxes, 56.0, 4).tolist() == expected


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize(("size", "sampling"), [(7, 2), (2, 1), (3, 3), (7, 0), (2, 0)])
def test_equals_the_twin(aligned, size, sampling):
    rng = np.random.default_rng(2)
    maps = random_maps(rng)
    rois = np.concatenate([EDGES, random_rois(rng, 40)])
    run = Compiled(pool, **settings_of(strides=STRIDES, shapes=SHAPES, size=size, sampling=sampling, aligned=aligned))
    found = run(as_table(maps), rois)
    expected = twin_of(maps, STRIDES, rois, size, sampling, aligned)
    assert found.shape == expected.shape == (len(rois), size * size, 3)
    np.testing.assert_allclose(found, expected, atol=2e-4)
    assert set(reference.level_of(rois, FINEST, 4)) == {0, 1, 2, 3}
    assert (found[1:3] == 0).all()  # wholly outside


def test_linear_map_gives_bin_centres():
    """On a map whose value is its position, a bin away from the border is the position of its centre."""
    y, x = np.mgrid[:16, :24]
    ramp = np.stack([x, y]).astype(np.float32)
    roi = np.array([[20.0, 12.0, 48.0, 40.0]])
    cells = (roi[0, 0] + (np.arange(7) + 0.5) * 4) / 4, (roi[0, 1] + (np.arange(7) + 0.5) * 4) / 4
    for aligned in (True, False):
        run = Compiled(pool, **settings_of(strides=(4,), shapes=((16, 24),), size=7, aligned=aligned))
        found = run(as_table([ramp]), roi).reshape(7, 7, 2)
        shift = 0.5 if aligned else 0.0  # a cell's value stands for its centre
        np.testing.assert_allclose(found[..., 0], np.tile(cells[0] - shift, (7, 1)), atol=1e-5)
        np.testing.assert_allclose(found[..., 1], np.tile(cells[1] - shift, (7, 1)).T, atol=1e-5)


@pytest.mark.parametrize("sampling", [2, 0])
@pytest.mark.parametrize("aligned", [True, False])
def test_gradient_of_the_table(aligned, sampling):
    """RoIAlign is linear: its value on the map that is one-hot in each position is its matrix."""
    rng = np.random.default_rng(3)
    shapes, strides = ((4, 6), (2, 3)), (4, 8)
    rois = np.array(
        [[0, 0, 24, 16], [3.3, 2.1, 9.7, 12.9], [-8, 5, 7, 30], [11, 7, 11, 7], [40, 40, 50, 50], [1, 1, 20, 9]]
    )
    rows = sum(h * w for h, w in shapes)
    identity = np.split(np.eye(rows), [24])
    one_hot = [part.T.reshape(rows, h, w) for part, (h, w) in zip(identity, shapes)]
    matrix = twin_of(one_hot, strides, rois, 3, sampling, aligned)  # [R, 9, rows]
    table, cotangent = rng.normal(size=(rows, 5)), rng.normal(size=(len(rois), 9, 5))
    derive = Gradient(pool, **settings_of(strides=strides, shapes=shapes, size=3, sampling=sampling, aligned=aligned))
    value, gradient = derive(table, rois, cotangents=[cotangent])
    expected = np.einsum("rbp,rbc->pc", matrix, cotangent)
    np.testing.assert_allclose(gradient, expected, atol=1e-5)
    assert value == pytest.approx((expected * table).sum(), abs=1e-4)
    assert np.abs(expected[:24]).sum() > 1 and np.abs(expected[24:]).sum() > 1


def test_long_thin_rois_fit_their_windows():
    """Adaptive sampling gathers a RoI's cells into a fixed number of slots, which the worst shape must not exceed."""
    shapes, strides = ((64, 96), (32, 48)), (4, 8)
    rng = np.random.default_rng(5)
    maps = [rng.normal(size=(2, h, w)).astype(np.float32) for h, w in shapes]
    edges = np.linspace(0.3, 6.9, 40)
    wide = [[0.0, 37 + e, 384.0, 37 + e + 16**2 / 384 * 0.999] for e in edges]
    high = [[101 + e, 0.0, 101 + e + 16**2 / 256 * 0.999, 256.0] for e in edges]
    square = [[40 + e, 51 + e, 55.9 + e, 66.9 + e] for e in edges]
    rois = np.array(wide + high + square + [[0, 0, 384, 256], [0, 0, 384, 16]], np.float32)
    assert reference.level_of(rois, FINEST, 2).tolist() == [0] * 120 + [1] * 2
    run = Compiled(pool, **settings_of(strides=strides, shapes=shapes, size=3, sampling=0))
    expected = twin_of(maps, strides, rois, 3, 0)
    np.testing.assert_allclose(run(as_table(maps), rois), expected, atol=2e-4)


def test_no_gradient_to_the_boxes():
    rng = np.random.default_rng(4)
    run = Gradient(pool, inputs=2, **settings_of(strides=STRIDES, shapes=SHAPES, size=2))
    _, gradients = run(as_table(random_maps(rng)), random_rois(rng, 5), cotangents=[np.ones((1, 4, 3))])
    assert np.abs(gradients[0]).sum() > 0
    assert (gradients[1] == 0).all()


@pytest.mark.parametrize("size", [7, 14])
@pytest.mark.parametrize("variant", ["aligned", "older"])
def test_adaptive_sampling_of_torchvision(variant, size):
    """``tests/data_files/roi_align.npz`` holds what its operator computes, see ``make_roi_align.py`` there."""
    fixture = np.load(Path(__file__).resolve().parents[1] / "data_files" / "roi_align.npz")
    feature, rois, stride = fixture["map"][0], fixture["rois"], (int(fixture["stride"]),)
    settings = {"strides": stride, "shapes": (feature.shape[1:],), "size": size, "sampling": 0}
    found = Compiled(pool, **settings_of(**settings, aligned=variant == "aligned"))(as_table([feature]), rois)
    expected = fixture[f"{variant}_{size}"].reshape(len(rois), 4, -1).swapaxes(1, 2)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    twin = twin_of([feature], stride, rois, size, 0, variant == "aligned")
    np.testing.assert_allclose(twin, expected, atol=1e-4)


def test_levels_of_torchvision(parity_file):
    fixture = np.load(parity_file)
    found = Compiled(level_of, finest_scale=56.0, num_levels=4)(fixture["eval/proposals"])
    assert (found + 2 == fixture["eval/roi_levels_of_proposals"]).all()


@pytest.mark.parametrize(("array", "size"), [("eval/box_roi_features", 7), ("eval/mask_roi_features", 14)])
def test_features_of_torchvision(parity_file, array, size):
    """The first RoIs of image 0, RoIAlign without the half-cell shift."""
    fixture = np.load(parity_file)
    expected = fixture[array]
    rois = fixture["eval/proposals" if size == 7 else "eval/det_boxes"][: len(expected)]
    maps = [fixture[f"eval/P{level}"][0] for level in (2, 3, 4, 5)]
    shapes = tuple(m.shape[1:] for m in maps)
    run = Compiled(pool, **settings_of(strides=STRIDES, shapes=shapes, size=size, aligned=False, finest_scale=56.0))
    found = run(as_table(maps), rois)
    expected = expected.reshape(len(rois), 256, -1).transpose(0, 2, 1)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found, expected, atol=1e-4 * scale)
    twin = twin_of(maps, STRIDES, rois[:4], size, aligned=False, finest_scale=56.0)
    np.testing.assert_allclose(twin, expected[:4], atol=1e-4 * scale)
