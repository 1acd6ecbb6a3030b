"""Boundary IoU (Cheng et al., "Boundary IoU", CVPR 2021): how well two masks agree near their contours.

Mask IoU hardly sees the contour of a large object, since nearly all its pixels lie inside. Boundary IoU compares only
the pixels of each mask that are closer than a distance d to that mask's own contour (section 4), d being 2 % of the
image's diagonal. Boundary AP is COCO's AP with the smaller of mask IoU and boundary IoU in place of the mask IoU
(section 5).
"""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.cocoeval import COCOeval

DISTANCE_RATIO = 0.02  # of the image's diagonal, the paper's choice for COCO and LVIS


def boundary_distance(height: int, width: int, ratio: float = DISTANCE_RATIO) -> int:
    """Returns the distance d in pixels for an image: ``ratio`` of its diagonal, rounded, at least 1."""
    return max(1, round(ratio * math.hypot(height, width)))


def boundary_region(mask: np.ndarray, distance: int) -> np.ndarray:
    """Returns the pixels of a mask that lie within ``distance`` of its contour.

    A pixel of the mask belongs to the region if a pixel outside the mask, or beyond the image's edge, is at most
    ``distance`` columns and ``distance`` rows away from it.

    Args:
        mask: bool or uint8 [height, width].
        distance: In pixels, at least 1.

    Returns:
        uint8 [height, width] of 0 and 1.
    """
    region = np.zeros(mask.shape, np.uint8)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if len(rows):
        frame = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        inside = np.pad(mask[frame].astype(np.uint8), 1)  # erosion must see what is not mask on every side
        side = 2 * distance + 1
        eroded = cv2.erode(inside, np.ones((side, side), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0)
        region[frame] = (inside - eroded)[1:-1, 1:-1]
    return region


def boundary_iou(first: np.ndarray, second: np.ndarray, ratio: float = DISTANCE_RATIO) -> float:
    """Returns the IoU of the boundary regions of two masks [height, width] of one image; 0 if both are empty."""
    distance = boundary_distance(*first.shape, ratio)
    a, b = boundary_region(first, distance), boundary_region(second, distance)
    union = np.count_nonzero(a | b)
    return np.count_nonzero(a & b) / union if union else 0.0


class BoundaryEval(COCOeval):
    """pycocotools' evaluation of masks by the smaller of mask IoU and boundary IoU."""

    def computeIoU(self, imgId: int, catId: int) -> Any:
        """Returns float64 [detections by score, objects], empty where there are none of both.

        Pairs whose mask IoU is below every threshold keep it: the smaller of the two does not match either.
        """
        ious = super().computeIoU(imgId, catId)
        pairs = np.argwhere(np.asarray(ious) >= min(self.params.iouThrs)) if len(ious) else ()
        if not len(pairs):
            return ious
        objects, detections = self._gts[imgId, catId], self._dts[imgId, catId]
        order = np.argsort([-detection["score"] for detection in detections], kind="mergesort")  # that of the rows
        of_detection = {d: _region_rle(detections[order[d]]) for d in np.unique(pairs[:, 0])}
        of_object = {g: _region_rle(objects[g]) for g in np.unique(pairs[:, 1])}
        for d, g in pairs:
            crowd = [int(objects[g]["iscrowd"])]
            ious[d, g] = min(ious[d, g], coco_mask.iou([of_detection[d]], [of_object[g]], crowd)[0, 0])
        return ious


def _region_rle(annotation: dict[str, Any]) -> dict[str, Any]:
    """The boundary region of an annotation whose segmentation is an RLE, as an RLE."""
    mask = coco_mask.decode(annotation["segmentation"])
    return coco_mask.encode(np.asfortranarray(boundary_region(mask, boundary_distance(*mask.shape))))
