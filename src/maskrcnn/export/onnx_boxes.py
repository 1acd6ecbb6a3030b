"""Box arithmetic, suppression and RoIAlign as ONNX; the same formulas, in the same order, as ``ops/``.

Boxes are [N,R,4], x1, y1, x2, y2 in pixels. All shapes are fixed but for the list of survivors inside ``nms``, which
becomes flags at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from maskrcnn.export.onnx_graph import OnnxGraph
from maskrcnn.ops.box_coder import MAX_LOG_SCALE, BoxCoder
from maskrcnn.ops.roi_align import RoIAlignSettings


def gather_rows(g: OnnxGraph, table: str, index: str, images: int, rows: int, columns: int) -> str:
    """Takes rows of each image's table [N,rows,columns] at index int32 [N,K]: [N,K,columns]."""
    flat = g.reshape(table, images * rows, columns)
    first = (np.arange(images, dtype=np.int32) * rows).reshape(images, 1)
    return g.op("Gather", flat, g.op("Add", index, first), axis=0)


def top(g: OnnxGraph, values: str, count: int) -> tuple[str, str]:
    """Returns the ``count`` largest of each row of float32 [N,R], best first, and their indices int32."""
    best, index = g.op("TopK", values, np.array([count], np.int64), axis=1, outputs=2)
    return best, g.cast(index, np.int32)


def divide(g: OnnxGraph, index: str, by: int) -> tuple[str, str]:
    """Returns quotient and remainder of int32 values that are not negative."""
    divisor = np.array(by, np.int32)
    quotient = g.op("Div", index, divisor)
    return quotient, g.op("Sub", index, g.op("Mul", quotient, divisor))


def limits(g: OnnxGraph, image_shape: str, coder: BoxCoder) -> str:
    """Returns what boxes end at: width, height, width, height [N,1,4] of images with height and width float32 [N,2]."""
    if coder.convention == "inclusive":
        image_shape = g.op("Sub", image_shape, np.float32(1))
    return g.op("Unsqueeze", g.op("Gather", image_shape, np.array([1, 0, 1, 0], np.int64), axis=1), np.array([1]))


def sides(g: OnnxGraph, boxes: str) -> str:
    """Returns width and height [N,R,2]."""
    return g.op("Sub", g.slice(boxes, 2, 2, 4), g.slice(boxes, 2, 0, 2))


def shorter_side(g: OnnxGraph, boxes: str) -> str:
    """Returns the smaller of width and height [N,R]."""
    both = sides(g, boxes)
    shorter = g.op("Min", g.slice(both, 2, 0, 1), g.slice(both, 2, 1, 2))
    return g.op("Squeeze", shorter, np.array([2]))


def to_continuous(g: OnnxGraph, boxes: str, coder: BoxCoder) -> str:
    """``BoxCoder.to_continuous``."""
    return g.op("Add", boxes, np.float32([0, 0, 1, 1])) if coder.convention == "inclusive" else boxes


def decode(g: OnnxGraph, deltas: str, anchors: str, coder: BoxCoder) -> str:
    """``BoxCoder.decode`` of regression outputs and anchors [N,R,4]."""
    inclusive = coder.convention == "inclusive"
    anchors = to_continuous(g, anchors, coder)
    deltas = g.op("Add", g.op("Mul", deltas, np.float32(coder.stds)), np.float32(coder.means))
    size = sides(g, anchors)
    centre = g.op("Add", g.slice(anchors, 2, 0, 2), g.op("Mul", size, np.float32(0.5)))
    centre = g.op("Add", g.op("Mul", g.slice(deltas, 2, 0, 2), size), centre)
    step = g.op("Min", g.slice(deltas, 2, 2, 4), np.float32(MAX_LOG_SCALE))
    scale = g.op("Exp", g.op("Max", step, np.float32(-MAX_LOG_SCALE)) if inclusive else step)
    half = g.op("Mul", g.op("Mul", scale, size), np.float32(0.5))
    boxes = g.op("Concat", g.op("Sub", centre, half), g.op("Add", centre, half), axis=2)
    return g.op("Sub", boxes, np.float32([0, 0, 1, 1])) if inclusive else boxes


def large_enough(g: OnnxGraph, boxes: str, min_size: float, coder: BoxCoder) -> str:
    """``BoxCoder.large_enough``: bool [N,R]."""
    return g.op("Greater", shorter_side(g, to_continuous(g, boxes, coder)), np.float32(min_size))


def clip(g: OnnxGraph, boxes: str, limit: str) -> str:
    """``BoxCoder.clip`` with the ``limits``."""
    return g.op("Min", g.op("Max", boxes, np.float32(0)), limit)


