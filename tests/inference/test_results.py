"""From the network's arrays to COCO records."""

from __future__ import annotations

import json

import numpy as np
import pytest

from maskrcnn.errors import EvaluationError
from maskrcnn.inference.results import (
    Detections,
    ImageObjects,
    coco_records,
    objects_of_image,
    shortest,
)


def detections(boxes, scores, labels, valid) -> Detections:
    count = len(scores)
    return Detections(
        np.array([boxes], np.float32),
        np.array([scores], np.float32),
        np.array([labels], np.int32),
        np.array([valid], bool),
        np.arange(count, dtype=np.float32)[None, :, None, None] * np.ones((1, 1, 28, 28), np.float32),
    )


def test_scales_each_axis_by_its_own_factor_clips_and_sorts() -> None:
    given = detections(
        [[10, 10, 20, 30], [0, 0, 500, 500], [1, 2, 3, 4]], [0.3, 0.9, 0.99], [2, 1, 3], [True, True, False]
    )
    objects = objects_of_image(given, 0, network_size=(101, 200), original_size=(50, 400))
    assert objects.scores.tolist() == pytest.approx([0.9, 0.3])
    assert objects.labels.tolist() == [1, 2]
    assert objects.masks[:, 0, 0].tolist() == [1, 0]
    factor = 50 / 101
    expected = [[0, 0, 400, 50], [20, 10 * factor, 40, 30 * factor]]
    np.testing.assert_allclose(objects.boxes, expected, rtol=1e-6)
    assert objects.boxes.dtype == np.float32


def test_refuses_what_is_not_finite_but_only_where_it_is_valid() -> None:
    boxes = [[0, 0, 5, 5], [np.nan] * 4]
    assert len(objects_of_image(detections(boxes, [1, 1], [1, 1], [True, False]), 0, (9, 9), (9, 9)).scores) == 1
    with pytest.raises(EvaluationError, match="not finite"):
        objects_of_image(detections(boxes, [1, 1], [1, 1], [True, True]), 0, (9, 9), (9, 9))


def test_shortest_keeps_every_float32_and_its_order() -> None:
    rng = np.random.default_rng(0)
    values = np.sort(np.exp(rng.uniform(-20, 8, 20000)).astype(np.float32))
    short = [shortest(v) for v in values]
    assert (np.array(short).astype(np.float32) == values).all()
    assert all(a <= b for a, b in zip(short, short[1:]))
    assert json.dumps(shortest(np.float32(0.1))) == "0.1"


def test_records_hold_the_data_set_s_category_ids() -> None:
    objects = ImageObjects(
        np.array([[1.5, 2.25, 11.5, 22.25]], np.float32),
        np.array([0.7], np.float32),
        np.array([2], np.int32),
        np.zeros((1, 28, 28), np.float32),
    )
    rles = [{"size": [30, 40], "counts": b"PY1"}]
    bbox, segm = coco_records(17, objects, rles, category_ids=[1, 90])
    assert bbox == [{"image_id": 17, "category_id": 90, "bbox": [1.5, 2.25, 10.0, 20.0], "score": 0.7}]
    assert segm[0]["segmentation"] == {"size": [30, 40], "counts": "PY1"} and "bbox" not in segm[0]
    json.dumps([bbox, segm])
    with pytest.raises(EvaluationError, match="label 2 but the run has 1 classes"):
        coco_records(17, objects, rles, category_ids=[1])
