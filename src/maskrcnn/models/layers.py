"""Convolutions with their normalisation, the initialisers of the paper, and the operations of feature extractors.

Here and wherever maps are large, broadcasting is spelled out: CPU arithmetic on operands of unequal shapes keeps
16 bytes of index for every element of the result, for the life of the graph.
"""

from __future__ import annotations

import math

import mindspore as ms
from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import HeNormal, Normal, XavierUniform, initializer

from maskrcnn.distributed.process_group import joined_processes
from maskrcnn.errors import ConfigError
from maskrcnn.ops.conv import Conv3x3
from maskrcnn.ops.roi_align import flatten_levels

BATCH_NORM_EPS = 1e-5
BATCH_NORM_STAYS = 0.9  # of the moving statistics, at each step
GROUPS = 32  # of group normalisation, Wu & He, "Group Normalization", section 4; fewer for narrow maps


@ms.jit_class
class TensorOperations:
    """The operations that backbones and the pyramid are made of, on tensors.

    A ``FeatureCell`` states its computation once, in terms of such operations. Whatever else follows from the structure
    of a network (its ONNX graph, which normalisation belongs to which convolution) is another class with these methods.
    """

    def cell(self, cell: FeatureCell, x: Tensor) -> Tensor:
        """Runs a part of the network that is a ``FeatureCell`` itself."""
        return cell(x)

    def conv(self, conv: Conv, x: Tensor) -> Tensor:
        """Convolves, and adds the bias if there is one."""
        return conv(x)

    def conv_fixed(self, conv: Conv, x: Tensor) -> Tensor:
        """Convolves with fixed parameters: stopping only the result would leave a backward pass of zeros."""
        return ops.bias_add(conv.conv2d(x, ops.stop_gradient(conv.weight)), ops.stop_gradient(conv.bias))

    def conv_norm(self, conv: Conv, norm: nn.Cell, x: Tensor) -> Tensor:
        """Convolves and normalises; a normalisation with fixed statistics is folded into the weight."""
        if getattr(norm, "folds", False):
            weight, bias = norm.fold(conv.weight)
            return ops.bias_add(conv.convolve(x, weight), bias)
        return norm(conv(x))

    def relu(self, x: Tensor) -> Tensor:
        return ops.relu(x)

    def add(self, a: Tensor, b: Tensor) -> Tensor:
        return a + b

    def max_pool(self, pool: nn.Cell, x: Tensor) -> Tensor:
        """Pools 3x3 windows with stride 2; ``pool.pads`` are the rows and columns before (top, left) and behind."""
        return pool(x)

    def upsample(self, upsampling: nn.Cell, x: Tensor) -> Tensor:
        """Doubles both sides of a map."""
        return upsampling(x)

    def subsample(self, x: Tensor) -> Tensor:
        """Takes every second row and column of a map."""
        return x[:, :, ::2, ::2]

    def stop_gradient(self, x: Tensor) -> Tensor:
        return ops.stop_gradient(x)

    def from_planes(self, planes: tuple[Tensor, ...]) -> Tensor:
        """Makes a map of its channels, each [N,H,W]."""
        return ops.stack(planes, 1)

    def width(self, x: Tensor) -> int:
        """Returns how many columns a map has."""
        return x.shape[3]

    def pyramid(self, maps: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], list[tuple[int, int]]]:
        """Lays the pyramid out in a table for each image, see ``ops/roi_align.py``."""
        return flatten_levels(maps)

    def to_rows(self, x: Tensor) -> Tensor:
        """Returns a map as rows, one for each position: [N,H*W,C]."""
        n, c, h, w = x.shape
        return x.reshape((n, c, h * w)).transpose((0, 2, 1))


TENSORS = TensorOperations()


