"""The operations of the network on channels-last maps [N,H,W,C]: what a CPU computes fastest.

A network is described once, in terms of operations (``layers.py``); these are the same ones in the other layout.
Weights and their names are those of the NCHW layers, which exported models consist of.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import mindspore as ms
from mindspore import Tensor, nn, ops

from maskrcnn.models.fpn import BilinearUpsample
from maskrcnn.models.layers import TENSORS, Conv, TensorOperations
from maskrcnn.ops.channels_last import AddBias, MaxPool3x3, Subsample2x, Upsample2x
from maskrcnn.ops.patch_conv import PatchConv, PointwiseConv
from maskrcnn.ops.winograd import WinogradConv3x3

if TYPE_CHECKING:
    from maskrcnn.config import Config

TILE = 4
# Below so many tiles the transformed weight, 36 matrices to be written and read, costs more than is saved.
LEAST_TILES = 32


@ms.jit_class
class ChannelsLastOperations(TensorOperations):
    """``TensorOperations`` on maps [N,H,W,C]."""

    def __init__(self) -> None:
        self.winograd = WinogradConv3x3(TILE)
        self.pointwise = PointwiseConv()
        self.strided_pointwise = PatchConv(1, 2)
        self.patches = PatchConv(3, 1)
        self.strided = PatchConv(3, 2)
        self.stem = PatchConv(7, 2)
        self.add_bias = AddBias()
        self.pool = MaxPool3x3()
        self.end_padded_pool = MaxPool3x3(pads_end=True)
        self.upsampling = Upsample2x()
        self.subsampling = Subsample2x()

    def form(self, conv: Conv, x: Tensor) -> nn.Cell:
        """Returns the fastest form of a convolution for a map of this size."""
        kernel, stride = conv.kernel_size[0], conv.stride[0]
        if kernel == 1:
            return self.pointwise if stride == 1 else self.strided_pointwise
        if kernel == 7:
            return self.stem
        if stride == 2:
            return self.strided
        n, h, w, _ = x.shape
        tiles = n * ((h + TILE - 1) // TILE) * ((w + TILE - 1) // TILE)
        return self.winograd if tiles >= LEAST_TILES else self.patches

    def conv(self, conv: Conv, x: Tensor) -> Tensor:
        out = self.form(conv, x)(x, conv.weight)
        return self.add_bias(out, conv.bias) if conv.has_bias else out

    def conv_norm(self, conv: Conv, norm: nn.Cell, x: Tensor) -> Tensor:
        weight, bias = norm.fold(conv.weight)
        return self.add_bias(self.form(conv, x)(x, weight), bias)

    def conv_fixed(self, conv: Conv, x: Tensor) -> Tensor:
        # Not as a call, which would bring the cells' own gradients along.
        out = self.form(conv, x).construct(x, ops.stop_gradient(conv.weight))
        return self.add_bias.construct(out, ops.stop_gradient(conv.bias))

    def max_pool(self, pool: nn.Cell, x: Tensor) -> Tensor:
        return self.end_padded_pool(x) if pool.pads[0] == 0 else self.pool(x)

    def upsample(self, upsampling: nn.Cell, x: Tensor) -> Tensor:
        if isinstance(upsampling, BilinearUpsample):
            return upsampling(x.transpose((0, 3, 1, 2))).transpose((0, 2, 3, 1))
        return self.upsampling(x)

    def subsample(self, x: Tensor) -> Tensor:
        return self.subsampling(x)

    def from_planes(self, planes: tuple[Tensor, ...]) -> Tensor:
        return ops.stack(planes, 3)

    def width(self, x: Tensor) -> int:
        return x.shape[2]

    def pyramid(self, maps: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], list[tuple[int, int]]]:
        rows, shapes = [], []
        for level in maps:
            rows.append(self.to_rows(level))
            shapes.append((level.shape[1], level.shape[2]))
        return ops.unstack(ops.concat(rows, 1), 0), shapes

    def to_rows(self, x: Tensor) -> Tensor:
        n, h, w, c = x.shape
        return x.reshape((n, h * w, c))


CHANNELS_LAST = ChannelsLastOperations()


def operations_for(cfg: Config) -> TensorOperations:
    """Chooses the layout of the maps of backbone, pyramid and RPN in inference: the one place where it is decided.

    With ``convolution: fast`` a CPU computes on channels-last maps. Networks with trained batch norm or group norm keep
    NCHW, as their sums over positions have no fast form in the other layout yet, and so do those trained in mixed
    precision, since Winograd's sums need float32.

    Args:
        cfg: The configuration of a network on the current device.
    """
    if ms.get_context("device_target") != "CPU":
        return TENSORS
    if cfg.convolution == "fast" and cfg.norm == "frozen_bn" and cfg.mixed_precision == "O0":
        return CHANNELS_LAST
    return TENSORS


def lay_out(network: nn.Cell, operations: TensorOperations) -> None:
    """Has every part of a network compute with these operations."""
    for _, cell in network.cells_and_names():
        if hasattr(cell, "operations"):
            cell.operations = operations
