"""A detector that knows the answers: it recognises each image by its pixels and returns the ground truth."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from maskrcnn.config import Config
from maskrcnn.data.sources.classes import ClassList
from maskrcnn.evaluation.evaluator import EvaluationOptions, EvaluationResult, evaluate
from maskrcnn.evaluation.ground_truth import load_ground_truth
from maskrcnn.inference.images import ImageSource, load_batches
from maskrcnn.inference.results import Detections
from maskrcnn.inference.settings import InferenceSettings

SMALL = {"img_height": 128, "img_width": 192}


def settings(**keys) -> InferenceSettings:
    """Settings for small images; ``keys`` are those of the configuration."""
    return InferenceSettings.from_config(Config(**{**SMALL, **keys}))


def run_evaluation(
    detector, ann_file: Path, folder: Path, keys: dict | None = None, names: Sequence[str] = (), group=None, **options
) -> EvaluationResult | None:
    """``evaluate`` of a file, with the settings of the configuration's ``keys`` and with ``options``."""
    truth = load_ground_truth(ann_file, image_dir=folder)
    classes = truth.find_classes(names or truth.class_names)
    chosen = EvaluationOptions(progress=False, **options)
    return evaluate(detector, truth, folder, classes, settings(**(keys or {})), chosen, group)


def box_frame_mask(bitmap: np.ndarray, box: Sequence[float], size: int = 28) -> np.ndarray:
    """Exact share of each of size x size cells of the box that the bitmap covers: float64 [size, size]."""

    def overlap(low: float, high: float, pixels: int) -> np.ndarray:
        edges = np.linspace(low, high, size + 1)
        start, stop = edges[:-1, None], edges[1:, None]
        grid = np.arange(pixels)[None]
        return np.clip(np.minimum(stop, grid + 1) - np.maximum(start, grid), 0, None)

    rows, columns = overlap(box[1], box[3], bitmap.shape[0]), overlap(box[0], box[2], bitmap.shape[1])
    cell = (box[2] - box[0]) * (box[3] - box[1]) / size**2
    return rows @ bitmap.astype(np.float64) @ columns.T / cell


def annotation_bitmap(annotation: dict, height: int, width: int) -> np.ndarray:
    segmentation = annotation["segmentation"]
    if isinstance(segmentation, list):
        return coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width)))
    if isinstance(segmentation["counts"], list):
        segmentation = coco_mask.frPyObjects(segmentation, height, width)
    return coco_mask.decode(segmentation)


class Oracle:
    """Perfect detections for the images of an annotation file; counts its calls and the canvases it saw."""

    def __init__(self, content: dict, image_dir: Path, names: Sequence[str] = (), **keys) -> None:
        classes = ClassList.from_categories(content["categories"], names)
        objects: dict[int, list] = {image["id"]: [] for image in content["images"]}
        sizes = {image["id"]: (image["height"], image["width"]) for image in content["images"]}
        for annotation in content["annotations"]:
            label = classes.label_of(annotation["category_id"])
            if label is None or annotation["iscrowd"]:
                continue
            x, y, w, h = annotation["bbox"]
            box = (x, y, x + w, y + h)
            bitmap = annotation_bitmap(annotation, *sizes[annotation["image_id"]])
            objects[annotation["image_id"]].append((box, label, box_frame_mask(bitmap, box)))
        self.slots = max(map(len, objects.values())) + 1
        self.answers: dict[bytes, tuple] = {}
        self.batches: list[tuple[int, ...]] = []
        sources = [
            ImageSource(image["id"], image_dir / image["file_name"], (image["height"], image["width"]))
            for image in content["images"]
        ]
        for batch in load_batches(sources, settings(**keys), []):
            image = batch.images[0]
            scale = np.array(image.network_size[::-1] * 2) / np.array(image.original_size[::-1] * 2)
            self.answers[batch.image[0].tobytes()] = scale, objects[image.source.image_id]

    def __call__(self, image: np.ndarray, image_shape: np.ndarray) -> Detections:
        self.batches.append(image.shape)
        count, slots = len(image), self.slots
        out = Detections(
            np.zeros((count, slots, 4), np.float32),
            np.zeros((count, slots), np.float32),
            np.zeros((count, slots), np.int32),
            np.zeros((count, slots), bool),
            np.zeros((count, slots, 28, 28), np.float32),
        )
        for row, pixels in enumerate(image):
            scale, objects = self.answers[pixels.tobytes()]
            for slot, (box, label, mask) in enumerate(objects):
                out.boxes[row, slot] = np.array(box) * scale
                out.scores[row, slot] = 0.99 - 0.001 * slot
                out.labels[row, slot] = label
                out.valid[row, slot] = True
                out.masks[row, slot] = mask
        return out


