"""ResNet backbones: He et al., "Deep Residual Learning for Image Recognition", table 1.

Parameter names are those of the MindSpore model zoo's ResNet (``layer1.0.down_sample_layer.0.weight``). An ImageNet
checkpoint from there has another eps in its normalisation: ``python -m maskrcnn.convert`` makes up for it.
"""

from __future__ import annotations

from mindspore import Tensor, nn, ops

from maskrcnn.errors import ConfigError
from maskrcnn.models.layers import ConvNormCell, conv, freeze, normalisation

STAGES = {
    "resnet18": (2, 2, 2, 2),
    "resnet34": (3, 4, 6, 3),
    "resnet50": (3, 4, 6, 3),
    "resnet101": (3, 4, 23, 3),
    "resnet152": (3, 8, 36, 3),
}
STAGE_FACTORS = (1, 2, 4, 8)  # the width doubles where the map is halved
STAGE_WIDTHS = tuple(64 * factor for factor in STAGE_FACTORS)


class BasicBlock(ConvNormCell):
    """Two 3x3 convolutions: ResNet-18 and 34 (figure 5 left)."""

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int, norm: str, stride_in_1x1: bool) -> None:
        super().__init__(norm)
        self.conv1 = conv(in_channels, width, 3, stride)
        self.bn1 = normalisation(norm, width)
        self.conv2 = conv(width, width, 3, 1)
        self.bn2 = normalisation(norm, width, last=True)
        self.has_projection = stride != 1 or in_channels != width
        if self.has_projection:
            self.down_sample_layer = nn.SequentialCell(conv(in_channels, width, 1, stride), normalisation(norm, width))

    def construct(self, x: Tensor) -> Tensor:
        shortcut = x
        if self.has_projection:
            shortcut = self.conv_norm(self.down_sample_layer[0], self.down_sample_layer[1], x)
        out = ops.relu(self.conv_norm(self.conv1, self.bn1, x))
        out = self.conv_norm(self.conv2, self.bn2, out)
        return ops.relu(out + shortcut)


class Bottleneck(ConvNormCell):
    """1x1, 3x3, 1x1 convolutions: ResNet-50 and deeper (figure 5 right).

    The stride sits in the 3x3 convolution, or in the first 1x1 as in the original Caffe models.
    """

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int, norm: str, stride_in_1x1: bool) -> None:
        super().__init__(norm)
        out_channels = width * self.expansion
        stride_1x1, stride_3x3 = (stride, 1) if stride_in_1x1 else (1, stride)
        self.conv1 = conv(in_channels, width, 1, stride_1x1)
        self.bn1 = normalisation(norm, width)
        self.conv2 = conv(width, width, 3, stride_3x3)
        self.bn2 = normalisation(norm, width)
        self.conv3 = conv(width, out_channels, 1, 1)
        self.bn3 = normalisation(norm, out_channels, last=True)
        self.has_projection = stride != 1 or in_channels != out_channels
        if self.has_projection:
            self.down_sample_layer = nn.SequentialCell(
                conv(in_channels, out_channels, 1, stride), normalisation(norm, out_channels)
            )

    def construct(self, x: Tensor) -> Tensor:
        shortcut = x
        if self.has_projection:
            shortcut = self.conv_norm(self.down_sample_layer[0], self.down_sample_layer[1], x)
        out = ops.relu(self.conv_norm(self.conv1, self.bn1, x))
        out = ops.relu(self.conv_norm(self.conv2, self.bn2, out))
        out = self.conv_norm(self.conv3, self.bn3, out)
        return ops.relu(out + shortcut)


class PaddedMaxPool(nn.Cell):
    """Max pooling over 3x3 with stride 2 and padding 1: [N,C,H,W], not negative, H and W even, to [N,C,H/2,W/2].

    A row and a column of zeros go before the first ones; the last window ends with the map. On a CPU this is five times
    as fast as ``nn.MaxPool2d`` with padding, and every device has the operators.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(3, 2, pad_mode="valid")

    def construct(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        x = ops.concat((ops.zeros((n, c, 1, w), x.dtype), x), 2)
        return self.pool(ops.concat((ops.zeros((n, c, h + 1, 1), x.dtype), x), 3))


class ResNet(ConvNormCell):
    """A ResNet without its classifier.

    Args:
        name: "resnet18", "resnet34", "resnet50", "resnet101" or "resnet152".
        norm: "frozen_bn" (as loaded), "bn" (trained) or "gn".
        freeze_at: how much stays fixed: 0 nothing, 1 the stem, 2 the stem and the first stage, up to 5.
        stride_in_1x1: put a bottleneck's stride into its first 1x1 convolution.
        stem_width: channels of the stem, from which all others follow; 64 in the paper.
        pool_pads_end: pad the stem's max pooling on the right and below only.
    """

    def __init__(
        self,
        name: str,
        norm: str = "frozen_bn",
        freeze_at: int = 2,
        stride_in_1x1: bool = False,
        stem_width: int = STAGE_WIDTHS[0],
        pool_pads_end: bool = False,
    ) -> None:
        super().__init__(norm)
        if name not in STAGES:
            raise ConfigError(f"backbone: {name!r} is not one of {', '.join(STAGES)}")
        block = BasicBlock if name in ("resnet18", "resnet34") else Bottleneck
        widths = [stem_width * factor for factor in STAGE_FACTORS]
        self.out_channels = [width * block.expansion for width in widths]
        self.conv1 = conv(3, stem_width, 7, 2)
        self.bn1 = normalisation(norm, stem_width)
        self.pool_pads_end = pool_pads_end
        self.max_pool = nn.MaxPool2d(3, 2, pad_mode="same") if pool_pads_end else PaddedMaxPool()
        in_channels = stem_width
        stages = []
        for depth, width, stride in zip(STAGES[name], widths, (1, 2, 2, 2)):
            blocks = []
            for i in range(depth):
                blocks.append(block(in_channels, width, stride if i == 0 else 1, norm, stride_in_1x1))
                in_channels = width * block.expansion
            stages.append(nn.SequentialCell(*blocks))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.freeze_at = freeze_at
        for part in [[self.conv1, self.bn1], [self.layer1], [self.layer2], [self.layer3], [self.layer4]][:freeze_at]:
            for cell in part:
                freeze(cell)

    def construct(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Normalised images [N,3,H,W] to C2, C3, C4, C5 [N,C,H/s,W/s] with strides s = 4, 8, 16, 32."""
        x = ops.relu(self.conv_norm(self.conv1, self.bn1, x))
        x = self.cut(self.max_pool(x), 1)
        c2 = self.cut(self.layer1(x), 2)
        c3 = self.cut(self.layer2(c2), 3)
        c4 = self.cut(self.layer3(c3), 4)
        c5 = self.cut(self.layer4(c4), 5)
        return c2, c3, c4, c5

    def cut(self, x: Tensor, part: int) -> Tensor:
        """Stop the gradient behind a frozen part, so that none of its activations are kept."""
        return ops.stop_gradient(x) if part <= self.freeze_at else x
