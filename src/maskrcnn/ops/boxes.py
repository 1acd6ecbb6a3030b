"""Box arithmetic. Boxes are x1,y1,x2,y2 in continuous pixels: width = x2 - x1.

The weights of MindSpore's model zoo were trained with inclusive boxes, where x2 and y2 are the last pixel's: width =
x2 - x1 + 1. ``inclusive=True`` stands for that convention, in which continuous boxes with x2 - 1 and y2 - 1 go in and
come out. Float64 numpy twins of every function are in ``reference.py``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from mindspore import Tensor, ops

# The largest log-scale step a regressor may ask for: 1000 pixels from a 16 pixel anchor.
MAX_LOG_SCALE = math.log(1000 / 16)


def from_inclusive(boxes: Tensor) -> Tensor:
    """Inclusive boxes [...,4] as continuous ones."""
    return boxes + Tensor((0.0, 0.0, 1.0, 1.0), boxes.dtype)


def to_inclusive(boxes: Tensor) -> Tensor:
    """Continuous boxes [...,4] as inclusive ones."""
    return boxes - Tensor((0.0, 0.0, 1.0, 1.0), boxes.dtype)


def area(boxes: Tensor) -> Tensor:
    """[...,4] to [...]; zero where a box is empty or turned inside out."""
    return ops.relu(boxes[..., 2] - boxes[..., 0]) * ops.relu(boxes[..., 3] - boxes[..., 1])


def intersection(a: Tensor, b: Tensor) -> Tensor:
    """Area of overlap of every pair: [N,4] and [M,4] to [N,M]."""
    left = ops.maximum(a[:, None, 0], b[None, :, 0])
    top = ops.maximum(a[:, None, 1], b[None, :, 1])
    right = ops.minimum(a[:, None, 2], b[None, :, 2])
    bottom = ops.minimum(a[:, None, 3], b[None, :, 3])
    return ops.relu(right - left) * ops.relu(bottom - top)


def pairwise_iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of every pair: [N,4] and [M,4] to [N,M]; 0 where both are empty."""
    overlap = intersection(a, b)
    union = area(a)[:, None] + area(b)[None, :] - overlap
    return ops.where(union > 0, overlap / ops.where(union > 0, union, ops.ones_like(union)), overlap)


def pairwise_ioa(a: Tensor, b: Tensor) -> Tensor:
    """Share of each box of ``a`` [N,4] that lies inside each box of ``b`` [M,4]: [N,M]."""
    overlap = intersection(a, b)
    own = area(a)[:, None]
    return ops.where(own > 0, overlap / ops.where(own > 0, own, ops.ones_like(own)), overlap * 0.0)


def encode_boxes(
    boxes: Tensor,
    anchors: Tensor,
    means: Sequence[float] = (0, 0, 0, 0),
    stds: Sequence[float] = (1, 1, 1, 1),
    inclusive: bool = False,
) -> Tensor:
    """Regression targets (tx,ty,tw,th) of ``boxes`` [...,4] relative to ``anchors`` [...,4].

    Girshick et al., R-CNN, appendix C, equations 6-9, then (t - mean) / std. Sides are kept above 1e-6 so that
    padded slots give finite numbers.
    """
    if inclusive:
        boxes, anchors = from_inclusive(boxes), from_inclusive(anchors)
    aw, ah = sides(anchors)
    bw, bh = sides(boxes)
    tx = ((boxes[..., 0] + 0.5 * bw) - (anchors[..., 0] + 0.5 * aw)) / aw
    ty = ((boxes[..., 1] + 0.5 * bh) - (anchors[..., 1] + 0.5 * ah)) / ah
    targets = ops.stack((tx, ty, ops.log(bw / aw), ops.log(bh / ah)), -1)
    return (targets - Tensor(means, targets.dtype)) / Tensor(stds, targets.dtype)


def decode_boxes(
    deltas: Tensor,
    anchors: Tensor,
    means: Sequence[float] = (0, 0, 0, 0),
    stds: Sequence[float] = (1, 1, 1, 1),
    inclusive: bool = False,
) -> Tensor:
    """Boxes [...,4] from regression outputs [...,4] and anchors that broadcast to them (R-CNN, equations 1-4).

    The log-scale steps are at most log(1000/16); for inclusive boxes also at least -log(1000/16), as in MindSpore's
    BoundingBoxDecode.
    """
    if inclusive:
        anchors = from_inclusive(anchors)
    deltas = deltas * Tensor(stds, deltas.dtype) + Tensor(means, deltas.dtype)
    aw = anchors[..., 2] - anchors[..., 0]
    ah = anchors[..., 3] - anchors[..., 1]
    cx = deltas[..., 0] * aw + (anchors[..., 0] + 0.5 * aw)
    cy = deltas[..., 1] * ah + (anchors[..., 1] + 0.5 * ah)
    least = -MAX_LOG_SCALE if inclusive else None
    w = ops.exp(ops.clamp(deltas[..., 2], least, MAX_LOG_SCALE)) * aw
    h = ops.exp(ops.clamp(deltas[..., 3], least, MAX_LOG_SCALE)) * ah
    boxes = ops.stack((cx - 0.5 * w, cy - 0.5 * h, cx + 0.5 * w, cy + 0.5 * h), -1)
    return to_inclusive(boxes) if inclusive else boxes


def large_enough(boxes: Tensor, min_size: float, inclusive: bool = False) -> Tensor:
    """bool [...] of boxes [...,4]: both sides are longer than ``min_size`` pixels."""
    if inclusive:
        boxes = from_inclusive(boxes)
    return ops.logical_and(boxes[..., 2] - boxes[..., 0] > min_size, boxes[..., 3] - boxes[..., 1] > min_size)


def clip_boxes(boxes: Tensor, height: Tensor, width: Tensor, inclusive: bool = False) -> Tensor:
    """Boxes [...,4] cut to [0,width] x [0,height], inclusive ones to one pixel less.

    Height and width are scalars or tensors that broadcast to [...].
    """
    if inclusive:
        height, width = height - 1.0, width - 1.0
    zero = ops.zeros_like(boxes[..., 0])
    return ops.stack(
        (
            ops.minimum(ops.maximum(boxes[..., 0], zero), width),
            ops.minimum(ops.maximum(boxes[..., 1], zero), height),
            ops.minimum(ops.maximum(boxes[..., 2], zero), width),
            ops.minimum(ops.maximum(boxes[..., 3], zero), height),
        ),
        -1,
    )


def sides(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Width and height of boxes [...,4], at least 1e-6."""
    return (
        ops.maximum(boxes[..., 2] - boxes[..., 0], Tensor(1e-6, boxes.dtype)),
        ops.maximum(boxes[..., 3] - boxes[..., 1], Tensor(1e-6, boxes.dtype)),
    )
