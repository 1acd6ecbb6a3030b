"""Pixel crops, and the soft mask targets that the network makes of them, against RoIAlign of whole masks."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask
from tests.graph import Compiled

from maskrcnn.data.batches.mask_crops import pixel_crop
from maskrcnn.data.batches.views import View
from maskrcnn.data.sources.orientation import MIRRORED, UPRIGHT, orient
from maskrcnn.errors import DataError
from maskrcnn.ops import reference
from maskrcnn.ops.masks import mask_samples

HEIGHT, WIDTH = 90, 120


def whole_view(height: int = HEIGHT, width: int = WIDTH) -> View:
    return View((height, width), (height, width), (height, width), (height, width))


def encoded(mask: np.ndarray) -> bytes:
    return coco_mask.encode(np.asfortranarray(mask))["counts"]


def blobs(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Ragged masks uint8 [n,H,W], some at the border, and boxes around them, tight only to half a pixel."""
    masks, boxes = [], []
    while len(masks) < count:
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        points = rng.uniform([-20, -20], [WIDTH + 20, HEIGHT + 20], (3, 2)) * 0.5 + rng.uniform(0, 60, 2)
        cv2.fillPoly(mask, [points.round().astype(np.int32)], 1)
        mask[rng.random(mask.shape) < 0.05] = 0
        if mask.any():
            x, y, w, h = coco_mask.toBbox(coco_mask.encode(np.asfortranarray(mask)))
            masks.append(mask)
            boxes.append(np.clip(np.array([x, y, x + w, y + h]) + rng.uniform(-0.5, 0.5, 4), 0, [WIDTH, HEIGHT] * 2))
    return np.array(masks), np.array(boxes, np.float32)


def rois_around(rng: np.random.Generator, boxes: np.ndarray) -> np.ndarray:
    side = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    rois = np.clip(boxes + rng.normal(0, 0.2, boxes.shape) * side, 0, [WIDTH, HEIGHT] * 2)
    rois[:, 2:] = np.minimum(np.maximum(rois[:, 2:], rois[:, :2] + 1.5), [WIDTH, HEIGHT])
    return rois.astype(np.float32)


def soft_targets(masks, boxes, rois, cells, size=28):
    crops = np.stack([pixel_crop(encoded(mask), whole_view(), box, cells) for mask, box in zip(masks, boxes)])
    return Compiled(mask_samples, size=size)(crops.astype(np.float32), boxes, rois, np.array([HEIGHT, WIDTH]))


@pytest.mark.parametrize("size", [7, 28])
def test_soft_targets_are_roi_align_of_the_whole_mask(size):
    rng = np.random.default_rng(size)
    masks, boxes = blobs(rng, 24)
    rois = rois_around(rng, boxes)
    rois[0], rois[1] = [0, 0, WIDTH, HEIGHT], [WIDTH - 30, HEIGHT - 20, WIDTH, HEIGHT]
    found = soft_targets(masks, boxes, rois, 124, size)
    for mask, roi, target in zip(masks, rois, found):
        expected = reference.roi_align([mask[None]], (1,), roi[None], [0], size, sampling=0, aligned=False)
        np.testing.assert_allclose(target.reshape(-1), expected[0, :, 0], atol=1e-4)
    assert 0.05 < found.mean() < 0.95
    assert ((found > 0.01) & (found < 0.99)).mean() > 0.05  # soft


def test_longer_objects_are_thinned_out():
    """With a third of the cells that the objects' pixels need, targets stay close."""
    rng = np.random.default_rng(3)
    masks, boxes = blobs(rng, 24)
    masks = np.stack([cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)) for mask in masks])
    rois = rois_around(rng, boxes)
    exact, thinned = soft_targets(masks, boxes, rois, 124), soft_targets(masks, boxes, rois, 40)
    assert np.abs(exact - thinned).mean() < 0.02
    assert ((exact >= 0.5) != (thinned >= 0.5)).mean() < 0.02


def test_pixels_of_the_canvas_are_the_nearest_of_the_photograph():
    """Resized, mirrored and moved as the image itself is; compared with the canvas-sized mask."""
    rng = np.random.default_rng(4)
    mask = (rng.random((30, 40)) < 0.5).astype(np.uint8)
    for orientation in (UPRIGHT, MIRRORED):
        view = View((30, 40), (64, 128), (60, 110), (45, 100), (5, 7), orientation)
        rows, columns = np.arange(45) * 30 // 45, np.arange(100) * 40 // 100
        canvas = np.zeros((60, 110), np.uint8)
        canvas[5:50, 7:107] = orient(mask, orientation)[rows][:, columns]
        crop = pixel_crop(encoded(mask), view, np.array([20.5, 10.2, 50.0, 30.7], np.float32), 48)
        np.testing.assert_array_equal(crop[:23, :32], canvas[9:32, 19:51])
        assert not crop[23:].any() and not crop[:, 32:].any()
        # At the image's corner there is no pixel beyond; the part beside the photograph is empty.
        crop = pixel_crop(encoded(mask), view, np.array([90, 40, 110, 60], np.float32), 48)
        np.testing.assert_array_equal(crop[:21, :21], canvas[39:60, 89:110])


def test_a_broken_rle_is_a_data_error():
    counts = encoded(np.ones((50, 60), np.uint8))
    with pytest.raises(DataError, match="RLE of 20 x 30"):
        pixel_crop(counts, whole_view(20, 30), np.array([0, 0, 30, 20], np.float32), 28)
