"""Feature pyramid: Lin et al., "Feature Pyramid Networks for Object Detection", section 3."""

from __future__ import annotations

from collections.abc import Sequence

from mindspore import Tensor, nn, ops

from maskrcnn.models.layers import FeatureCell, TensorOperations, head_conv


class Upsample(nn.Cell):
    """Nearest-neighbour upsampling [N,C,H,W] to [N,C,2H,2W]: every column twice, then every row twice.

    Stacking is known to every export format, and on a CPU three times as fast as broadcasting.
    """

    def construct(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        columns = ops.stack((x, x), 4).reshape((n, c, h, 2 * w))
        return ops.stack((columns, columns), 3).reshape((n, c, 2 * h, 2 * w))

    def bprop(self, x: Tensor, out: Tensor, dout: Tensor) -> tuple[Tensor]:
        """Adds up each cell's four gradients, as four times their mean: reducing by pairs of axes is slow on a CPU."""
        return (4.0 * ops.AvgPool(kernel_size=2, strides=2)(dout),)


class BilinearUpsample(nn.Cell):
    """Upsampling [N,C,H,W] to [N,C,2H,2W] that keeps every cell and puts means of neighbours between them.

    What MindSpore's model zoo does: the last row and the last column are repeated.
    """

    def construct(self, x: Tensor) -> Tensor:
        return ops.ResizeBilinearV2()(x, (2 * x.shape[2], 2 * x.shape[3]))


class FPN(FeatureCell):
    """C2..C5 to P2..P6, all with ``out_channels`` channels.

    Args:
        in_channels: Channels of C2, C3, C4, C5.
        out_channels: Channels of every output level (256 in the paper).
        bilinear: Upsamples by interpolation, not by the nearest neighbour of the paper.
    """

    def __init__(self, in_channels: Sequence[int], out_channels: int, bilinear: bool = False) -> None:
        super().__init__()
        self.lateral = nn.CellList([head_conv(c, out_channels, 1, "xavier") for c in in_channels])
        self.output = nn.CellList([head_conv(out_channels, out_channels, 3, "xavier") for _ in in_channels])
        self.upsample = BilinearUpsample() if bilinear else Upsample()

    def forward(self, f: TensorOperations, c2: Tensor, c3: Tensor, c4: Tensor, c5: Tensor) -> tuple[Tensor, ...]:
        """Goes down with lateral connections; P6 is P5 subsampled by two (section 4.1, footnote 2)."""
        m5 = f.conv(self.lateral[3], c5)
        m4 = f.add(f.conv(self.lateral[2], c4), f.upsample(self.upsample, m5))
        m3 = f.add(f.conv(self.lateral[1], c3), f.upsample(self.upsample, m4))
        m2 = f.add(f.conv(self.lateral[0], c2), f.upsample(self.upsample, m3))
        p2, p3 = f.conv(self.output[0], m2), f.conv(self.output[1], m3)
        p4, p5 = f.conv(self.output[2], m4), f.conv(self.output[3], m5)
        return p2, p3, p4, p5, f.subsample(p5)
