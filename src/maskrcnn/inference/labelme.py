"""Detections as LabelMe files, to be corrected in a labelling tool and trained on again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask

VERSION = "5.2.1"
_ENLARGED = 4  # a contour runs along pixel centres; enlarged it lies an eighth of a pixel inside the mask's border
_TOLERANCE = 0.55  # pixels by which a polygon may differ from the mask's staircase
_SMALLEST = 3.0  # pixels of a part that is worth a polygon of its own


def labelme_content(
    image_name: str,
    size: tuple[int, int],
    names: Sequence[str],
    rles: Sequence[dict[str, Any]],
    scores: Sequence[float],
    image_data: str | None = None,
) -> dict[str, Any]:
    """Returns the content of a LabelMe file.

    An object in several parts has a polygon for each, joined by a group id. Holes, which LabelMe does not know, are
    filled. The score is the description.

    Args:
        image_name: of the image file beside the LabelMe file.
        size: height and width of the image.
        names: of the objects' classes.
        rles: COCO RLEs of the masks.
        scores: of the objects.
        image_data: the image file in base64; None leaves it out.
    """
    shapes = []
    for group, (name, rle, score) in enumerate(zip(names, rles, scores), 1):
        polygons = mask_polygons(coco_mask.decode(rle))
        for polygon in polygons:
            shapes.append(
                {
                    "label": name,
                    "points": polygon,
                    "group_id": group if len(polygons) > 1 else None,
                    "description": f"{score:.3f}",
                    "shape_type": "polygon",
                    "flags": {},
                }
            )
    return {
        "version": VERSION,
        "flags": {},
        "shapes": shapes,
        "imagePath": image_name,
        "imageData": image_data,
        "imageHeight": size[0],
        "imageWidth": size[1],
    }


def mask_polygons(mask: np.ndarray) -> list[list[list[float]]]:
    """Returns the outlines of a mask's parts.

    Args:
        mask: uint8 or bool [h, w].

    Returns:
        A list of polygons [[x, y], ...] in continuous pixel coordinates, largest first; parts of less than three
        pixels are left out unless there is nothing else.
    """
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    if not width:
        return []
    part = mask[y : y + height, x : x + width].astype(np.uint8)
    large = np.kron(part, np.ones((_ENLARGED, _ENLARGED), np.uint8))
    contours, _ = cv2.findContours(large, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    contours = sorted(contours, key=cv2.contourArea, reverse=True)
    kept = [c for c in contours if cv2.contourArea(c) >= _SMALLEST * _ENLARGED**2] or contours[:1]
    polygons = []
    for contour in kept:
        corners = cv2.approxPolyDP(contour, _TOLERANCE * _ENLARGED, closed=True)[:, 0].astype(np.float64)
        points = (corners + 0.5) / _ENLARGED + (x, y)
        if len(points) < 3:  # a line of pixels
            low, high = points.min(0) - 0.5, points.max(0) + 0.5
            points = np.array([low, [high[0], low[1]], high, [low[0], high[1]]])
        polygons.append(points.round(2).tolist())
    return polygons
