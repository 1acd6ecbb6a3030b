"""Feature maps with the channels last, and what is done to them row by row: for CPUs.

A map [N,H,W,C] is a table with one row of C values for each position. In this layout a 1x1 convolution is a matrix
product, a window of positions is a ``gather`` of whole rows, and RoIAlign reads positions without a transposition. All
of these run at full speed on any processor, whereas the convolutions of NCHW maps do not.

Padding is one more row: where windows lie is computed in numpy when a graph is built, and positions outside the map
point to a row of zeros behind the last one. Gradients are made of gathers and matrix products, too, because scattering
and summing along an axis run on one core.
"""

from __future__ import annotations

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

# Limit of what a convolution lays out at once: windows of its input, or their transforms. Larger maps are processed in
# strips. Strips that small are reused by the memory pool, and are no slower than whole maps.
WORKSPACE_BYTES = 64 * 2**20


def strips(rows: int, row_bytes: int) -> tuple[tuple[int, int], ...]:
    """Divides rows into consecutive, nearly equal parts whose workspace is within ``WORKSPACE_BYTES``.

    Args:
        rows: How many there are.
        row_bytes: Workspace of one row; a part has at least one, however large that is.

    Returns:
        First row and row behind the last one of each part.
    """
    number = -(-rows // max(WORKSPACE_BYTES // row_bytes, 1))
    edges = [rows * i // number for i in range(number + 1)]
    return tuple(zip(edges, edges[1:]))


def table_rows(shape: tuple[int, int, int], y: np.ndarray, x: np.ndarray, strip: slice) -> np.ndarray:
    """Returns the rows of a map's table that windows consist of.

    Args:
        shape: N, H, W of the map.
        y: Rows of an image that each row of windows consists of, [windows down, p]; negative is padding.
        x: Columns of each column of windows, [windows across, q]; negative is padding.
        strip: The wanted rows of windows, counted through all images.

    Returns:
        int32 [rows of windows, windows across, p, q]; N*H*W, the row behind the last one, for padding.
    """
    images, height, width = shape
    image, row = np.divmod(np.arange(images * len(y))[strip], len(y))
    index = ((image * height)[:, None] + y[row])[:, None, :, None] * width + x[None, :, None, :]
    inside = (y[row] >= 0)[:, None, :, None] & (x >= 0)[None, :, None, :]
    return np.where(inside, index, images * height * width).astype(np.int32)


def axis_windows(length: int, number: int, size: int, stride: int, first: int) -> np.ndarray:
    """Returns the positions of windows along an axis, [number, size]; -1 for padding.

    Args:
        length: Of the axis.
        number: Of windows.
        size: Positions in a window.
        stride: From a window to the next.
        first: Where the first window begins; negative in the padding.
    """
    position = (np.arange(number) * stride + first)[:, None] + np.arange(size)
    return np.where((position >= 0) & (position < length), position, -1)


def with_zero_row(x: Tensor) -> Tensor:
    """Returns a map [N,H,W,C] as a table [N*H*W + 1, C] whose last row is zero."""
    channels = x.shape[-1]
    return ops.concat((x.reshape((-1, channels)), ops.zeros((1, channels), x.dtype)), 0)


@ms.constexpr
def _ones(*shape: int) -> Tensor:
    return Tensor(np.ones(shape, np.float32))


def column_sums(x: Tensor) -> Tensor:
    """Sums float32 [...,C] over all axes but the last, to [C]: as a matrix product, which uses all cores."""
    rows = x.reshape((-1, x.shape[-1]))
    return ops.matmul(_ones(1, rows.shape[0]), rows).reshape((-1,))


class AddBias(nn.Cell):
    """x [...,C] plus a bias [C]."""

    def construct(self, x: Tensor, bias: Tensor) -> Tensor:
        return ops.bias_add(x.reshape((-1, x.shape[-1])), bias).reshape(x.shape)

    def bprop(self, x: Tensor, bias: Tensor, out: Tensor, dout: Tensor) -> tuple[Tensor, Tensor]:
        return dout, column_sums(dout)


class Upsample2x(nn.Cell):
    """Nearest-neighbour upsampling [N,H,W,C] to [N,2H,2W,C]."""

    def construct(self, x: Tensor) -> Tensor:
        n, h, w, c = x.shape
        return ops.gather(x.reshape((-1, c)), _repeated_positions(n * h, w), 0).reshape((n, 2 * h, 2 * w, c))

    def bprop(self, x: Tensor, out: Tensor, dout: Tensor) -> tuple[Tensor]:
        """Adds up the four gradients of each position: two rows of the map, then two columns."""
        n, h, w, c = x.shape
        rows = ops.matmul(_ones(1, 2), dout.reshape((n * h, 2, 2 * w * c)))
        return (ops.matmul(_ones(1, 2), rows.reshape((n * h * w, 2, c))).reshape(x.shape),)


@ms.constexpr
def _repeated_positions(rows: int, columns: int) -> Tensor:
    position = np.arange(rows * columns, dtype=np.int32).reshape(rows, columns)
    return Tensor(position.repeat(2, 0).repeat(2, 1).reshape(-1))


class Subsample2x(nn.Cell):
    """Every second row and column of a map: [N,H,W,C] to [N,ceil(H/2),ceil(W/2),C]."""

    def construct(self, x: Tensor) -> Tensor:
        n, h, w, c = x.shape
        rows = ops.gather(x.reshape((-1, c)), _every_second_position(n, h, w), 0)
        return rows.reshape((n, (h + 1) // 2, (w + 1) // 2, c))

    def bprop(self, x: Tensor, out: Tensor, dout: Tensor) -> tuple[Tensor]:
        n, h, w, _ = x.shape
        return (ops.gather(with_zero_row(dout), _inverse_of_every_second(n, h, w), 0).reshape(x.shape),)


@ms.constexpr
def _every_second_position(n: int, h: int, w: int) -> Tensor:
    return Tensor(np.arange(n * h * w, dtype=np.int32).reshape(n, h, w)[:, ::2, ::2].reshape(-1))


@ms.constexpr
def _inverse_of_every_second(n: int, h: int, w: int) -> Tensor:
    size = n * ((h + 1) // 2) * ((w + 1) // 2)
    position = np.full((n, h, w), size, np.int32)
    position[:, ::2, ::2] = np.arange(size).reshape(n, (h + 1) // 2, (w + 1) // 2)
    return Tensor(position.reshape(-1))


class MaxPool3x3(nn.Cell):
    """Max pooling over 3x3 with stride 2 of a map with even sides: [N,H,W,C] to [N,H/2,W/2,C].

    The maximum over three rows, then over three columns. A window's first row is the one before two rows of a pair, or
    with ``pads_end`` its last one the row behind them; beyond the map the pair's nearer row stands in, which changes no
    maximum. Where several positions hold the maximum, the first of the pair, its second, then the third gets the
    gradient.

    Args:
        pads_end: The padding lies below and on the right only, not above and on the left only.
    """

    def __init__(self, pads_end: bool = False) -> None:
        super().__init__()
        self.pads_end = pads_end

    def construct(self, x: Tensor) -> Tensor:
        n, h, w, c = x.shape
        a, b, third = self.triple(x, n, h, w * c)
        rows = ops.maximum(ops.maximum(a, b), third)
        a, b, third = self.triple(rows, n * h // 2, w, c)
        return ops.maximum(ops.maximum(a, b), third).reshape((n, h // 2, w // 2, c))

    def bprop(self, x: Tensor, out: Tensor, dout: Tensor) -> tuple[Tensor]:
        n, h, w, c = x.shape
        a, b, third = self.triple(x, n, h, w * c)
        pair = ops.maximum(a, b)
        rows = ops.maximum(pair, third)
        rows_a, rows_b, rows_third = self.triple(rows, n * h // 2, w, c)
        rows_pair = ops.maximum(rows_a, rows_b)
        drows = self.distribute(dout, rows_a, rows_b, rows_pair, rows_third, n * h // 2, w, c)
        return (self.distribute(drows, a, b, pair, third, n, h, w * c).reshape(x.shape),)

    def triple(self, x: Tensor, groups: int, length: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
        """Takes the pairs and the third of windows along the middle axis of [groups, length, width]."""
        table = x.reshape((groups * length, width))
        return tuple(ops.gather(table, _pool_rows(groups, length, k, self.pads_end), 0) for k in range(3))

    def distribute(
        self,
        dout: Tensor,
        a: Tensor,
        b: Tensor,
        pair: Tensor,
        third: Tensor,
        groups: int,
        length: int,
        width: int,
    ) -> Tensor:
        """Gives the gradient of each maximum to the position that holds it: [groups * length, width]."""
        dout = dout.reshape(pair.shape)
        to_third = ops.where(third > pair, dout, ops.zeros_like(dout))
        rest = dout - to_third
        to_a = ops.where(a >= b, rest, ops.zeros_like(rest))
        to_b = rest - to_a
        # What the third of a window gets belongs to the window before it, or behind it.
        table = ops.concat((to_third, ops.zeros((1, width), dout.dtype)), 0)
        moved = ops.gather(table, _pool_neighbours(groups, length, self.pads_end), 0)
        to_a, to_b = (to_a + moved, to_b) if self.pads_end else (to_a, to_b + moved)
        return ops.stack((to_a, to_b), 1)


@ms.constexpr
def _pool_rows(groups: int, length: int, k: int, pads_end: bool) -> Tensor:
    """Rows of the pairs (k = 0, 1) and of the third (k = 2) of all windows, [groups * length / 2]."""
    start = np.arange(0, length, 2, dtype=np.int32)
    third = np.minimum(start + 2, length - 1) if pads_end else np.maximum(start - 1, 0)
    row = (start, start + 1, third)[k]
    return Tensor((np.arange(groups, dtype=np.int32)[:, None] * length + row).reshape(-1))


@ms.constexpr
def _pool_neighbours(groups: int, length: int, pads_end: bool) -> Tensor:
    """For each pair the window whose third it holds, [groups * length / 2]; the row behind the last where none does."""
    pairs = length // 2
    window = np.arange(pairs) + (-1 if pads_end else 1)
    position = np.arange(groups)[:, None] * pairs + window
    inside = (window >= 0) & (window < pairs)
    return Tensor(np.where(inside, position, groups * pairs).reshape(-1).astype(np.int32))
