"""ResNet backbones: He et al., "Deep Residual Learning for Image Recognition", table 1.

Parameter names are those of the MindSpore model zoo's ResNet (``layer1.0.down_sample_layer.0.weight``). An ImageNet
checkpoint from there has another eps in its normalisation: ``python -m maskrcnn.convert`` makes up for it.
"""

from __future__ import annotations

from collections.abc import Sequence

from mindspore import Tensor, nn, ops

from maskrcnn.config import Config
from maskrcnn.models.layers import FeatureCell, TensorOperations, conv, freeze, normalisation

STEM_WIDTH = 64
STAGE_FACTORS = (1, 2, 4, 8)  # the width doubles where the map is halved
STAGE_STRIDES = (1, 2, 2, 2)
BOTTLENECK = 4  # how many times as many channels leave a bottleneck block as its 3x3 convolution has


class BasicBlock(FeatureCell):
    """Two 3x3 convolutions: ResNet-18 and 34 (figure 5 left)."""

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int, norm: str, stride_in_1x1: bool) -> None:
        super().__init__()
        self.conv1 = conv(in_channels, width, 3, stride)
        self.bn1 = normalisation(norm, width)
        self.conv2 = conv(width, width, 3, 1)
        self.bn2 = normalisation(norm, width, last=True)
        self.has_projection = stride != 1 or in_channels != width
        if self.has_projection:
            self.down_sample_layer = nn.SequentialCell(conv(in_channels, width, 1, stride), normalisation(norm, width))

    def forward(self, f: TensorOperations, x: Tensor) -> Tensor:
        shortcut = x
        if self.has_projection:
            shortcut = f.conv_norm(self.down_sample_layer[0], self.down_sample_layer[1], x)
        out = f.relu(f.conv_norm(self.conv1, self.bn1, x))
        out = f.conv_norm(self.conv2, self.bn2, out)
        return f.relu(f.add(out, shortcut))


class Bottleneck(FeatureCell):
    """1x1, 3x3, 1x1 convolutions: ResNet-50 and deeper (figure 5 right).

    The stride sits in the 3x3 convolution, or in the first 1x1 as in the original Caffe models.
    """

    expansion = BOTTLENECK

    def __init__(self, in_channels: int, width: int, stride: int, norm: str, stride_in_1x1: bool) -> None:
        super().__init__()
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

    def forward(self, f: TensorOperations, x: Tensor) -> Tensor:
        shortcut = x
        if self.has_projection:
            shortcut = f.conv_norm(self.down_sample_layer[0], self.down_sample_layer[1], x)
        out = f.relu(f.conv_norm(self.conv1, self.bn1, x))
        out = f.relu(f.conv_norm(self.conv2, self.bn2, out))
        out = f.conv_norm(self.conv3, self.bn3, out)
        return f.relu(f.add(out, shortcut))


