"""What Python computes for given inputs, written for the C++ unit tests: ``python vectors.py FOLDER``.

The numbers come from the package's own functions, which have tests of their own, from pycocotools and from OpenCV.
"""

from __future__ import annotations

import base64
import json
import struct
import sys
from itertools import product
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask
from tests.data.exif import FORMATS, with_orientation

from maskrcnn.data.batches.transforms import decode_image, decode_shown, fit_size, resize_image
from maskrcnn.data.sources.exif import exif_orientation, orientation_to_apply
from maskrcnn.errors import DataError
from maskrcnn.inference.paste import PASTE_RULES, encode_masks
from maskrcnn.inference.results import Detections, coco_records, objects_of_image

# 24 x 16 pixels of random CMYK blocks, saved by Pillow (OpenCV reads such files but does not write them).
CMYK_JPEG = (
    "/9j/7gAOQWRvYmUAZAAAAAAA/9sAQwANCQoLCggNCwoLDg4NDxMgFRMSEhMnHB4XIC4pMTAuKS0sMzpKPjM2RjcsLUBXQUZMTlJTUjI+WmFaUGBK"
    "UVJP/8AAFAgAEAAYBEMRAE0RAFkRAEsRAP/EAB8AAAEFAQEBAQEBAAAAAAAAAAABAgMEBQYHCAkKC//EALUQAAIBAwMCBAMFBQQEAAABfQECAwAE"
    "EQUSITFBBhNRYQcicRQygZGhCCNCscEVUtHwJDNicoIJChYXGBkaJSYnKCkqNDU2Nzg5OkNERUZHSElKU1RVVldYWVpjZGVmZ2hpanN0dXZ3eHl6"
    "g4SFhoeIiYqSk5SVlpeYmZqio6Slpqeoqaqys7S1tre4ubrCw8TFxsfIycrS09TV1tfY2drh4uPk5ebn6Onq8fLz9PX29/j5+v/aAA4EQwBNAFkA"
    "SwAAPwDiKyabXSV6rXr1eiV1FateC15LXzlXF10NcbW7WXVqvQK56u3rlKzq+k6//9k="
)


def exif(orientation: int) -> bytes:
    """A JPEG segment that says how a camera was held."""
    entry = struct.pack(">HHIHH", 0x0112, 3, 1, orientation, 0)
    tiff = b"MM\x00*" + struct.pack(">IH", 8, 1) + entry + struct.pack(">I", 0)
    return b"\xff\xe1" + struct.pack(">H", len(tiff) + 8) + b"Exif\x00\x00" + tiff


def encoded(suffix: str, pixels: np.ndarray, *options: int) -> bytes:
    return cv2.imencode(suffix, pixels, options)[1].tobytes()


