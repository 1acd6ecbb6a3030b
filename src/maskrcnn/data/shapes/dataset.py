"""A data set that needs no download: pictures of overlapping shapes with exact masks, in COCO's format.

``python -m maskrcnn.data.shapes OUT --train 400 --val 80 --seed 0`` writes ``OUT/train2017``, ``OUT/val2017`` and
``OUT/annotations/instances_{train,val}2017.json``. Picture i of a split depends on (seed, split, i) only, so a larger
data set begins with the pictures of a smaller one.

As in COCO, a visible region in one piece without holes is a polygon, any other is run-length encoded, and a cluster of
tiny shapes is one crowd region. Category ids have gaps, as COCO's have.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from maskrcnn.data.shapes.drawing import Instance, draw_scene
from maskrcnn.errors import DataError
from maskrcnn.files import whole_folder

CATEGORY_IDS = {"circle": 3, "square": 7, "triangle": 8, "star": 21, "ring": 44, "cross": 90}
SPLITS = ("train", "val")
_JPEG_QUALITY = 90
_OUTLINE_SCALE = 6  # masks are enlarged before their outline is traced, see _outline


def make_shapes(
    root: Path | str, train: int = 400, val: int = 80, size: tuple[int, int] = (256, 320), seed: int = 0
) -> Path:
    """Draws the data set; nothing is drawn if the folder already holds the same one.

    Args:
        root: folder to draw into, new or empty.
        train: number of training pictures.
        val: number of validation pictures.
        size: height and width in pixels of a landscape picture; upright ones are transposed.
        seed: another seed draws other pictures.

    Returns:
        ``root``.

    Raises:
        DataError: a number is impossible, or ``root`` holds anything else or cannot be written.
    """
    root = Path(root)
    if min(train, val) < 1 or min(size) < 128 or seed < 0:
        raise DataError(
            f"cannot draw {train} + {val} pictures of {size[0]}x{size[1]} pixels from seed {seed}: "
            "it takes at least 1 + 1 pictures, 128x128 pixels and seed 0"
        )
    description = f"shapes, {train} + {val} pictures of {size[0]}x{size[1]} pixels, seed {seed}"
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        if _description(root) == description:
            return root
        raise DataError(f"{root} holds something else than '{description}': remove it or name another folder")
    try:
        with whole_folder(root) as partial:
            for split, count in zip(SPLITS, (train, val)):
                _write_split(partial, split, count, size, seed, description)
    except OSError as error:
        raise DataError(f"cannot write the data set to {root}: {error.strerror or error}") from error
    return root


def _description(root: Path) -> str | None:
    """The description in a data set's annotations, None if there are none."""
    try:
        content = json.loads((root / "annotations" / "instances_val2017.json").read_text(encoding="utf-8"))
        return content["info"]["description"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write_split(root: Path, split: str, count: int, size: tuple[int, int], seed: int, description: str) -> None:
    number = SPLITS.index(split)
    folder = root / f"{split}2017"
    folder.mkdir(parents=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for index in range(count):
        rng = np.random.default_rng([seed, number, index])
        picture, instances = draw_scene(rng, size, tuple(CATEGORY_IDS))
        image_id = 1_000_000 * number + index + 1
        name = f"{image_id:012d}.jpg"
        coded, jpeg = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
        if not coded:
            raise DataError(f"OpenCV cannot encode {name} as JPEG: reinstall opencv-python-headless")
        (folder / name).write_bytes(jpeg.tobytes())
        height, width = picture.shape[:2]
        images.append({"id": image_id, "file_name": name, "height": height, "width": width, "license": 1})
        for instance in instances:
            annotation_id = 10_000_000 * number + len(annotations) + 1
            annotations.append({"id": annotation_id, "image_id": image_id, **annotate(instance)})
    content = {
        "info": {"description": description, "version": "1.0", "year": 2017},
        "licenses": [{"id": 1, "name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"}],
        "images": images,
        "annotations": annotations,
        "categories": [
            {"id": identity, "name": name, "supercategory": "shape"} for name, identity in CATEGORY_IDS.items()
        ],
    }
    (root / "annotations").mkdir(exist_ok=True)
    file = root / "annotations" / f"instances_{split}2017.json"
    file.write_text(json.dumps(content), encoding="utf-8")


def annotate(instance: Instance) -> dict[str, Any]:
    """Returns the COCO annotation of an instance, without its ids; box x, y, width, height in pixels, float."""
    mask = instance.visible
    rle = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    box = coco_mask.toBbox(rle).tolist()
    outline = None if instance.crowd else _outline(mask)
    if outline is not None:
        low, high = outline.min(axis=0), outline.max(axis=0)
        box = np.concatenate([low, high - low]).round(2).tolist()
        segmentation: Any = [outline.round(2).ravel().tolist()]
    elif instance.crowd:  # COCO's own form for crowds
        segmentation = {"counts": _run_lengths(mask), "size": list(mask.shape)}
    else:
        segmentation = {"counts": rle["counts"].decode("ascii"), "size": list(mask.shape)}
    return {
        "category_id": CATEGORY_IDS[instance.category],
        "iscrowd": int(instance.crowd),
        "area": float(coco_mask.area(rle)),
        "bbox": box,
        "segmentation": segmentation,
    }


def _outline(mask: np.ndarray) -> np.ndarray | None:
    """The border of a mask, float64 [n, 2] (x, y) in continuous pixels; None if it has holes or parts.

    ``findContours`` walks along pixel centres, half a pixel inside the region; on an enlarged mask that is a
    twelfth of a pixel.
    """
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    crop = mask[y : y + height, x : x + width].astype(np.uint8)
    large = np.kron(crop, np.ones((_OUTLINE_SCALE, _OUTLINE_SCALE), np.uint8))
    contours, _ = cv2.findContours(large, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    if len(contours) != 1:
        return None
    # more than 0.55 would cut across one-pixel steps, and COCO's rasteriser would lose those pixels
    corners = cv2.approxPolyDP(contours[0], 0.55 * _OUTLINE_SCALE, closed=True)[:, 0].astype(np.float64)
    return (corners + 0.5) / _OUTLINE_SCALE + (x, y)


def _run_lengths(mask: np.ndarray) -> list[int]:
    """Uncompressed COCO runs: lengths of alternating 0 and 1 down the columns, beginning with 0."""
    flat = mask.ravel(order="F")
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    runs = np.diff(np.concatenate([[0], changes, [flat.size]])).tolist()
    return [0, *runs] if flat[0] else runs
