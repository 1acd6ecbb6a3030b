"""Images cut into tiles on their way through a detector: what comes out is that of the whole images."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask
from tests.evaluation.oracle import box_frame_mask, settings

from maskrcnn.api import Model
from maskrcnn.data.formats import read_labels
from maskrcnn.data.formats.labels import ReadOptions
from maskrcnn.errors import DataError
from maskrcnn.inference.images import ImageSource
from maskrcnn.inference.open import OpenedModel
from maskrcnn.inference.pipeline import InferenceRun
from maskrcnn.inference.predictor import PredictionOptions, find_images, predict
from maskrcnn.inference.results import Detections

NAMES = ("disc", "other")
SLOTS = 40


def bright_discs(image: np.ndarray, image_shape: np.ndarray) -> Detections:
    """A detector of bright regions: each is found as exactly as a 28 x 28 mask can say."""
    count = len(image)
    out = Detections(
        np.zeros((count, SLOTS, 4), np.float32),
        np.zeros((count, SLOTS), np.float32),
        np.zeros((count, SLOTS), np.int32),
        np.zeros((count, SLOTS), bool),
        np.zeros((count, SLOTS, 28, 28), np.float32),
    )
    for row in range(count):
        regions, parts = cv2.connectedComponents((image[row, ..., 0] > 128).astype(np.uint8))
        for slot in range(regions - 1):
            mask = (parts == slot + 1).astype(np.uint8)
            x, y, w, h = cv2.boundingRect(mask)
            out.boxes[row, slot] = (x, y, x + w, y + h)
            out.scores[row, slot] = 0.9 - 0.01 * slot
            out.labels[row, slot] = 1
            out.valid[row, slot] = True
            out.masks[row, slot] = box_frame_mask(mask, (x, y, x + w, y + h))
    return out


@pytest.fixture
def photograph(tmp_path: Path) -> tuple[Path, list[np.ndarray]]:
    """An image of 400 x 560 pixels with discs, some of them where tiles end; and the discs' masks."""
    y, x = np.mgrid[:400, :560] + 0.5
    circles = [
        (50, 60, 18),
        (190, 100, 20),
        (370, 60, 15),
        (180, 250, 25),
        (500, 330, 40),
        (300, 340, 12),
        (10, 390, 22),
    ]
    masks = [np.hypot(x - cx, y - cy) <= r for cx, cy, r in circles]
    pixels = np.zeros((400, 560, 3), np.uint8)
    pixels[np.any(masks, axis=0)] = 255
    cv2.imwrite(str(tmp_path / "large.png"), pixels)
    cv2.imwrite(str(tmp_path / "small.png"), pixels[:120, :150])
    return tmp_path / "large.png", masks


@pytest.mark.parametrize("batch", [1, 2])
def test_every_object_of_a_large_image_is_found_once(photograph, batch: int):
    path, masks = photograph
    keys = {"img_height": 192, "img_width": 192, "tile": 192, "overlap": 0.3, "test_batch_size": batch}
    sources = [ImageSource("large", path), ImageSource("small", path.with_name("small.png"))]
    run = InferenceRun(bright_discs, sources, (77, 5), settings(**keys))
    results = {result.source.image_id: result for result in run}
    large, small = results["large"], results["small"]
    assert large.size == (400, 560) and small.size == (120, 150)
    assert len(large.bbox) == len(large.segm) == len(masks) and len(small.bbox) == 1
    assert {record["category_id"] for record in large.bbox} == {77} and large.bbox[0]["image_id"] == "large"
    truth = [coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8)) for mask in masks]
    overlaps = coco_mask.iou([record["segmentation"] for record in large.segm], truth, [0] * len(truth))
    assert (overlaps.max(0) > 0.9).all()
    assert not run.skipped


def test_prediction_and_the_python_interface_take_tiles(photograph, tmp_path: Path):
    path, masks = photograph
    keys = {"img_height": 192, "img_width": 192, "tile": 192}
    opened = OpenedModel(bright_discs, NAMES, None, settings(**keys))
    predict(opened, find_images([path]), PredictionOptions(tmp_path / "out", progress=False))
    (entry,) = json.loads((tmp_path / "out" / "predictions.json").read_text())["images"]
    assert len(entry["detections"]) == len(masks) and entry["height"] == 400
    assert len(Model(opened)(path)) == len(masks)


def test_predictions_are_labels_to_train_on_again(photograph, tmp_path: Path):
    path, masks = photograph
    opened = OpenedModel(bright_discs, NAMES, None, settings(img_height=384, img_width=576))
    options = PredictionOptions(tmp_path / "out", labelme=True, masks=True, progress=False)
    predict(opened, find_images([path]), options)
    (image,) = read_labels(tmp_path / "out" / "labelme", ReadOptions()).images
    assert image.path.samefile(path) and len(image.objects) == len(masks)
    written = [cv2.imread(str(p), -1) for p in sorted((tmp_path / "out" / "masks" / "large").iterdir())]
    assert len(written) == len(masks) and all(set(np.unique(mask)) == {0, 255} for mask in written)
    union = np.any(written, axis=0)
    assert (union & np.any(masks, axis=0)).sum() / (union | np.any(masks, axis=0)).sum() > 0.9


def test_an_image_that_cannot_be_read_is_left_out_or_stops_a_strict_run(photograph):
    path, _ = photograph
    (path.parent / "broken.png").write_bytes(b"no image")
    sources = [ImageSource(1, path.parent / "broken.png"), ImageSource(2, path)]
    keys = {"img_height": 192, "img_width": 192, "tile": 192}
    run = InferenceRun(bright_discs, sources, (1, 2), settings(**keys))
    assert [result.source.image_id for result in run] == [2]
    assert [item.path.name for item in run.skipped] == ["broken.png"]
    with pytest.raises(DataError, match=r"broken\.png"):
        list(InferenceRun(bright_discs, sources, (1, 2), settings(**keys, strict=True)))
