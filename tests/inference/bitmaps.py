"""Pasted masks as whole images, for the tests that look at every pixel."""

from __future__ import annotations

import numpy as np

from maskrcnn.inference.paste import paste_mask


def paste_probabilities(mask: np.ndarray, box: np.ndarray, height: int, width: int, rule: str = "exact") -> np.ndarray:
    """One mask [m, m] at box [4] in an image of zeros: float32 [height, width]."""
    x, y, columns = paste_mask(mask, box, height, width, rule)
    image = np.zeros((height, width), np.float32)
    image[y : y + columns.shape[1], x : x + columns.shape[0]] = columns.T
    return image


def paste_bitmaps(
    masks: np.ndarray, boxes: np.ndarray, height: int, width: int, threshold: float = 0.5, rule: str = "exact"
) -> np.ndarray:
    """n masks [n, m, m] at boxes [n, 4], cut at the threshold: uint8 [n, height, width] of 0 and 1."""
    pasted = np.zeros((len(masks), height, width), np.uint8)
    for bitmap, mask, box in zip(pasted, masks, boxes):
        bitmap[:] = paste_probabilities(mask, box, height, width, rule) >= np.float32(threshold)
    return pasted
