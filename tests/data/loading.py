"""Samples, records in memory and loaders for the tests of the training batches."""

from __future__ import annotations

import threading
from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from maskrcnn.config import Config
from maskrcnn.data.batches.batch import BatchSettings
from maskrcnn.data.batches.loader import TrainLoader
from maskrcnn.data.batches.targets import AssignSettings
from maskrcnn.data.batches.views import Augmentation
from maskrcnn.data.sources.sample import Sample
from maskrcnn.ops.anchors import AnchorGrid, anchor_grid

HEIGHT, WIDTH = 128, 192
AUGMENTED = Augmentation(flip_ratio=0.5, photo_ratio=0.5, expand_ratio=1.5, multi_scale=(0.5, 1.0))
AUGMENTED_MORE = Augmentation(
    flip_ratio=0.5,
    vertical_flip_ratio=0.5,
    rotate_ratio=0.5,
    photo_ratio=0.5,
    expand_ratio=1.2,
    multi_scale=(0.8, 1.5),
    scale_jitter=(0.3, 2.0),
    copy_paste_ratio=0.7,
)
ASSIGN = AssignSettings.from_config(Config())
SMALL = BatchSettings(
    max_objects=6,
    crop_size=28,
    roi_keys=50,
    augmentation=Augmentation(),
    assign=replace(ASSIGN, num_pos=8, num_total=32),
    mask_targets="coverage",
)


def anchors(height: int, width: int) -> AnchorGrid:
    return anchor_grid(height, width, (8,), (0.5, 1.0, 2.0), (4, 8, 16, 32, 64))


def make_sample(image_id: int, height: int, width: int, objects: int = 3, crowd: int = 0) -> Sample:
    rng = np.random.default_rng([image_id, 99])
    small = rng.integers(0, 256, (6, 8, 3), np.uint8)
    image = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    size = rng.uniform(8, [[width / 2, height / 2]], (objects, 2))
    corner = rng.uniform(0, 1, (objects, 2)) * ([[width, height]] - size)
    boxes = np.concatenate([corner, corner + size], axis=1).astype(np.float32).reshape(-1, 4)
    rles = []
    for x1, y1, x2, y2 in boxes:
        polygon = [x1, y1, x2, y1, (x1 + x2) / 2, y2]
        rles.append(coco_mask.frPyObjects([[float(value) for value in polygon]], height, width)[0]["counts"])
    return Sample(
        image_id=image_id,
        file_name=f"{image_id}.png",
        jpeg=cv2.imencode(".png", image)[1].tobytes(),
        height=height,
        width=width,
        boxes=boxes,
        labels=rng.integers(1, 81, objects).astype(np.int32),
        crowd=np.arange(objects) < crowd,
        rles=rles,
    )


class Records:
    """Samples in memory, read as the records on disk are."""

    def __init__(self, samples: list[Sample]) -> None:
        self.samples = samples
        self.info = SimpleNamespace(sizes=np.array([[s.height, s.width] for s in samples]).reshape(-1, 2))
        self.read = 0
        self.closed = 0

    def __len__(self) -> int:
        return len(self.samples)

    def iter_rows(self, indices):
        try:
            for index in indices:
                self.read += 1
                yield self.samples[index]
        finally:
            self.closed += 1


def make_loader(records, settings=SMALL, **arguments) -> TrainLoader:
    arguments = {"seed": 1, "batch_size": 2, **arguments}
    sizes = {"img_height": HEIGHT, "img_width": WIDTH}
    return TrainLoader(records, anchors=anchors, settings=settings, **{**sizes, **arguments})


def assert_equal_batches(ours, theirs) -> None:
    for name, one, other in zip(ours._fields, ours, theirs):
        np.testing.assert_array_equal(one, other, err_msg=name)


def loader_threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("train-loader")]
