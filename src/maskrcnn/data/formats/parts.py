"""The shapes that make up one object, joined."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask as coco_mask

from maskrcnn.data.formats.labels import LabelledObject


class Part(NamedTuple):
    """One shape: polygons, a COCO RLE, or a box with the polygon that is its outline."""

    where: str
    box: tuple[float, float, float, float] | None = None
    polygons: list[list[float]] | None = None
    rle: dict[str, Any] | None = None


def join_parts(label: str, parts: Sequence[Part], rectangles_are_masks: bool = False) -> LabelledObject:
    """Returns one object of ``parts``: a box where all of them are boxes, otherwise the union of their areas."""
    where = ", ".join(part.where for part in parts[:3]) + (", ..." if len(parts) > 3 else "")
    boxes = [part.box for part in parts if part.box is not None]
    if len(boxes) == len(parts) and not rectangles_are_masks:
        corners = np.array(boxes)
        return LabelledObject(label, where, (*corners[:, :2].min(0).tolist(), *corners[:, 2:].max(0).tolist()))
    rles = [part.rle for part in parts if part.rle is not None]
    polygons = [polygon for part in parts if part.rle is None for polygon in part.polygons]
    if not rles:
        return LabelledObject(label, where, segmentation=polygons)
    height, width = rles[0]["size"]
    usable = [polygon for polygon in polygons if len(polygon) >= 6]
    outlines = coco_mask.frPyObjects(usable, height, width) if usable else []
    union = coco_mask.merge([*rles, *outlines])
    return LabelledObject(label, where, segmentation={"size": [height, width], "counts": union["counts"].decode()})
