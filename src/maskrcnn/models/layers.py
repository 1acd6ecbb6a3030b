"""Convolutions with their normalisation, and the initialisers of the paper.

Here and wherever maps are large, broadcasting is spelled out: CPU arithmetic on operands of unequal shapes keeps
16 bytes of index for every element of the result, for the life of the graph.
"""

from __future__ import annotations

import math

import mindspore as ms
from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import HeNormal, Normal, XavierUniform, initializer

from maskrcnn.errors import ConfigError
from maskrcnn.ops.conv import Conv3x3

BATCH_NORM_EPS = 1e-5
GROUPS = 32  # of group normalisation, Wu & He, "Group Normalization", section 4; fewer for narrow maps


class FrozenBatchNorm(nn.Cell):
    """Batch normalisation whose statistics and affine parameters stay as they were loaded.

    It is never applied to a feature map: ``fold`` moves it into the convolution before it, which keeps one buffer
    less per convolution for the backward pass. Parameter names are those of ``nn.BatchNorm2d``.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = Parameter(initializer("ones", [channels]), name="gamma", requires_grad=False)
        self.beta = Parameter(initializer("zeros", [channels]), name="beta", requires_grad=False)
        self.moving_mean = Parameter(initializer("zeros", [channels]), name="moving_mean", requires_grad=False)
        self.moving_variance = Parameter(initializer("ones", [channels]), name="moving_variance", requires_grad=False)

    def fold(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weight [O,I,k,k] and bias [O] of the convolution followed by this normalisation."""
        scale = self.gamma * ops.rsqrt(self.moving_variance + BATCH_NORM_EPS)
        bias = self.beta - self.moving_mean * scale
        scale = ops.stop_gradient(scale).reshape((-1, 1, 1, 1)).broadcast_to(weight.shape)
        return weight * scale, ops.stop_gradient(bias)


class Conv(nn.Conv2d):
    """``nn.Conv2d`` with "same" padding for odd kernels; on a CPU a 3x3 one uses ``ops/conv.py``."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, **initial) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, stride, pad_mode="pad", padding=kernel_size // 2, **initial
        )
        self.lean = kernel_size == 3 and stride == 1 and ms.get_context("device_target") == "CPU"
        self.conv3x3 = Conv3x3()

    def convolve(self, x: Tensor, weight: Tensor) -> Tensor:
        """The convolution alone, with a weight that need not be the parameter itself."""
        return self.conv3x3(x, weight) if self.lean else self.conv2d(x, weight)

    def construct(self, x: Tensor) -> Tensor:
        out = self.convolve(x, self.weight)
        return ops.bias_add(out, self.bias.astype(out.dtype)) if self.has_bias else out


def conv(in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> Conv:
    """A bias-free convolution, He-initialised (fan out, as ResNet's authors)."""
    init = HeNormal(mode="fan_out", nonlinearity="relu")
    return Conv(in_channels, out_channels, kernel_size, stride, has_bias=False, weight_init=init)


def normalisation(kind: str, channels: int, last: bool = False) -> nn.Cell:
    """The normalisation ``kind`` ("frozen_bn", "fixed_bn", "bn" or "gn") of an NCHW map with ``channels`` channels.

    A trained one that is the ``last`` of a residual block starts at zero, so that every block starts as the identity
    and features keep their scale however deep the network is (Goyal et al. 2017, section 5.1).
    """
    scale = "zeros" if last else "ones"
    if kind == "frozen_bn":
        return FrozenBatchNorm(channels)
    if kind == "fixed_bn":  # loaded statistics, trained scale and shift
        return nn.BatchNorm2d(channels, eps=BATCH_NORM_EPS, use_batch_statistics=False)
    if kind == "bn":
        return nn.BatchNorm2d(channels, eps=BATCH_NORM_EPS, momentum=0.9, gamma_init=scale)
    if kind == "gn":
        return nn.GroupNorm(math.gcd(GROUPS, channels), channels, gamma_init=scale)
    raise ConfigError(f"norm: {kind!r} is not one of frozen_bn, fixed_bn, bn, gn")


class ConvNormCell(nn.Cell):
    """Base of the residual blocks: one way to run a convolution and its normalisation, whatever the kind."""

    def __init__(self, norm: str) -> None:
        super().__init__()
        self.folded = norm == "frozen_bn"

    def conv_norm(self, conv_layer: nn.Cell, norm_layer: nn.Cell, x: Tensor) -> Tensor:
        if self.folded:
            weight, bias = norm_layer.fold(conv_layer.weight)
            return ops.bias_add(conv_layer.convolve(x, weight), bias)
        return norm_layer(conv_layer(x))


def head_conv(in_channels: int, out_channels: int, kernel_size: int, init: str = "he", std: float = 0.01) -> Conv:
    """A convolution with bias for FPN and the heads.

    Args:
        init: "he" (fan in, before a ReLU), "xavier" (FPN, linear) or "normal" with standard deviation ``std``
            (predictors, Faster R-CNN section 3.1.3). Biases start at zero.
    """
    weight_init = {
        "he": HeNormal(mode="fan_in", nonlinearity="relu"),
        "xavier": XavierUniform(),
        "normal": Normal(sigma=std),
    }[init]
    return Conv(in_channels, out_channels, kernel_size, has_bias=True, weight_init=weight_init, bias_init="zeros")


def dense(in_features: int, out_features: int, std: float = 0.0) -> nn.Dense:
    """A fully connected layer, its weights normal with ``std``, or Xavier's if that is 0. Biases start at zero."""
    weight_init = Normal(sigma=std) if std else XavierUniform()
    return nn.Dense(in_features, out_features, weight_init=weight_init, bias_init="zeros")


def freeze(cell: nn.Cell) -> None:
    """Take every parameter of ``cell`` out of training; its batch normalisation keeps the statistics it was given."""
    for parameter in cell.get_parameters():
        parameter.requires_grad = False
    for _, part in cell.cells_and_names():
        if isinstance(part, nn.BatchNorm2d):
            part.use_batch_statistics = False
