"""Anchor targets against torchvision and a dense reference; mask crops against exact rasterisation."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask
from tests.data.loading import ASSIGN

from maskrcnn.data.batches.mask_crops import mask_crop
from maskrcnn.data.batches.targets import assign_anchors, label_anchors
from maskrcnn.errors import DataError
from maskrcnn.ops.anchors import anchor_grid
from maskrcnn.ops.reference import BoxCoder

STRIDES = (4, 8, 16, 32, 64)


def random_boxes(rng: np.random.Generator, count: int, height: int, width: int) -> np.ndarray:
    """Boxes of all sizes, some on whole pixels, some equal, some at the border."""
    size = np.exp(rng.uniform(np.log(0.5), np.log([[width, height]]), (count, 2)))
    corner = rng.uniform(0, 1, (count, 2)) * ([[width, height]] - size)
    boxes = np.concatenate([corner, corner + size], axis=1)
    whole = rng.random(count) < 0.3
    boxes[whole] = np.stack([np.floor(boxes[whole, :2]), np.ceil(boxes[whole, 2:])], 1).reshape(-1, 4)
    if count > 4:
        boxes[3] = boxes[1]
    return boxes.astype(np.float32)


def dense_anchors(height: int, width: int, ratios=(0.5, 1.0, 2.0), scale: float = 8.0) -> np.ndarray:
    anchors = []
    for stride in STRIDES:
        for y in range(-(-height // stride)):
            for x in range(-(-width // stride)):
                for ratio in ratios:
                    w, h = scale * stride / np.sqrt(ratio), scale * stride * np.sqrt(ratio)
                    anchors.append(
                        [
                            x * stride - w / 2,
                            y * stride - h / 2,
                            x * stride + w / 2,
                            y * stride + h / 2,
                        ]
                    )
    return np.array(anchors)


def dense_labels(anchors, boxes, crowd, settings):
    """The definition with every anchor against every box in float64."""

    def common(others):
        low = np.maximum(anchors[:, None, :2], others[None, :, :2])
        high = np.minimum(anchors[:, None, 2:], others[None, :, 2:])
        return np.clip(high - low, 0, None).prod(axis=2)

    boxes = boxes.astype(np.float64)
    area = (anchors[:, 2:] - anchors[:, :2]).prod(axis=1)
    ignored = np.zeros(len(anchors), bool)
    if crowd.any():
        ignored = (common(boxes[crowd]) / area[:, None] > settings.crowd_iou_thr).any(axis=1)
    objects = np.flatnonzero(~crowd)
    if not len(objects):
        return np.where(ignored, -1, 0), np.zeros(len(anchors), int)
    real = boxes[objects]
    inter = common(real)
    iou = inter / (area[:, None] + (real[:, 2:] - real[:, :2]).prod(axis=1) - inter)
    top = iou.max(axis=1)
    labels = np.where(top < settings.neg_iou_thr, 0, -1)
    labels[ignored] = -1
    labels[top >= settings.pos_iou_thr] = 1
    for column in iou.T:
        if column.max() > 0 and column.max() >= settings.min_pos_iou:
            labels[column >= column.max() - 1e-9] = 1
    # The first of the objects that are equally good up to rounding.
    return labels, objects[(iou >= top[:, None] - 1e-12).argmax(axis=1)]


@pytest.mark.parametrize("number", [0, 1])
def test_labels_and_samples_equal_torchvision(parity_file, number):
    expected = np.load(parity_file)
    grid = anchor_grid(192, 256, [8], [0.5, 1.0, 2.0], STRIDES, rounding=True)
    boxes = expected[f"target/boxes_{number}"]
    crowd = np.zeros(len(boxes), bool)
    settings = replace(ASSIGN, min_pos_iou=0.0, num_pos=32, num_total=64)
    labels, _ = label_anchors(grid, boxes, crowd, settings)
    np.testing.assert_array_equal(labels, expected["train/rpn_anchor_labels"][number])
    sample = assign_anchors(grid, boxes, crowd, settings, rng=None)
    for value, name in ((1, "train/rpn_sampled_pos"), (0, "train/rpn_sampled_neg")):
        np.testing.assert_array_equal(sample.index[sample.label == value], np.flatnonzero(expected[name][number]))


@pytest.mark.parametrize(("height", "width"), [(192, 256), (256, 192), (100, 333)])
@pytest.mark.parametrize("min_pos_iou", [0.0, 0.3])
@pytest.mark.parametrize("count", [0, 1, 17, 60])
def test_labels_equal_the_dense_reference(height, width, min_pos_iou, count):
    grid = anchor_grid(height, width, [8], [0.5, 1.0, 2.0], STRIDES)
    anchors = dense_anchors(height, width)
    settings = replace(ASSIGN, min_pos_iou=min_pos_iou)
    for seed in range(4):
        rng = np.random.default_rng([seed, count])
        boxes = random_boxes(rng, count, height, width)
        crowd = rng.random(count) < 0.15
        labels, matched = label_anchors(grid, boxes, crowd, settings)
        expected, expected_match = dense_labels(anchors, boxes, crowd, settings)
        np.testing.assert_array_equal(labels, expected)
        np.testing.assert_array_equal(matched[labels == 1], expected_match[labels == 1])


def test_several_scales_and_five_hundred_objects():
    grid = anchor_grid(192, 256, [4, 8, 16], [1.0], STRIDES)
    sizes = [dense_anchors(192, 256, ratios=(1.0,), scale=scale) for scale in (4.0, 8.0, 16.0)]
    anchors = np.stack(sizes, axis=1).reshape(-1, 4)
    rng = np.random.default_rng(0)
    boxes, crowd = random_boxes(rng, 500, 192, 256), rng.random(500) < 0.02
    settings = replace(ASSIGN, min_pos_iou=0.0)
    labels, matched = label_anchors(grid, boxes, crowd, settings)
    expected, expected_match = dense_labels(anchors, boxes, crowd, settings)
    np.testing.assert_array_equal(labels, expected)
    np.testing.assert_array_equal(matched[labels == 1], expected_match[labels == 1])


def test_every_object_finds_an_anchor_on_the_full_canvas():
    grid = anchor_grid(768, 1280, [8], [0.5, 1.0, 2.0], STRIDES)
    boxes = random_boxes(np.random.default_rng(2), 40, 768, 1280)
    labels, matched = label_anchors(grid, boxes, np.zeros(40, bool), replace(ASSIGN, min_pos_iou=0.0))
    # Objects 1 and 3 are equal, so every anchor of theirs goes to the first.
    assert len(set(matched[labels == 1])) >= 35


def test_crowd_is_neither_object_nor_background():
    grid = anchor_grid(192, 256, [8], [0.5, 1.0, 2.0], STRIDES)
    boxes = np.array([[0, 0, 256, 192], [40, 40, 90, 100]], np.float32)
    labels, _ = label_anchors(grid, boxes, np.array([True, True]), ASSIGN)
    inside = (dense_anchors(192, 256)[:, :2] >= 0).all(axis=1) & (dense_anchors(192, 256)[:, 2:] <= [256, 192]).all(
        axis=1
    )
    assert (labels[inside] == -1).all() and (labels == 0).any() and not (labels == 1).any()


def test_an_object_within_a_crowd_keeps_its_anchors():
    grid = anchor_grid(192, 256, [8], [0.5, 1.0, 2.0], STRIDES)
    boxes = np.array([[0, 0, 256, 192], [48, 48, 80, 80]], np.float32)
    labels, matched = label_anchors(grid, boxes, np.array([True, False]), ASSIGN)
    alone, _ = label_anchors(grid, boxes[1:], np.array([False]), ASSIGN)
    np.testing.assert_array_equal(labels == 1, alone == 1)
    assert (matched[labels == 1] == 1).all()


def test_samples_are_drawn_evenly_and_repeat_with_the_key():
    grid = anchor_grid(192, 256, [8], [0.5, 1.0, 2.0], STRIDES)
    boxes = random_boxes(np.random.default_rng(8), 30, 192, 256)
    crowd, settings = np.zeros(30, bool), replace(ASSIGN, min_pos_iou=0.0, num_pos=8, num_total=64)
    labels, _ = label_anchors(grid, boxes, crowd, settings)
    drawn = np.zeros(grid.size)
    for seed in range(300):
        sample = assign_anchors(grid, boxes, crowd, settings, np.random.default_rng(seed))
        again = assign_anchors(grid, boxes, crowd, settings, np.random.default_rng(seed))
        for one, other in zip(sample, again):
            np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(sample.label, [1] * 8 + [0] * 56)
        np.testing.assert_array_equal(labels[sample.index], sample.label)
        assert len(set(sample.index)) == 64
        drawn[sample.index] += 1
    positives = (labels == 1).sum()
    assert abs(drawn[labels == 1] - 300 * 8 / positives).max() < 6 * np.sqrt(300 * 8 / positives)
    assert (drawn[labels == 0] > 0).mean() > 0.7 and not drawn[labels == -1].any()


def test_few_positives_leave_their_places_to_negatives_and_the_rest_is_padding():
    grid = anchor_grid(64, 64, [8], [1.0], [32, 64])
    boxes = np.array([[0, 0, 40, 64], [0, 0, 64, 64]], np.float32)
    settings = replace(ASSIGN, min_pos_iou=0.0, num_pos=128, num_total=256)
    labels, _ = label_anchors(grid, boxes, np.array([False, True]), settings)
    sample = assign_anchors(grid, boxes, np.array([False, True]), settings, np.random.default_rng(0))
    positives, negatives = (labels == 1).sum(), (labels == 0).sum()
    assert 0 < positives < 5
    assert (sample.label == 1).sum() == positives and (sample.label == 0).sum() == negatives
    padding = sample.label == -1
    assert padding.sum() == 256 - positives - negatives
    assert not sample.index[padding].any() and not sample.target[padding].any()


def test_targets_lead_from_the_anchor_to_the_object():
    grid = anchor_grid(192, 256, [8], [0.5, 1.0, 2.0], STRIDES)
    boxes = random_boxes(np.random.default_rng(4), 12, 192, 256)
    means, stds = (0.1, 0.0, 0.0, -0.2), (0.1, 0.1, 0.2, 0.2)
    settings = replace(ASSIGN, min_pos_iou=0.0, coder=BoxCoder(means, stds, "continuous"))
    sample = assign_anchors(grid, boxes, np.zeros(12, bool), settings, rng=None)
    labels, matched = label_anchors(grid, boxes, np.zeros(12, bool), settings)
    chosen = sample.label == 1
    anchors = grid.boxes().astype(np.float64)[sample.index[chosen]]
    delta = sample.target[chosen].astype(np.float64) * stds + means
    size = anchors[:, 2:] - anchors[:, :2]
    centre = (anchors[:, 2:] + anchors[:, :2]) / 2 + delta[:, :2] * size
    half = size * np.exp(delta[:, 2:]) / 2
    decoded = np.concatenate([centre - half, centre + half], axis=1)
    np.testing.assert_allclose(decoded, boxes[matched[sample.index[chosen]]], atol=1e-3)
    assert (labels[sample.index[chosen]] == 1).all()


def test_encoding_by_hand():
    boxes, anchors = np.array([[10, 10, 30, 50]]), np.array([[0, 0, 40, 20]])
    deltas = BoxCoder((0.0,) * 4, (1.0,) * 4, "continuous").encode(boxes, anchors)
    np.testing.assert_allclose(deltas, [[0, 1, np.log(0.5), np.log(2)]], rtol=1e-6)
    inclusive = BoxCoder((0.0,) * 4, (1.0,) * 4, "inclusive").encode(boxes - [0, 0, 1, 1], anchors - [0, 0, 1, 1])
    np.testing.assert_allclose(inclusive, deltas, rtol=1e-6)


def polygon_rle(polygon: np.ndarray, height: int, width: int) -> bytes:
    return coco_mask.frPyObjects([polygon.ravel().tolist()], height, width)[0]["counts"]


def blob(rng: np.random.Generator, centre, radius: float) -> np.ndarray:
    angle = np.sort(rng.uniform(0, 2 * np.pi, 14))
    length = radius * rng.uniform(0.5, 1.0, 14)
    return np.stack([centre[0] + length * np.cos(angle), centre[1] + length * np.sin(angle)], axis=1)


@pytest.mark.parametrize("radius", [6.0, 30.0, 100.0, 190.0])
def test_crops_equal_the_exact_polygon_up_to_the_image_pixel(radius):
    height, width = 400, 500
    rng = np.random.default_rng(int(radius))
    for _ in range(5):
        polygon = blob(rng, (250.0 + rng.random(), 200.0 + rng.random()), radius)
        box = np.concatenate([polygon.min(axis=0), polygon.max(axis=0)])
        crop = mask_crop(polygon_rle(polygon, height, width), height, width, box)
        centre = (np.arange(112) + 0.5) / 112
        x, y = np.meshgrid(box[0] + centre * (box[2] - box[0]), box[1] + centre * (box[3] - box[1]))
        contour = polygon.astype(np.float32).reshape(-1, 1, 2)
        distance = np.array(
            [cv2.pointPolygonTest(contour, (float(a), float(b)), True) for a, b in zip(x.ravel(), y.ravel())]
        ).reshape(112, 112)
        # The RLE knows the polygon to a pixel: a pixel is in or out by its centre, half a diagonal away.
        clear = np.abs(distance) > 1.5
        np.testing.assert_array_equal(crop[clear], distance[clear] > 0)
        wrong = crop != (distance > 0)
        assert wrong.mean() < 2.5 / radius
        # Without bias: a shift of the crop by half a pixel would show as a difference in area of this size.
        assert abs(crop.mean() - (distance > 0).mean()) < 0.7 / radius


def test_crop_is_the_mask_itself_where_the_box_has_one_pixel_a_cell():
    rng = np.random.default_rng(0)
    mask = (rng.random((150, 170)) < 0.4).astype(np.uint8)
    counts = coco_mask.encode(np.asfortranarray(mask))["counts"]
    crop = mask_crop(counts, 150, 170, np.array([20, 30, 132, 142], np.float32))
    np.testing.assert_array_equal(crop, mask[30:142, 20:132])
    assert crop.dtype == np.uint8 and crop.flags.c_contiguous


def test_crop_at_the_image_border_and_of_other_sizes():
    mask = np.ones((20, 30), np.uint8)
    counts = coco_mask.encode(np.asfortranarray(mask))["counts"]
    for box in ([0, 0, 30, 20], [29.9, 19.9, 30, 20], [0, 0, 0.1, 20], [-1, -1, 31, 21]):
        assert mask_crop(counts, 20, 30, np.array(box, np.float32), size=28).all()


def test_a_thin_object_off_its_box_gives_an_empty_crop():
    mask = np.zeros((20, 300), np.uint8)
    mask[:, 0] = 1
    counts = coco_mask.encode(np.asfortranarray(mask))["counts"]
    assert not mask_crop(counts, 20, 300, np.array([10, 0, 290, 20], np.float32)).any()


def test_a_broken_rle_is_a_data_error():
    counts = coco_mask.encode(np.asfortranarray(np.ones((50, 60), np.uint8)))["counts"]
    with pytest.raises(DataError, match="RLE of 20 x 30"):
        mask_crop(counts, 20, 30, np.array([0, 0, 30, 20], np.float32))
