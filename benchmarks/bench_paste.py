"""Seconds to turn the 100 detections of a 480x640 image into COCO RLE, next to a paste over the whole image.

Usage: python benchmarks/bench_paste.py [--repeat N]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

import numpy as np
from pycocotools import mask as coco_mask

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from maskrcnn.inference.paste import encode_masks, paste_mask

HEIGHT, WIDTH, COUNT = 480, 640, 100


def detections(rng: np.random.Generator, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """100 blobs of 28x28 probabilities and boxes with sides from ``low`` to ``high`` of the image's."""
    side = np.exp(rng.uniform(np.log(low), np.log(high), (COUNT, 2))) * [WIDTH, HEIGHT]
    corner = rng.uniform(0, 1, (COUNT, 2)) * ([WIDTH, HEIGHT] - side)
    grid = (np.arange(28) + 0.5) / 14 - 1
    distance = grid[:, None] ** 2 + grid[None, :] ** 2 + rng.normal(0, 0.1, (COUNT, 28, 28))
    masks = 1 / (1 + np.exp(8 * (distance - 0.7)))
    return masks.astype(np.float32), np.concatenate([corner, corner + side], 1).astype(np.float32)


def whole_bitmaps(masks: np.ndarray, boxes: np.ndarray) -> list[dict]:
    """The same masks drawn into images and encoded by pycocotools."""
    rles = []
    for mask, box in zip(masks, boxes):
        x, y, columns = paste_mask(mask, box, HEIGHT, WIDTH)
        bitmap = np.zeros((HEIGHT, WIDTH), np.uint8, order="F")
        bitmap[y : y + columns.shape[1], x : x + columns.shape[0]] = (columns >= 0.5).T
        rles.append(coco_mask.encode(bitmap))
    return rles


def median_ms(function, repeat: int) -> float:
    function()
    seconds = []
    for _ in range(repeat):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return 1000 * statistics.median(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=10)
    repeat = parser.parse_args().repeat
    rng = np.random.default_rng(0)
    print(f"{COUNT} detections, {HEIGHT}x{WIDTH}, median of {repeat}, milliseconds")
    print(f"{'sides of the objects':<26}{'paste + RLE':>12}{'whole bitmaps + pycocotools encode':>37}")
    for name, low, high in (("2 % to 100 % of the image", 0.02, 1.0), ("the whole image (worst)", 1.0, 1.0)):
        masks, boxes = detections(rng, low, high)
        ours = median_ms(lambda m=masks, b=boxes: encode_masks(m, b, HEIGHT, WIDTH), repeat)
        plain = median_ms(lambda m=masks, b=boxes: whole_bitmaps(m, b), repeat)
        print(f"{name:<26}{ours:>12.1f}{plain:>37.1f}")


if __name__ == "__main__":
    main()