class PaddedMaxPool(nn.Cell):
    """Max pooling over 3x3 with stride 2 and padding 1: [N,C,H,W], not negative, H and W even, to [N,C,H/2,W/2].

    A row and a column of zeros go before the first ones; the last window ends with the map. On a CPU this is five times
    as fast as ``nn.MaxPool2d`` with padding, and every device has the operators.
    """

    pads = (1, 1, 1, 1)  # top, left, bottom, right

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(3, 2, pad_mode="valid")

    def construct(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        x = ops.concat((ops.zeros((n, c, 1, w), x.dtype), x), 2)
        return self.pool(ops.concat((ops.zeros((n, c, h + 1, 1), x.dtype), x), 3))


class EndPaddedMaxPool(nn.MaxPool2d):
    """Max pooling over 3x3 with stride 2, of an even side: padded by one below and on the right, as the model zoo's."""

    pads = (0, 0, 1, 1)  # top, left, bottom, right

    def __init__(self) -> None:
        super().__init__(3, 2, pad_mode="same")


class ResNet(FeatureCell):
    """A ResNet without its classifier.

    Args:
        depths: Blocks of the four stages.
        bottleneck: They are ``Bottleneck`` blocks, otherwise ``BasicBlock``.
        norm: "frozen_bn" (as loaded), "bn" (trained) or "gn".
        freeze_at: How much stays fixed: 0 nothing, 1 the stem, 2 the stem and the first stage, up to 5.
        stride_in_1x1: Puts a bottleneck's stride into its first 1x1 convolution.
        stem_width: Channels of the stem, from which all others follow; 64 in the paper.
        pool_pads_end: Pads the stem's max pooling on the right and below only.
    """

    def __init__(
        self,
        depths: Sequence[int],
        bottleneck: bool,
        *,
        norm: str,
        freeze_at: int,
        stride_in_1x1: bool,
        stem_width: int,
        pool_pads_end: bool,
    ) -> None:
        super().__init__()
        block = Bottleneck if bottleneck else BasicBlock
        widths = [stem_width * factor for factor in STAGE_FACTORS]
        self.out_channels = [width * block.expansion for width in widths]
        self.conv1 = conv(3, stem_width, 7, 2)
        self.bn1 = normalisation(norm, stem_width)
        self.max_pool = EndPaddedMaxPool() if pool_pads_end else PaddedMaxPool()
        in_channels = stem_width
        stages = []
        for depth, width, stride in zip(depths, widths, STAGE_STRIDES):
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

    def forward(self, f: TensorOperations, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Maps normalised images [N,3,H,W] to C2, C3, C4, C5 [N,C,H/s,W/s] with strides s = 4, 8, 16, 32."""
        x = f.relu(f.conv_norm(self.conv1, self.bn1, x))
        x = self.cut(f, f.max_pool(self.max_pool, x), 1)
        c2 = self.cut(f, self.stage(f, self.layer1, x), 2)
        c3 = self.cut(f, self.stage(f, self.layer2, c2), 3)
        c4 = self.cut(f, self.stage(f, self.layer3, c3), 4)
        c5 = self.cut(f, self.stage(f, self.layer4, c4), 5)
        return c2, c3, c4, c5

    def stage(self, f: TensorOperations, blocks: nn.SequentialCell, x: Tensor) -> Tensor:
        for block in blocks:
            x = f.cell(block, x)
        return x

    def cut(self, f: TensorOperations, x: Tensor, part: int) -> Tensor:
        """Stops the gradient behind a frozen part, so that none of its activations are kept."""
        return f.stop_gradient(x) if part <= self.freeze_at else x


def build(cfg: Config, depths: Sequence[int], bottleneck: bool) -> ResNet:
    """Builds the ResNet of a configuration."""
    return ResNet(
        depths,
        bottleneck,
        norm=cfg.norm,
        freeze_at=cfg.freeze_at,
        stride_in_1x1=cfg.stride_in_1x1,
        stem_width=cfg.backbone_width,
        pool_pads_end=cfg.max_pool_pads_end,
    )


def conv_norms(depths: Sequence[int], bottleneck: bool) -> list[tuple[str, str, tuple[int, int, int]]]:
    """Lists each convolution of a ResNet of full width with its normalisation, in the order of the forward pass.

    Returns:
        Two names and (out, in, kernel): ("layer1.0.conv2", "layer1.0.bn2", (64, 64, 3)).
    """
    layers = [("conv1", "bn1", (STEM_WIDTH, 3, 7))]
    channels = STEM_WIDTH
    for stage, (depth, factor) in enumerate(zip(depths, STAGE_FACTORS), 1):
        width = STEM_WIDTH * factor
        out = width * BOTTLENECK if bottleneck else width
        for i in range(depth):
            block = f"layer{stage}.{i}."
            sizes = [(width, channels, 3), (width, width, 3)]
            if bottleneck:
                sizes = [(width, channels, 1), (width, width, 3), (out, width, 1)]
            layers += [(f"{block}conv{n}", f"{block}bn{n}", size) for n, size in enumerate(sizes, 1)]
            if i == 0 and (stage > 1 or out != channels):
                projection = block + "down_sample_layer."
                layers.append((projection + "0", projection + "1", (out, channels, 1)))
            channels = out
    return layers
