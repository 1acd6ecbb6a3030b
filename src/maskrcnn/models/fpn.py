"""Feature pyramid: Lin et al., "Feature Pyramid Networks for Object Detection", section 3."""

from __future__ import annotations

from collections.abc import Sequence

from mindspore import Tensor, nn

from maskrcnn.models.layers import head_conv


def add_upsampled(x: Tensor, coarse: Tensor) -> Tensor:
    """x [N,C,2H,2W] plus coarse [N,C,H,W] repeated twice along both sides (nearest-neighbour upsampling).

    Written with broadcasting, which every export format knows.
    """
    n, c, h, w = coarse.shape
    return x + coarse.reshape((n, c, h, 1, w, 1)).broadcast_to((n, c, h, 2, w, 2)).reshape(x.shape)


class FPN(nn.Cell):
    """C2..C5 to P2..P6, all with ``out_channels`` channels.

    Args:
        in_channels: channels of C2, C3, C4, C5.
        out_channels: channels of every output level (256 in the paper).
    """

    def __init__(self, in_channels: Sequence[int], out_channels: int = 256) -> None:
        super().__init__()
        self.lateral = nn.CellList([head_conv(c, out_channels, 1, "xavier") for c in in_channels])
        self.output = nn.CellList([head_conv(out_channels, out_channels, 3, "xavier") for _ in in_channels])

    def construct(self, c2: Tensor, c3: Tensor, c4: Tensor, c5: Tensor) -> tuple[Tensor, ...]:
        """Top-down pathway with lateral connections; P6 is P5 subsampled by two (section 4.1, footnote 2)."""
        m5 = self.lateral[3](c5)
        m4 = add_upsampled(self.lateral[2](c4), m5)
        m3 = add_upsampled(self.lateral[1](c3), m4)
        m2 = add_upsampled(self.lateral[0](c2), m3)
        p5 = self.output[3](m5)
        return self.output[0](m2), self.output[1](m3), self.output[2](m4), p5, p5[:, :, ::2, ::2]