class FeatureCell(nn.Cell):
    """Base of the parts of backbones and of the pyramid: what ``forward`` states, on tensors."""

    operations = TENSORS

    def forward(self, f: TensorOperations, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """States the computation by calls of the methods of ``f`` alone."""
        raise NotImplementedError

    def construct(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        return self.forward(self.operations, *inputs)


class FrozenBatchNorm(nn.Cell):
    """Batch normalisation whose statistics and affine parameters stay as they were loaded.

    It is never applied to a feature map: ``fold`` moves it into the convolution before it, which keeps one buffer less
    per convolution for the backward pass. Parameter names are those of ``nn.BatchNorm2d``.

    Args:
        channels: Of the map.
    """

    folds = True

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = Parameter(initializer("ones", [channels]), name="gamma", requires_grad=False)
        self.beta = Parameter(initializer("zeros", [channels]), name="beta", requires_grad=False)
        self.moving_mean = Parameter(initializer("zeros", [channels]), name="moving_mean", requires_grad=False)
        self.moving_variance = Parameter(initializer("ones", [channels]), name="moving_variance", requires_grad=False)

    def fold(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the weight [O,I,k,k] and the bias [O] of the convolution followed by this normalisation."""
        scale = self.gamma * ops.rsqrt(self.moving_variance + BATCH_NORM_EPS)
        bias = self.beta - self.moving_mean * scale
        scale = ops.stop_gradient(scale).reshape((-1, 1, 1, 1)).broadcast_to(weight.shape)
        return weight * scale, ops.stop_gradient(bias)


class SyncBatchNorm(nn.Cell):
    """Batch normalisation with the statistics of the images of all ranks (Peng et al. 2018, MegDet, section 3.2).

    Two small messages a layer, mean and variance, that take part in the gradient. All ranks have maps of the same
    shape. Parameter names, and what it computes after training, are those of ``nn.BatchNorm2d``.

    Args:
        channels: Of the map.
        world_size: Number of ranks.
        gamma_init: Initialiser of the scale.
    """

    def __init__(self, channels: int, world_size: int, gamma_init: str = "ones") -> None:
        super().__init__()
        self.gamma = Parameter(initializer(gamma_init, [channels]), name="gamma")
        self.beta = Parameter(initializer("zeros", [channels]), name="beta")
        self.moving_mean = Parameter(initializer("zeros", [channels]), name="moving_mean", requires_grad=False)
        self.moving_variance = Parameter(initializer("ones", [channels]), name="moving_variance", requires_grad=False)
        self.use_batch_statistics = True
        self.world_size = world_size
        self.sum = ops.AllReduce()

    def construct(self, x: Tensor) -> Tensor:
        """Normalises a map, float32 [N,C,H,W]."""
        if not self.training or not self.use_batch_statistics:
            return self.normalise(x, self.moving_mean, self.moving_variance)
        mean = self.sum(x.mean((0, 2, 3))) / self.world_size
        centred = x - mean.reshape((1, -1, 1, 1))
        variance = self.sum(ops.square(centred).mean((0, 2, 3))) / self.world_size
        count = x.shape[0] * x.shape[2] * x.shape[3] * self.world_size
        unbiased = variance * (count / max(count - 1, 1))
        moved = (
            ops.assign(self.moving_mean, BATCH_NORM_STAYS * self.moving_mean + (1 - BATCH_NORM_STAYS) * mean),
            ops.assign(
                self.moving_variance, BATCH_NORM_STAYS * self.moving_variance + (1 - BATCH_NORM_STAYS) * unbiased
            ),
        )
        return ops.depend(self.normalise(x, mean, variance), ops.stop_gradient(moved))

    def normalise(self, x: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        """Subtracts a mean, divides by a deviation, scales and shifts."""
        scale = self.gamma * ops.rsqrt(variance + BATCH_NORM_EPS)
        return x * scale.reshape((1, -1, 1, 1)) + (self.beta - mean * scale).reshape((1, -1, 1, 1))


class Conv(nn.Conv2d):
    """``nn.Conv2d`` with "same" padding for odd kernels; on a CPU a 3x3 one uses ``ops/conv.py``."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, **initial) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, stride, pad_mode="pad", padding=kernel_size // 2, **initial
        )
        self.lean = kernel_size == 3 and stride == 1 and ms.get_context("device_target") == "CPU"
        self.conv3x3 = Conv3x3()

    def convolve(self, x: Tensor, weight: Tensor) -> Tensor:
        """Returns the convolution alone, with a weight that need not be the parameter itself."""
        return self.conv3x3(x, weight) if self.lean else self.conv2d(x, weight)

    def construct(self, x: Tensor) -> Tensor:
        out = self.convolve(x, self.weight)
        return ops.bias_add(out, self.bias.astype(out.dtype)) if self.has_bias else out


def conv(in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> Conv:
    """Makes a bias-free convolution, He-initialised (fan out, as ResNet's authors)."""
    init = HeNormal(mode="fan_out", nonlinearity="relu")
    return Conv(in_channels, out_channels, kernel_size, stride, has_bias=False, weight_init=init)


def normalisation(kind: str, channels: int, last: bool = False) -> nn.Cell:
    """Makes the normalisation of an NCHW map.

    Args:
        kind: "frozen_bn", "fixed_bn" (loaded statistics, trained scale and shift), "bn", "sync_bn" (over the images of
            all processes that train together) or "gn".
        channels: Of the map.
        last: It is the last of a residual block. A trained one then starts at zero, so that every block starts as the
            identity and features keep their scale however deep the network is (Goyal et al. 2017, section 5.1).

    Raises:
        ConfigError: ``kind`` is none of these.
    """
    scale = "zeros" if last else "ones"
    if kind == "frozen_bn":
        return FrozenBatchNorm(channels)
    if kind == "fixed_bn":
        return nn.BatchNorm2d(channels, eps=BATCH_NORM_EPS, use_batch_statistics=False)
    if kind == "sync_bn" and (world_size := joined_processes()) > 1:
        return SyncBatchNorm(channels, world_size, gamma_init=scale)
    if kind in ("bn", "sync_bn"):
        return nn.BatchNorm2d(channels, eps=BATCH_NORM_EPS, momentum=0.9, gamma_init=scale)
    if kind == "gn":
        return nn.GroupNorm(math.gcd(GROUPS, channels), channels, gamma_init=scale)
    raise ConfigError(f"norm: {kind!r} is not one of frozen_bn, fixed_bn, bn, sync_bn, gn")


def head_conv(in_channels: int, out_channels: int, kernel_size: int, init: str = "he", std: float = 0.01) -> Conv:
    """Makes a convolution with bias for FPN and the heads; biases start at zero.

    Args:
        in_channels: Of the input.
        out_channels: Of the output.
        kernel_size: Odd.
        init: "he" (fan in, before a ReLU), "xavier" (FPN, linear) or "normal" (predictors, Faster R-CNN section 3.1.3).
        std: The standard deviation of "normal".
    """
    weight_init = {
        "he": HeNormal(mode="fan_in", nonlinearity="relu"),
        "xavier": XavierUniform(),
        "normal": Normal(sigma=std),
    }[init]
    return Conv(in_channels, out_channels, kernel_size, has_bias=True, weight_init=weight_init, bias_init="zeros")


def dense(in_features: int, out_features: int, std: float = 0.0) -> nn.Dense:
    """Makes a fully connected layer, its weights normal with ``std`` or, if that is 0, Xavier's; its bias zero."""
    weight_init = Normal(sigma=std) if std else XavierUniform()
    return nn.Dense(in_features, out_features, weight_init=weight_init, bias_init="zeros")


def freeze(cell: nn.Cell) -> None:
    """Takes every parameter of ``cell`` out of training; its batch normalisation keeps the statistics it was given."""
    for parameter in cell.get_parameters():
        parameter.requires_grad = False
    for _, part in cell.cells_and_names():
        if isinstance(part, (nn.BatchNorm2d, SyncBatchNorm)):
            part.use_batch_statistics = False