def nothing(image: np.ndarray, image_shape: np.ndarray) -> Detections:
    """A detector that finds nothing."""
    count = len(image)
    return Detections(
        np.zeros((count, 5, 4), np.float32),
        np.zeros((count, 5), np.float32),
        np.zeros((count, 5), np.int32),
        np.zeros((count, 5), bool),
        np.zeros((count, 5, 28, 28), np.float32),
    )


def draw_data_set(folder: Path, images: int = 7, seed: int = 0) -> Path:
    """Landscape and upright pictures of ellipses, rings (as RLE) and a crowd region; returns the annotation file.

    Category ids are 7, 3 and 40 for 'ellipse', 'ring' and 'spare', of which no object is drawn.
    """
    rng = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    content: dict = {"images": [], "annotations": []}
    for number in range(images):
        height, width = (90, 140) if number % 3 else (150, 100)
        rgb = rng.integers(0, 90, (height, width, 3), np.uint8)
        image_id = 1000 - number
        for _ in range(int(rng.integers(1, 5))):
            bitmap = np.zeros((height, width), np.uint8)
            centre = (int(rng.integers(20, width - 20)), int(rng.integers(20, height - 20)))
            axes = (int(rng.integers(6, 20)), int(rng.integers(6, 20)))
            cv2.ellipse(bitmap, centre, axes, float(rng.uniform(0, 180)), 0, 360, 1, -1)
            ring = bool(rng.integers(2))
            if ring:
                cv2.ellipse(bitmap, centre, (axes[0] // 3, axes[1] // 3), 0, 0, 360, 0, -1)
            rgb[bitmap > 0] = (200, 120, 40) if ring else (60, 160, 220)
            rle = coco_mask.encode(np.asfortranarray(bitmap))
            content["annotations"].append(
                {
                    "id": len(content["annotations"]),  # starts at 0, which pycocotools alone gets wrong
                    "image_id": image_id,
                    "category_id": 3 if ring else 7,
                    "bbox": coco_mask.toBbox(rle).tolist(),
                    "area": int(bitmap.sum()),
                    "iscrowd": 0,
                    "segmentation": {"size": [height, width], "counts": rle["counts"].decode()},
                }
            )
        name = f"picture_{number}.png"
        cv2.imwrite(str(folder / "images" / name), rgb[:, :, ::-1])
        content["images"].append({"id": image_id, "file_name": name, "height": height, "width": width})
    last = content["images"][-1]
    content["annotations"].append(
        {
            "id": len(content["annotations"]),
            "image_id": last["id"],
            "category_id": 7,
            "bbox": [0, 0, 30, 20],
            "area": 600,
            "iscrowd": 1,
            "segmentation": {
                "size": [last["height"], last["width"]],
                "counts": [0, 20] + [last["height"] - 20, 20] * 29 + [last["height"] * (last["width"] - 29) - 20],
            },
        }
    )
    content["categories"] = [
        {"id": 7, "name": "ellipse"}, {"id": 3, "name": "ring"}, {"id": 40, "name": "spare"}
    ]  # fmt: skip
    ann_file = folder / "annotations.json"
    ann_file.write_text(json.dumps(content))
    return ann_file
