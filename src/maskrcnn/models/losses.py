"""Elementwise losses shared by the heads, and what sums of them are divided by."""

from __future__ import annotations

import mindspore as ms
from mindspore import Tensor, ops


def smooth_l1(prediction: Tensor, target: Tensor, beta: float) -> Tensor:
    """Returns 0.5 d^2 / beta below ``beta``, |d| - 0.5 beta above: Fast R-CNN, equation 3, with an adjustable corner.

    Args:
        prediction: float32.
        target: float32; shapes broadcast, nothing is reduced.
        beta: Where the loss turns from square to straight; 0 is the L1 loss.
    """
    distance = ops.abs(prediction - target)
    if beta <= 0:
        return distance
    near = ops.minimum(distance, Tensor(beta, ms.float32))
    # Equal to the two cases above, and smooth for automatic differentiation: near * (d - near / 2) / beta.
    return near * (distance - 0.5 * near) / beta


def sigmoid_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Returns -t log s(x) - (1-t) log(1-s(x)) without overflow; nothing is reduced."""
    # Cases instead of relu and abs, whose derivatives at 0 are both 0: the sum's must be s(0) - t = 1/2 - t. Logits of
    # exactly 0 are common in a fresh network, wherever the image is padded.
    positive = logits >= 0
    above = ops.where(positive, logits, ops.zeros_like(logits))
    return above - logits * target + ops.log1p(ops.exp(ops.where(positive, -logits, logits)))


def normalizer(total: Tensor, parts: int = 1) -> Tensor:
    """Returns what a loss that is a sum over ``total`` samples is divided by, at least one sample.

    If the samples lie in the batches of several ranks, it is their number in all of them over the number of ranks: then
    the mean over the ranks, of losses and of gradients, is that of one batch that holds all samples.

    Args:
        total: float32, numbers of samples in all batches.
        parts: Ranks whose batches these are.
    """
    return ops.maximum(total, Tensor(1.0, ms.float32)) / parts