def image_files(rng: np.random.Generator) -> dict[str, bytes]:
    coarse = rng.integers(0, 256, (5, 8, 3), np.uint8)
    colour = cv2.resize(coarse, (53, 34), interpolation=cv2.INTER_CUBIC)
    jpeg = encoded(".jpg", colour, cv2.IMWRITE_JPEG_QUALITY, 90)
    return {
        "colour.jpg": jpeg,
        "grey.jpg": encoded(".jpg", colour[:, :, 0]),
        "cmyk.jpg": base64.b64decode(CMYK_JPEG),
        "progressive.jpg": encoded(".jpg", colour, cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
        "turned.jpg": jpeg[:2] + exif(6) + jpeg[2:],
        "cut_off.jpg": jpeg[: len(jpeg) * 2 // 3],
        "only_header.jpg": jpeg[:40],
        "garbled.jpg": jpeg[: len(jpeg) // 2] + bytes(range(60)) + jpeg[len(jpeg) // 2 + 60 :],
        "colour.png": encoded(".png", colour),
        "alpha.png": encoded(".png", np.dstack([colour, colour[:, :, :1]])),
        "sixteen_bits.png": encoded(".png", colour.astype(np.uint16) * 257),
        "cut_off.png": encoded(".png", colour)[:200],
        "text.jpg": b"this is no image",
        "empty.jpg": b"",
    }


def image_cases(folder: Path, rng: np.random.Generator) -> list[dict[str, Any]]:
    cases = []
    for number, (name, data) in enumerate(image_files(rng).items()):
        (folder / name).write_bytes(data)
        try:
            rgb = decode_image(data)
        except DataError as error:
            cases.append({"file": name, "pixels": None, "error": str(error)})
            continue
        size = fit_size(*rgb.shape[:2], *((64, 96) if number % 2 else (20, 24)))
        (folder / f"{name}.rgb").write_bytes(rgb.tobytes())
        (folder / f"{name}.resized").write_bytes(resize_image(rgb, *size).tobytes())
        cases.append(
            {
                "file": name,
                "pixels": f"{name}.rgb",
                "height": rgb.shape[0],
                "width": rgb.shape[1],
                "resized": f"{name}.resized",
                "resized_height": size[0],
                "resized_width": size[1],
            }
        )
    return cases


def orientation_cases(folder: Path, rng: np.random.Generator) -> list[dict[str, Any]]:
    cases = []
    rgb = cv2.resize(rng.integers(0, 256, (4, 6, 3), np.uint8), (37, 22), interpolation=cv2.INTER_CUBIC)
    for suffix, orientation in product(FORMATS, range(1, 9)):
        data = with_orientation(rgb, orientation, suffix, "MM" if orientation % 2 else "II")
        name = f"orientation_{orientation}{suffix}"
        (folder / name).write_bytes(data)
        for listed, apply in ((None, True), (None, False), ((22, 37), True), ((37, 22), False)):
            chosen = orientation_to_apply(exif_orientation(data), rgb.shape[:2], listed or (None, None), apply)
            shown = decode_shown(data, listed or (None, None), apply)
            pixels = f"{name}.{len(cases)}.rgb"
            (folder / pixels).write_bytes(shown.tobytes())
            case = {"file": name, "listed": listed, "apply": apply, "orientation": orientation, "chosen": chosen}
            cases.append({**case, "pixels": pixels, "height": shown.shape[0], "width": shown.shape[1]})
    return cases


def size_cases(rng: np.random.Generator) -> list[list[int]]:
    cases = []
    for height, width in rng.integers(1, 3000, (200, 2)).tolist():
        canvas = (768, 1280) if width >= height else (1280, 768)
        for keep_ratio in (True, False):
            cases.append([height, width, *canvas, keep_ratio, *fit_size(height, width, *canvas, keep_ratio)])
    return cases


def boxes_for_masks(rng: np.random.Generator, height: int, width: int) -> list[list[float]]:
    """Boxes as the network's are: clipped to the image; some at its edges, thin, empty or on whole pixels."""
    limit = np.array([width, height] * 2)
    boxes = np.sort(rng.uniform(-0.2, 1.2, (10, 2, 2)), axis=1).reshape(10, 4) * limit
    thin = boxes[:2].copy()
    thin[0, 2] = thin[0, 0] + 1e-4
    thin[1, 3] = thin[1, 1] + 0.3
    edges = [[0, 0, width, height], [width / 2, height - 1.5, width, height], [0, height - 0.5, width / 3, height]]
    empty = [[width / 2, 0, width / 2, height], [width, 0, width, 0]]
    return np.clip(np.concatenate([boxes, np.round(boxes[:3]), thin, edges, empty]), 0, limit).tolist()


def mask_cases(rng: np.random.Generator) -> list[dict[str, Any]]:
    cases = []
    for height, width in ((37, 53), (64, 20), (1, 9), (9, 1), (120, 160)):
        for box in boxes_for_masks(rng, height, width):
            side = int(rng.choice([1, 2, 7, 28]))
            mask = cv2.GaussianBlur(rng.random((side, side), np.float32), (0, 0), 1) if side > 2 else None
            mask = rng.random((side, side), np.float32) if mask is None else (mask - mask.min()) / np.ptp(mask)
            for rule in PASTE_RULES:
                threshold = float(rng.choice([0.5, 0.25]))
                boxes = np.float32([box])
                (rle,) = encode_masks(mask[None], boxes, height, width, threshold, rule)
                cases.append(
                    {
                        "mask": mask.ravel().tolist(),
                        "box": boxes[0].tolist(),
                        "height": height,
                        "width": width,
                        "threshold": threshold,
                        "rule": rule,
                        "counts": rle["counts"].decode(),
                    }
                )
    return cases


def run_cases(rng: np.random.Generator) -> list[dict[str, Any]]:
    cases = []
    for longest in (2, 40, 5000, 200000):
        for count in (1, 2, 3, 4, 60):
            for _ in range(3):
                runs = rng.integers(1, longest, count).tolist()
                total = sum(runs)
                rle = coco_mask.frPyObjects({"counts": runs, "size": [total, 1]}, total, 1)
                cases.append({"runs": runs, "counts": rle["counts"].decode()})
    return cases


def record_cases(rng: np.random.Generator) -> list[dict[str, Any]]:
    cases = []
    for network, original in (((48, 64), (37, 53)), ((30, 64), (300, 640)), ((48, 21), (97, 43)), ((48, 64), (48, 64))):
        slots, side = 12, 14
        shape = (2, slots)
        boxes = np.sort(rng.uniform(-3, 67, (*shape, 2, 2)), axis=2).reshape(*shape, 4).astype(np.float32)
        scores = rng.choice(np.float32([0.9, 0.5, 1 / 3, 0.1, 0.06]), shape)  # with ties
        found = Detections(
            boxes,
            scores,
            rng.integers(1, 4, shape, np.int32),
            rng.random(shape) < 0.8,
            rng.random((*shape, side, side), np.float32),
        )
        for index, rule in product(range(2), PASTE_RULES):
            objects = objects_of_image(found, index, network, original)
            rles = encode_masks(objects.masks, objects.boxes, *original, rule=rule)
            bbox, segm = coco_records(1000 + index, objects, rles, [3, 17, 90])
            cases.append(
                {
                    **{name: getattr(found, name).ravel().tolist() for name in ("boxes", "scores", "labels", "masks")},
                    "valid": found.valid.ravel().astype(int).tolist(),
                    "slots": slots,
                    "mask_side": side,
                    "index": index,
                    "image_id": 1000 + index,
                    "network": network,
                    "original": original,
                    "category_ids": [3, 17, 90],
                    "rule": rule,
                    "bbox": bbox,
                    "segm": segm,
                }
            )
    return cases


def write_vectors(folder: Path) -> None:
    """Write sizes.json, images.json, masks.json, runs.json, records.json and the image files into ``folder``."""
    rng = np.random.default_rng(7)
    parts = {
        "sizes": size_cases(rng),
        "images": image_cases(folder, rng),
        "orientations": orientation_cases(folder, rng),
        "masks": mask_cases(rng),
        "runs": run_cases(rng),
        "records": record_cases(rng),
    }
    for name, cases in parts.items():
        (folder / f"{name}.json").write_text(json.dumps(cases))


if __name__ == "__main__":
    write_vectors(Path(sys.argv[1]))