def nms(g: OnnxGraph, boxes: str, valid: str, groups: np.ndarray, most: int, threshold: float) -> str:
    """Suppresses greedily within each group of boxes.

    Args:
        g: The graph.
        boxes: [N,R,4], best first within each group.
        valid: bool [N,R]; the others neither survive nor suppress.
        groups: int [R], the group of each slot: one "class" of the operator each.
        most: Most survivors of a group.
        threshold: IoU above which the lesser of two boxes goes.

    Returns:
        The survivors, float32 [N,R], 1 or 0.
    """
    slots = len(groups)
    of_group = groups == np.arange(groups.max() + 1)[:, None]
    rank = np.where(of_group, np.arange(slots, 0, -1), 0).astype(np.float32)  # falling, and 0 in other groups
    counted = g.op("Unsqueeze", g.cast(valid, np.float32), np.array([1]))
    settings = np.array([most]), np.array([threshold], np.float32), np.array([0], np.float32)
    survivors = g.op("NonMaxSuppression", boxes, g.op("Mul", counted, rank), *settings)  # rows of image, group, slot
    place = g.op("Gather", survivors, np.array([0, 2], np.int64), axis=1)
    number = g.op("Gather", g.op("Shape", survivors), np.array([0], np.int64), axis=0)
    ones = g.op("Expand", np.float32(1), number)
    none = g.op("Mul", g.cast(valid, np.float32), np.float32(0))
    return g.op("ScatterND", none, place, ones)


class PackedLevels(NamedTuple):
    """P2..P5 of a batch as one value [L*N,C,H,W], all images of the first level before those of the second.

    Attributes:
        value: The name in the graph.
        rows: Where each level begins in its map.
        columns: As ``rows``, along the other axis.
    """

    value: str
    rows: tuple[int, ...]
    columns: tuple[int, ...]


def pack_levels(g: OnnxGraph, features: Sequence[str], shapes: Sequence[tuple[int, int]]) -> PackedLevels:
    """Pads levels [N,C,H_l,W_l] to maps of one size, so that one RoIAlign serves RoIs of all levels.

    RoIAlign must find there what it would find in the level itself. To the left and above, a sample up to one cell
    outside counts as on the border, and none lies further out: there the border is repeated. To the right and below,
    samples can lie further out and count as zero then: there each level ends where its map ends.
    """
    height = 1 + max(h for h, _ in shapes)
    width = 1 + max(w for _, w in shapes)
    rows = tuple(height - h for h, _ in shapes)
    columns = tuple(width - w for _, w in shapes)
    padded = []
    for feature, row, column in zip(features, rows, columns):
        padded.append(g.op("Pad", feature, np.array([0, 0, row, column, 0, 0, 0, 0]), mode="edge"))
    return PackedLevels(g.op("Concat", *padded, axis=0), rows, columns)


def level_of(g: OnnxGraph, boxes: str, finest_scale: float, number: int) -> str:
    """``ops.roi_align.level_of``: int32 [R] of boxes [R,4]."""
    size = g.op("Sub", g.slice(boxes, 1, 2, 4), g.slice(boxes, 1, 0, 2))
    area = g.op("Mul", g.slice(size, 1, 0, 1), g.slice(size, 1, 1, 2))
    borders = np.array([[(finest_scale * 2.0 ** (step - 1e-6)) ** 2 for step in range(1, number)]], np.float32)
    above = g.cast(g.op("Not", g.op("Less", area, borders)), np.int32)  # [R, levels - 1]
    return g.op("ReduceSum", above, np.array([1]), keepdims=0)


def roi_align(
    g: OnnxGraph,
    packed: PackedLevels,
    boxes: str,
    images: int,
    count: int,
    settings: RoIAlignSettings,
    coder: BoxCoder,
) -> str:
    """``RoIPool``: features [N*count, C, size, size] of boxes [N,count,4], each from its level."""
    boxes = g.reshape(boxes, images * count, 4)
    level = level_of(g, to_continuous(g, boxes, coder), settings.finest_scale, len(settings.strides))
    scale = 1 / np.array(settings.strides, np.float32).reshape(-1, 1)
    first = np.array([packed.columns, packed.rows] * 2, np.float32).T
    rois = g.op("Mul", boxes, g.op("Gather", scale, level, axis=0))
    rois = g.op("Add", rois, g.op("Gather", first, level, axis=0))
    image = np.repeat(np.arange(images), count)
    place = g.op("Add", g.op("Mul", g.cast(level, np.int64), np.array(images)), image)
    attributes = {"output_height": settings.size, "output_width": settings.size, "spatial_scale": 1.0}
    if settings.aligned:  # opset 16; the operator of opset 10 has no such choice and does not align
        attributes["coordinate_transformation_mode"] = "half_pixel"
    return g.op("RoiAlign", packed.value, rois, place, sampling_ratio=settings.sampling, **attributes)
