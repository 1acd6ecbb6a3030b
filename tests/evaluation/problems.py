"""Made-up evaluation problems that hold whatever a data set may hold."""

from __future__ import annotations

import numpy as np
from pycocotools import mask as coco_mask

from maskrcnn.evaluation.engines import Problem

HEIGHT, WIDTH = 200, 300


def polygon(box: list[float]) -> list[list[float]]:
    x, y, w, h = box
    return [[x, y, x + w, y, x + w, y + 0.6 * h, x + 0.5 * w, y + h, x, y + h]]


def text(rle: dict) -> dict:
    """An RLE as JSON holds it."""
    return {**rle, "counts": rle["counts"].decode()}


def varied(
    seed: int, kind: str, max_detections: tuple[int, ...] = (1, 10, 100), *, classes: int = 6, ties: bool = True
) -> Problem:
    """Objects of all sizes with crowds, classes without objects or without results, and images without either.

    With ``ties`` scores have two decimals, so that many are equal and their order matters.
    """
    rng = np.random.default_rng(seed)
    images = [{"id": int(n), "height": HEIGHT, "width": WIDTH} for n in rng.permutation(40)]
    annotations, results = [], []
    for image in images[3:]:
        for _ in range(rng.integers(1, 8)):
            size = 10 ** rng.uniform(0.5, 2.2, 2)
            box = [float(v) for v in (rng.uniform(0, WIDTH - 5), rng.uniform(0, HEIGHT - 5), *size)]
            box[2], box[3] = min(box[2], WIDTH - box[0]), min(box[3], HEIGHT - box[1])
            category = int(rng.integers(1, classes))  # the last class has no objects
            crowd = int(rng.random() < 0.15)
            rle = coco_mask.merge(coco_mask.frPyObjects(polygon(box), HEIGHT, WIDTH))
            annotations.append(
                {"id": len(annotations) + 1, "image_id": image["id"], "category_id": category, "bbox": box,
                 "area": box[2] * box[3] * 0.8, "iscrowd": crowd, "segmentation": text(rle)}
            )  # fmt: skip
            for _ in range(rng.integers(0, 5)):
                moved = np.array(box) + rng.normal(0, 1 + 0.1 * min(box[2:]), 4)
                moved[2:] = moved[2:].clip(1)
                x, y = moved[:2].clip(0, [WIDTH - 2, HEIGHT - 2])
                moved = [float(v) for v in (x, y, min(moved[2], WIDTH - x), min(moved[3], HEIGHT - y))]
                found = category if rng.random() < 0.8 else int(rng.integers(2, classes + 1))
                rle = coco_mask.merge(coco_mask.frPyObjects(polygon(moved), HEIGHT, WIDTH))
                area = moved[2] * moved[3] if kind == "bbox" else float(coco_mask.area(rle))
                results.append(
                    {"id": len(results) + 1, "image_id": image["id"], "category_id": found, "bbox": moved,
                     "area": area, "iscrowd": 0, "segmentation": text(rle),
                     "score": round(float(rng.random()), 2 if ties else 12)}
                )  # fmt: skip
    categories = [{"id": n, "name": f"class {n}"} for n in range(1, classes + 1)]
    ids = [image["id"] for image in images]
    return Problem(images, categories, annotations, results, kind, range(1, classes + 1), ids, max_detections)
