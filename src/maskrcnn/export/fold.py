"""Batch normalisation with fixed statistics folded into the convolution before it, once and for all."""

from __future__ import annotations

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn

from maskrcnn.models.layers import BATCH_NORM_EPS, ConvNormCell, FrozenBatchNorm


class FoldedNorm(nn.Cell):
    """What is left of a folded normalisation: the bias [O] of its convolution."""

    def __init__(self, bias: np.ndarray) -> None:
        super().__init__()
        self.bias = Parameter(Tensor(bias, ms.float32), name="bias", requires_grad=False)

    def fold(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """As ``FrozenBatchNorm.fold``: the convolution's weight is the folded one already."""
        return weight, self.bias


def fold_norms(network: nn.Cell) -> None:
    """Fold every batch normalisation of ``network``, frozen or trained, in place; group normalisation stays.

    The network then computes what it computed in inference, up to float32 rounding, and cannot be trained any more.
    """
    for _, cell in list(network.cells_and_names()):
        if isinstance(cell, ConvNormCell):
            _fold_cell(cell)
    for name, parameter in network.parameters_and_names():
        parameter.name = name  # a replaced cell does not know where it stands


def _fold_cell(cell: ConvNormCell) -> None:
    for conv_name, norm_name in (("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3")):
        if hasattr(cell, norm_name) and _is_batch_norm(getattr(cell, norm_name)):
            setattr(cell, norm_name, _folded(getattr(cell, conv_name), getattr(cell, norm_name)))
            cell.folded = True
    if getattr(cell, "has_projection", False) and _is_batch_norm(cell.down_sample_layer[1]):
        cell.down_sample_layer[1] = _folded(cell.down_sample_layer[0], cell.down_sample_layer[1])


def _is_batch_norm(cell: nn.Cell) -> bool:
    return isinstance(cell, (FrozenBatchNorm, nn.BatchNorm2d))


def _folded(conv: nn.Conv2d, norm: FrozenBatchNorm | nn.BatchNorm2d) -> FoldedNorm:
    """Set the convolution's weight to w * scale, and return the bias beta - mean * scale."""
    parts = (norm.gamma, norm.beta, norm.moving_mean, norm.moving_variance)
    gamma, beta, mean, variance = (part.asnumpy().astype(np.float64) for part in parts)
    scale = gamma / np.sqrt(variance + BATCH_NORM_EPS)
    weight = conv.weight.asnumpy() * scale.reshape(-1, 1, 1, 1)
    conv.weight.set_data(Tensor(weight.astype(np.float32)))
    return FoldedNorm((beta - mean * scale).astype(np.float32))
