"""Areas and overlaps of boxes: x1, y1, x2, y2 in continuous pixels, width = x2 - x1.

Float64 numpy twins of every function are in ``reference.py``; regression and conventions are in ``box_coder.py``.
"""

from __future__ import annotations

from mindspore import Tensor, ops


def area(boxes: Tensor) -> Tensor:
    """Returns the areas [...] of boxes [...,4] in square pixels; zero where a box is empty or inside out."""
    return ops.relu(boxes[..., 2] - boxes[..., 0]) * ops.relu(boxes[..., 3] - boxes[..., 1])


def intersection(a: Tensor, b: Tensor) -> Tensor:
    """Returns the area that every pair of boxes [N,4] and [M,4] has in common: [N,M]."""
    left = ops.maximum(a[:, None, 0], b[None, :, 0])
    top = ops.maximum(a[:, None, 1], b[None, :, 1])
    right = ops.minimum(a[:, None, 2], b[None, :, 2])
    bottom = ops.minimum(a[:, None, 3], b[None, :, 3])
    return ops.relu(right - left) * ops.relu(bottom - top)


def pairwise_iou(a: Tensor, b: Tensor) -> Tensor:
    """Returns the intersection over union of every pair of boxes [N,4] and [M,4]: [N,M]; 0 where both are empty."""
    overlap = intersection(a, b)
    union = area(a)[:, None] + area(b)[None, :] - overlap
    return ops.where(union > 0, overlap / ops.where(union > 0, union, ops.ones_like(union)), overlap)


def pairwise_ioa(a: Tensor, b: Tensor) -> Tensor:
    """Returns the share of each box of ``a`` [N,4] that lies inside each box of ``b`` [M,4]: [N,M]; 0 if empty."""
    overlap = intersection(a, b)
    own = area(a)[:, None]
    return ops.where(own > 0, overlap / ops.where(own > 0, own, ops.ones_like(own)), overlap * 0.0)


def sides(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Returns widths and heights of boxes [...,4], at least 1e-6 pixels."""
    return (
        ops.maximum(boxes[..., 2] - boxes[..., 0], Tensor(1e-6, boxes.dtype)),
        ops.maximum(boxes[..., 3] - boxes[..., 1], Tensor(1e-6, boxes.dtype)),
    )
