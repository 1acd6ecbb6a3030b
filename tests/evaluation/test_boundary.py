"""Boundary IoU and boundary AP against their definition, pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from maskrcnn.evaluation.boundary import boundary_distance, boundary_iou, boundary_region
from maskrcnn.evaluation.engines import Problem, accumulate


def region_by_definition(mask: np.ndarray, distance: int) -> np.ndarray:
    """Pixels of the mask with a pixel that is not mask, or off the image, within ``distance`` rows and columns."""
    padded = np.pad(mask.astype(bool), distance)
    height, width = mask.shape
    side = 2 * distance + 1
    near = np.zeros(mask.shape, bool)
    for row in range(side):
        for column in range(side):
            near |= ~padded[row : row + height, column : column + width]
    return mask.astype(bool) & near


def blobs(seed: int, height: int = 60, width: int = 90) -> np.ndarray:
    """A mask with holes that touches the image's edges: the union of some discs less some others."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    mask = np.zeros((height, width), bool)
    for filled in (True, True, True, False):
        centre, radius = rng.uniform(0, [height, width]), rng.uniform(5, 30)
        mask[np.hypot(y - centre[0], x - centre[1]) < radius] = filled
    return mask


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("distance", [1, 2, 7])
def test_region_is_that_of_the_definition(seed: int, distance: int) -> None:
    mask = blobs(seed)
    expected = region_by_definition(mask, distance)
    assert 0 < expected.sum() < mask.sum() or distance == 7
    np.testing.assert_array_equal(boundary_region(mask, distance), expected)


def test_empty_and_full_masks() -> None:
    assert not boundary_region(np.zeros((20, 30), bool), 2).any()
    full = boundary_region(np.ones((20, 30), bool), 2)
    assert not full[2:-2, 2:-2].any() and full.sum() == 20 * 30 - 16 * 26  # the image's edge is a contour too
    assert boundary_iou(np.zeros((20, 30), bool), np.zeros((20, 30), bool)) == 0.0


def test_distance_is_two_percent_of_the_diagonal() -> None:
    assert boundary_distance(480, 640) == 16 and boundary_distance(300, 400) == 10 and boundary_distance(3, 4) == 1


def test_iou_of_shifted_squares_is_exact() -> None:
    """Frames of 200-pixel squares, d = 10, shifted by 4 columns: intersection and union counted by hand."""
    first, second = np.zeros((300, 400), bool), np.zeros((300, 400), bool)
    first[50:250, 50:250] = True
    second[50:250, 54:254] = True
    frame = 200**2 - 180**2
    # Rows of the top and bottom bars share 196 columns each; the side bars share 6 columns in 180 rows.
    shared = 2 * 10 * 196 + 2 * 6 * 180
    assert boundary_iou(first, second) == pytest.approx(shared / (2 * frame - shared))
    assert boundary_iou(first, first) == 1.0


def problem(pairs: list[tuple[np.ndarray, np.ndarray]], kind: str, crowd: int = 0) -> Problem:
    """One object and one result for each pair of masks, an image each."""

    def entry(number: int, mask: np.ndarray, **extra) -> dict:
        rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
        common = {"id": number + 1, "image_id": number, "category_id": 1, "segmentation": rle}
        return {**common, "area": float(mask.sum()), "bbox": coco_mask.toBbox(rle).tolist(), **extra}

    height, width = pairs[0][0].shape
    images = [{"id": n, "height": height, "width": width} for n in range(len(pairs))]
    objects = [entry(n, pair[0], iscrowd=crowd) for n, pair in enumerate(pairs)]
    results = [entry(n, pair[1], iscrowd=0, score=1 - n / 100) for n, pair in enumerate(pairs)]
    return Problem(images, [{"id": 1, "name": "a"}], objects, results, kind, [1], range(len(pairs)))


def test_boundary_ap_uses_the_smaller_iou() -> None:
    """Recall at each threshold is the share of pairs whose smaller IoU reaches it."""
    y, x = np.mgrid[:300, :400]
    disc = np.hypot(y - 150, x - 200) < 100
    pairs = [(disc, np.hypot(y - 150, x - 200 - shift) < 100) for shift in (0, 1, 2, 4, 6, 9, 14, 20)]
    masks = [np.logical_and(*pair).sum() / np.logical_or(*pair).sum() for pair in pairs]
    regions = [[region_by_definition(mask, 10) for mask in pair] for pair in pairs]
    borders = [np.logical_and(*pair).sum() / np.logical_or(*pair).sum() for pair in regions]
    smaller = np.minimum(masks, borders)
    assert (smaller < masks).any() and (smaller >= 0.5).any() and (smaller < 0.5).any()
    curves = accumulate(problem(pairs, "boundary"))
    thresholds = np.linspace(0.5, 0.95, 10)
    expected = [(smaller >= threshold - 1e-9).mean() for threshold in thresholds]
    np.testing.assert_allclose(curves.recall[:, 0, 0, -1], expected)
    plain = accumulate(problem(pairs, "segm"), "pycocotools")
    np.testing.assert_allclose(plain.recall[:, 0, 0, -1], [(np.array(masks) >= t - 1e-9).mean() for t in thresholds])


def test_crowds_stay_regions_to_ignore() -> None:
    y, x = np.mgrid[:300, :400]
    disc = np.hypot(y - 150, x - 200) < 100
    assert (accumulate(problem([(disc, disc)], "boundary", crowd=1)).precision == -1).all()
