"""Batch normalisation with fixed statistics folded into the convolution before it, once and for all."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn

from maskrcnn.models.layers import BATCH_NORM_EPS, FeatureCell, FrozenBatchNorm


class FoldedNorm(nn.Cell):
    """What is left of a folded normalisation: the bias [O] of its convolution."""

    folds = True

    def __init__(self, bias: np.ndarray) -> None:
        super().__init__()
        self.bias = Parameter(Tensor(bias, ms.float32), name="bias", requires_grad=False)

    def fold(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the convolution's weight, which is the folded one already, and its bias."""
        return weight, self.bias


class ConvNormPairs:
    """Operations that compute nothing, and note which convolution each normalisation follows.

    Attributes:
        pairs: Convolutions and their normalisations.
    """

    def __init__(self) -> None:
        self.pairs: list[tuple[nn.Conv2d, nn.Cell]] = []

    def conv_norm(self, conv: nn.Conv2d, norm: nn.Cell, x: None) -> None:
        self.pairs.append((conv, norm))

    def __getattr__(self, operation: str) -> Callable[..., None]:
        return lambda *operands: None

    @classmethod
    def of(cls, cell: FeatureCell) -> list[tuple[nn.Conv2d, nn.Cell]]:
        """Returns the pairs of a cell itself, not of the cells within it."""
        notes = cls()
        inputs = len(signature(cell.forward).parameters) - 1
        cell.forward(notes, *[None] * inputs)
        return notes.pairs


def fold_norms(network: nn.Cell) -> None:
    """Folds every batch normalisation of ``network``, frozen or trained, in place; group normalisation stays.

    The network then computes what it computed in inference, up to float32 rounding, and cannot be trained any more.
    """
    folded: dict[int, FoldedNorm] = {}
    for _, cell in network.cells_and_names():
        for conv, norm in ConvNormPairs.of(cell) if isinstance(cell, FeatureCell) else []:
            if isinstance(norm, (FrozenBatchNorm, nn.BatchNorm2d)):
                folded[id(norm)] = _folded(conv, norm)
    for _, cell in list(network.cells_and_names()):
        for position, (name, part) in enumerate(list(cell.name_cells().items())):
            if id(part) not in folded:
                continue
            if isinstance(cell, nn.SequentialCell):
                cell[position] = folded[id(part)]
            else:
                setattr(cell, name, folded[id(part)])
    for name, parameter in network.parameters_and_names():
        parameter.name = name  # a replaced cell does not know where it stands


def _folded(conv: nn.Conv2d, norm: FrozenBatchNorm | nn.BatchNorm2d) -> FoldedNorm:
    """Sets the convolution's weight to w * scale, and returns the bias beta - mean * scale."""
    parts = (norm.gamma, norm.beta, norm.moving_mean, norm.moving_variance)
    gamma, beta, mean, variance = (part.asnumpy().astype(np.float64) for part in parts)
    scale = gamma / np.sqrt(variance + BATCH_NORM_EPS)
    weight = conv.weight.asnumpy() * scale.reshape(-1, 1, 1, 1)
    conv.weight.set_data(Tensor(weight.astype(np.float32)))
    return FoldedNorm((beta - mean * scale).astype(np.float32))
