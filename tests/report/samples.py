"""A small data set with results and photographs, one class of which is called like a script."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from pycocotools import mask as coco_mask

HOSTILE = "<script>document.title='owned'</script>"
HEIGHT, WIDTH = 120, 160


class Sample(NamedTuple):
    """Files of a data set, and what they hold."""

    ann_file: Path
    image_dir: Path
    results: dict[str, Path]
    annotations: dict[str, Any]
    records: dict[str, list[dict[str, Any]]]


def rle(left: int, top: int, width: int, height: int) -> dict[str, Any]:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[top : top + height, left : left + width] = 1
    return {"size": [HEIGHT, WIDTH], "counts": coco_mask.encode(np.asfortranarray(mask))["counts"].decode()}


def make_sample(folder: Path, images: int = 12) -> Sample:
    """Every image has an object of class 1 that is found well (0.9) and one of class 2.

    That of class 2 is, in turn: found badly (0.7), called class 1 (0.6), missed.
    """
    image_dir = folder / "images"
    image_dir.mkdir(parents=True)
    rng = np.random.default_rng(0)
    truth: dict[str, Any] = {
        "images": [],
        "annotations": [],
        "categories": [{"id": 5, "name": "cat"}, {"id": 9, "name": HOSTILE}],
    }
    boxes: list[dict[str, Any]] = []
    masks: list[dict[str, Any]] = []

    def expected(image: int, category: int, *box: int) -> None:
        area = box[2] * box[3]
        truth["annotations"].append(
            {"id": len(truth["annotations"]), "image_id": image, "category_id": category, "bbox": list(box),
             "area": area, "iscrowd": 0, "segmentation": rle(*box)}
        )  # fmt: skip

    def found(image: int, category: int, score: float, *box: int) -> None:
        common = {"image_id": image, "category_id": category, "score": score}
        boxes.append({**common, "bbox": list(box)})
        masks.append({**common, "segmentation": rle(*box)})

    for n in range(images):
        name = f"photo {n:03d} <b>.png" if n == 0 else f"photo {n:03d}.png"
        pixels = rng.integers(0, 255, (HEIGHT // 8, WIDTH // 8, 3), np.uint8)
        cv2.imwrite(str(image_dir / name), cv2.resize(pixels, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC))
        truth["images"].append({"id": n, "file_name": name, "height": HEIGHT, "width": WIDTH})
        expected(n, 5, 10, 10, 40, 40)
        found(n, 5, 0.9, 10, 10, 40, 41)
        expected(n, 9, 80, 50, 40, 40)
        if n % 3 == 0:
            found(n, 9, 0.7, 105, 50, 40, 40)
        elif n % 3 == 1:
            found(n, 5, 0.6, 80, 50, 40, 40)
    files = {"truth": truth, "bbox": boxes, "segm": masks}
    for file_name, content in files.items():
        (folder / f"{file_name}.json").write_text(json.dumps(content))
    results = {kind: folder / f"{kind}.json" for kind in ("bbox", "segm")}
    return Sample(folder / "truth.json", image_dir, results, truth, {"bbox": boxes, "segm": masks})
