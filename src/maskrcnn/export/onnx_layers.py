"""The layers of the network as ONNX.

Backbones and the pyramid state their computation in terms of operations (``models/layers.py``); here these append
nodes to a graph. Batch normalisation must have been folded into the convolutions before (``fold.py``).
"""

from __future__ import annotations

import numpy as np
from mindspore import nn

from maskrcnn.errors import ExportError
from maskrcnn.export.fold import FoldedNorm
from maskrcnn.export.onnx_graph import OnnxGraph
from maskrcnn.models.fpn import BilinearUpsample, Upsample
from maskrcnn.models.layers import FeatureCell


class OnnxOperations:
    """The operations of a ``FeatureCell`` on values of an ONNX graph.

    Args:
        g: The graph that nodes are appended to.
    """

    def __init__(self, g: OnnxGraph) -> None:
        self.g = g

    def __getattr__(self, operation: str) -> None:
        raise ExportError(f"the operation {operation} has no ONNX form here: export MINDIR instead")

    def cell(self, cell: FeatureCell, x: str) -> str:
        """Appends a part of the network that is a ``FeatureCell`` itself."""
        if not isinstance(cell, FeatureCell):
            raise unknown(cell)
        return cell.forward(self, x)

    def conv(self, layer: nn.Conv2d, x: str) -> str:
        """Appends a convolution with its own bias, if it has one."""
        return conv(self.g, layer, x, layer.bias.asnumpy() if layer.has_bias else None)

    def conv_norm(self, layer: nn.Conv2d, norm: nn.Cell, x: str) -> str:
        """Appends a convolution and the normalisation behind it."""
        if isinstance(norm, FoldedNorm):
            return conv(self.g, layer, x, norm.bias.asnumpy())
        if isinstance(norm, nn.GroupNorm):
            return _group_norm(self.g, norm, conv(self.g, layer, x, None))
        raise unknown(norm)

    def relu(self, x: str) -> str:
        return self.g.op("Relu", x)

    def add(self, a: str, b: str) -> str:
        return self.g.op("Add", a, b)

    def max_pool(self, pool: nn.Cell, x: str) -> str:
        """Appends a max pooling of 3x3 windows with stride 2."""
        return self.g.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=list(pool.pads))

    def upsample(self, upsampling: nn.Cell, x: str) -> str:
        """Appends an upsampling by two."""
        if isinstance(upsampling, BilinearUpsample):
            settings = {"mode": "linear"}
        elif isinstance(upsampling, Upsample):
            settings = {"mode": "nearest", "nearest_mode": "floor"}
        else:
            raise unknown(upsampling)
        scales = np.array([1, 1, 2, 2], np.float32)
        return self.g.op("Resize", x, "", scales, coordinate_transformation_mode="asymmetric", **settings)

    def subsample(self, x: str) -> str:
        """Appends what takes every second row and column: a pooling of single cells."""
        return self.g.op("MaxPool", x, kernel_shape=[1, 1], strides=[2, 2])

    def stop_gradient(self, x: str) -> str:
        return x


def unknown(part: nn.Cell) -> ExportError:
    """Returns the error for a part of the network that the ONNX writer does not know."""
    return ExportError(f"{type(part).__name__} has no ONNX form here: export MINDIR instead")


def conv(g: OnnxGraph, layer: nn.Conv2d, x: str, bias: np.ndarray | None) -> str:
    """Appends a convolution, with ``bias`` [O] if it is given."""
    name = layer.weight.name
    inputs = [x, g.weight(name, layer.weight.asnumpy())]
    if bias is not None:
        inputs.append(g.weight(f"{name.removesuffix('.weight')}.bias", bias))
    kernel = list(layer.kernel_size)
    pads = [side // 2 for side in kernel]
    group = {"group": layer.group} if layer.group > 1 else {}
    return g.op("Conv", *inputs, kernel_shape=kernel, strides=list(layer.stride), pads=[*pads, *pads], **group)


def _group_norm(g: OnnxGraph, norm: nn.GroupNorm, x: str) -> str:
    """Gives each group of an image's channels mean 0 and variance 1, then scales and shifts (Wu & He)."""
    groups, channels = norm.num_groups, norm.num_channels
    grouped = g.op("Reshape", x, np.array([0, groups, -1], np.int64))
    ones, zeros = np.ones(groups, np.float32), np.zeros(groups, np.float32)
    normal = g.op("InstanceNormalization", grouped, ones, zeros, epsilon=norm.eps)
    normal = g.op("Reshape", normal, g.op("Shape", x))
    name = norm.gamma.name
    gamma = g.weight(name, norm.gamma.asnumpy().reshape(1, channels, 1, 1))
    beta = g.weight(norm.beta.name, norm.beta.asnumpy().reshape(1, channels, 1, 1))
    return g.op("Add", g.op("Mul", normal, gamma), beta)


def dense(g: OnnxGraph, layer: nn.Dense, x: str, weight: np.ndarray | None = None) -> str:
    """Appends a fully connected layer, with its own weight or with ``weight`` of the same shape."""
    weight = layer.weight.asnumpy() if weight is None else weight
    names = g.weight(layer.weight.name, weight), g.weight(layer.bias.name, layer.bias.asnumpy())
    return g.op("Gemm", x, *names, transB=1)
