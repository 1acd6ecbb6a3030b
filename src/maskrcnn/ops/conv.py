"""A 3x3 convolution whose backward pass needs little memory on a CPU.

oneDNN's plain-layout backward convolutions lay the whole input out as columns (nine copies of it, for each thread) in
a buffer that stays with every one of them: 1.1 GB for one layer on P2, several GB for the network. Its forward
convolution works in blocks. So here

- the gradient of the input is a forward convolution of the output's gradient with the rotated, transposed weight;
- the gradient of the weight is a sum over positions, so the map is cut into strips that are stacked as a batch.

Both are the same sums as before in another order.
"""

from __future__ import annotations

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops
from mindspore.ops.operations import _grad_ops

# Columns of one strip: small beside the activations, large enough for full-speed matrix products.
STRIP_BYTES = 48 * 2**20


def number_of_strips(channels: int, height: int, width: int) -> int:
    """Returns how many equal strips of rows a map is cut into for a strip's columns to stay below ``STRIP_BYTES``."""
    columns = 9 * channels * height * width * 4
    for strips in range(1, height):
        if height % strips == 0 and columns <= STRIP_BYTES * strips:
            return strips
    return height


@ms.constexpr
def _strip_rows(images: int, channels: int, height: int, strips: int, halo: int) -> Tensor:
    """Returns row numbers in a map viewed as [images*channels*height, width], ordered image, strip, channel, row.

    Each strip has ``halo`` more rows on both sides; rows beyond the image get the number behind the last one.
    """
    size = height // strips
    rows = np.arange(strips)[:, None] * size + np.arange(-halo, size + halo)[None, :]
    first = (np.arange(images)[:, None] * channels + np.arange(channels)[None, :]) * height
    index = first[:, None, :, None] + rows[None, :, None, :]
    inside = np.broadcast_to(((rows >= 0) & (rows < height))[None, :, None, :], index.shape)
    return Tensor(np.where(inside, index, images * channels * height).reshape(-1).astype(np.int32))


def _stack_strips(x: Tensor, strips: int, halo: int) -> Tensor:
    """Cuts [N,C,H,W] into [N*strips, C, H/strips + 2*halo, W], rows beyond the border being zero."""
    n, c, h, w = x.shape
    rows = x.reshape((n * c * h, w))
    if halo:
        rows = ops.concat((rows, ops.zeros((1, w), x.dtype)), 0)
    rows = ops.gather(rows, _strip_rows(n, c, h, strips, halo), 0)
    return rows.reshape((n * strips, c, h // strips + 2 * halo, w))


def _conv(x: Tensor, weight: Tensor) -> Tensor:
    return ops.Conv2D(weight.shape[0], 3, pad_mode="pad", pad=1)(x, weight)


def _rotated(weight: Tensor) -> Tensor:
    """Returns [O,I,3,3] as [I,O,3,3] with every kernel rotated by 180 degrees; whole taps are moved, which is fast."""
    o, i, _, _ = weight.shape
    taps = weight.transpose((2, 3, 1, 0)).reshape((9, i * o))
    taps = ops.gather(taps, Tensor([8, 7, 6, 5, 4, 3, 2, 1, 0], ms.int32), 0)
    return taps.reshape((3, 3, i, o)).transpose((2, 3, 0, 1))


class Conv3x3(nn.Cell):
    """The 3x3 convolution with stride 1 and padding 1 of x [N,I,H,W] with weight [O,I,3,3], for CPUs.

    Its gradients equal those of ``ops.conv2d`` up to the rounding of the order of summation.
    """

    def construct(self, x: Tensor, weight: Tensor) -> Tensor:
        return _conv(x, weight)

    def bprop(self, x: Tensor, weight: Tensor, out: Tensor, dout: Tensor) -> tuple[Tensor, Tensor]:
        dx = _conv(dout, _rotated(weight))
        strips = number_of_strips(x.shape[1], x.shape[2], x.shape[3])
        backprop_filter = _grad_ops.Conv2DBackpropFilter(
            weight.shape[0],
            3,
            pad_mode="pad",
            pad=(0, 0, 1, 1) if strips > 1 else (1, 1, 1, 1),
            pad_list=(0, 0, 1, 1) if strips > 1 else (1, 1, 1, 1),
            stride=(1, 1),
        )
        if strips > 1:
            x, dout = _stack_strips(x, strips, 1), _stack_strips(dout, strips, 0)
        return dx, backprop_filter(dout, x, weight.shape)
