"""Make ``roi_align.npz`` with torchvision's operator: PYTHON make_roi_align.py, where PYTHON has torch and torchvision.

A map [1,4,40,56] of stride 8, RoIs [n,4] within its 320 x 448 pixels, and RoIAlign of them with adaptive sampling for
7 and 14 cells, with and without the half-pixel shift.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torchvision.ops import roi_align

STRIDE, HEIGHT, WIDTH = 8, 320, 448


def main() -> None:
    rng = np.random.default_rng(0)
    feature = rng.normal(size=(1, 4, HEIGHT // STRIDE, WIDTH // STRIDE)).astype(np.float32)
    corner = rng.uniform(0, 0.9, (24, 2)) * [WIDTH, HEIGHT]
    side = 2 ** rng.uniform(1, 8.7, (24, 2))
    rois = np.concatenate([corner, np.minimum(corner + side, [WIDTH, HEIGHT])], 1)
    edges = [[0, 0, WIDTH, HEIGHT], [0, 0, WIDTH, 6.5], [3, 0, 7, HEIGHT], [100, 50, 100.25, 50.5]]
    rois = np.concatenate([rois, edges]).astype(np.float32)
    arrays = {"map": feature, "rois": rois, "stride": np.array(STRIDE)}
    with_image = np.concatenate([np.zeros((len(rois), 1), np.float32), rois], 1)
    for size in (7, 14):
        for aligned in (True, False):
            pooled = roi_align(torch.tensor(feature), torch.tensor(with_image), size, 1 / STRIDE, 0, aligned)
            arrays[f"{'aligned' if aligned else 'older'}_{size}"] = pooled.numpy()
    np.savez_compressed(Path(__file__).with_name("roi_align.npz"), **arrays)


if __name__ == "__main__":
    main()
