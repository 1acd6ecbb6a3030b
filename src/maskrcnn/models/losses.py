"""Elementwise losses shared by the heads."""

from __future__ import annotations

import mindspore as ms
from mindspore import Tensor, ops


def smooth_l1(prediction: Tensor, target: Tensor, beta: float) -> Tensor:
    """0.5 d^2 / beta below ``beta``, |d| - 0.5 beta above: Fast R-CNN, equation 3, with an adjustable corner.

    ``beta`` 0 is the L1 loss. Shapes broadcast; nothing is reduced.
    """
    distance = ops.abs(prediction - target)
    if beta <= 0:
        return distance
    near = ops.minimum(distance, Tensor(beta, ms.float32))
    # Equal to the two cases above, and smooth for automatic differentiation: near * (d - near / 2) / beta.
    return near * (distance - 0.5 * near) / beta


def sigmoid_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """-t log s(x) - (1-t) log(1-s(x)) without overflow; nothing is reduced."""
    return ops.relu(logits) - logits * target + ops.log1p(ops.exp(-ops.abs(logits)))
