"""The convolutional parts of the network as ONNX: backbone, feature pyramid, and the layers of the heads.

Each function reads one of our Cells, appends the same mathematics to the graph and returns the result's name. Batch
normalisation must have been folded into the convolutions before (``fold.py``).
"""

from __future__ import annotations

import numpy as np
from mindspore import nn

from maskrcnn.errors import ExportError
from maskrcnn.export.fold import FoldedNorm
from maskrcnn.export.onnx_graph import OnnxGraph
from maskrcnn.models.fpn import FPN, BilinearUpsample
from maskrcnn.models.resnet import BasicBlock, Bottleneck, ResNet


def conv(g: OnnxGraph, layer: nn.Conv2d, x: str, bias: np.ndarray | None = None) -> str:
    """A convolution with its own bias, or with ``bias`` [O]."""
    if bias is None and layer.has_bias:
        bias = layer.bias.asnumpy()
    name = layer.weight.name
    inputs = [x, g.weight(name, layer.weight.asnumpy())]
    if bias is not None:
        inputs.append(g.weight(f"{name.removesuffix('.weight')}.bias", bias))
    kernel = list(layer.kernel_size)
    pads = [side // 2 for side in kernel]
    return g.op("Conv", *inputs, kernel_shape=kernel, strides=list(layer.stride), pads=[*pads, *pads])


def conv_norm(g: OnnxGraph, layer: nn.Conv2d, norm: nn.Cell, x: str) -> str:
    """A convolution and the normalisation behind it."""
    if isinstance(norm, FoldedNorm):
        return conv(g, layer, x, norm.bias.asnumpy())
    if isinstance(norm, nn.GroupNorm):
        return _group_norm(g, norm, conv(g, layer, x))
    raise ExportError(f"{type(norm).__name__} has no ONNX form here: export MINDIR instead")


def _group_norm(g: OnnxGraph, norm: nn.GroupNorm, x: str) -> str:
    """Wu & He: each group of channels of an image has mean 0 and variance 1, then every channel its scale and shift."""
    groups, channels = norm.num_groups, norm.num_channels
    grouped = g.op("Reshape", x, np.array([0, groups, -1], np.int64))
    ones, zeros = np.ones(groups, np.float32), np.zeros(groups, np.float32)
    normal = g.op("InstanceNormalization", grouped, ones, zeros, epsilon=norm.eps)
    normal = g.op("Reshape", normal, g.op("Shape", x))
    name = norm.gamma.name
    gamma = g.weight(name, norm.gamma.asnumpy().reshape(1, channels, 1, 1))
    beta = g.weight(norm.beta.name, norm.beta.asnumpy().reshape(1, channels, 1, 1))
    return g.op("Add", g.op("Mul", normal, gamma), beta)


def backbone(g: OnnxGraph, net: ResNet, x: str) -> list[str]:
    """Normalised images [N,3,H,W] to C2, C3, C4, C5."""
    x = g.op("Relu", conv_norm(g, net.conv1, net.bn1, x))
    pads = [0, 0, 1, 1] if net.pool_pads_end else [1, 1, 1, 1]
    x = g.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=pads)
    levels = []
    for stage in (net.layer1, net.layer2, net.layer3, net.layer4):
        for block in stage:
            x = _block(g, block, x)
        levels.append(x)
    return levels


def _block(g: OnnxGraph, block: BasicBlock | Bottleneck, x: str) -> str:
    shortcut = x
    if block.has_projection:
        shortcut = conv_norm(g, block.down_sample_layer[0], block.down_sample_layer[1], x)
    x = g.op("Relu", conv_norm(g, block.conv1, block.bn1, x))
    x = conv_norm(g, block.conv2, block.bn2, x)
    if isinstance(block, Bottleneck):
        x = conv_norm(g, block.conv3, block.bn3, g.op("Relu", x))
    return g.op("Relu", g.op("Add", x, shortcut))


def pyramid(g: OnnxGraph, fpn: FPN, c2: str, c3: str, c4: str, c5: str) -> list[str]:
    """C2..C5 to P2..P6."""
    merged = [conv(g, fpn.lateral[3], c5)]
    for lateral, c in zip((fpn.lateral[2], fpn.lateral[1], fpn.lateral[0]), (c4, c3, c2)):
        merged.append(g.op("Add", conv(g, lateral, c), _upsample(g, fpn, merged[-1])))
    levels = [conv(g, layer, m) for layer, m in zip(fpn.output, reversed(merged))]
    p6 = g.op("MaxPool", levels[-1], kernel_shape=[1, 1], strides=[2, 2])  # every second position
    return [*levels, p6]


def _upsample(g: OnnxGraph, fpn: FPN, x: str) -> str:
    scales = np.array([1, 1, 2, 2], np.float32)
    bilinear = isinstance(fpn.upsample, BilinearUpsample)
    settings = {"mode": "linear"} if bilinear else {"mode": "nearest", "nearest_mode": "floor"}
    return g.op("Resize", x, "", scales, coordinate_transformation_mode="asymmetric", **settings)


def dense(g: OnnxGraph, layer: nn.Dense, x: str, weight: np.ndarray | None = None) -> str:
    """A fully connected layer, with its own weight or with ``weight`` of the same shape."""
    weight = layer.weight.asnumpy() if weight is None else weight
    names = g.weight(layer.weight.name, weight), g.weight(layer.bias.name, layer.bias.asnumpy())
    return g.op("Gemm", x, *names, transB=1)
