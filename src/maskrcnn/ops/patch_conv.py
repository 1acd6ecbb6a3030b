"""Convolutions of channels-last maps as matrix products of gathered windows, for CPUs.

For what Winograd's algorithm does not do, or not faster: 1x1 and strided convolutions, 7x7, and 3x3 on maps of few
positions. The gradient of the input has the same form. A position of the input belongs to a phase, its row and column
modulo the stride; at all positions of a phase the same taps meet the output, so their gradient is one matrix product.
"""

from __future__ import annotations

from collections.abc import Iterator

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from maskrcnn.ops.channels_last import axis_windows, strips, table_rows, with_zero_row

FLOAT_BYTES = 4


class PointwiseConv(nn.Cell):
    """The 1x1 convolution of x [...,I] with weight [O,I,1,1]: [...,O]."""

    def construct(self, x: Tensor, weight: Tensor) -> Tensor:
        out_channels, in_channels = weight.shape[:2]
        rows = ops.MatMul(transpose_b=True)(x.reshape((-1, in_channels)), weight.reshape((out_channels, in_channels)))
        return rows.reshape((*x.shape[:-1], out_channels))

    def bprop(self, x: Tensor, weight: Tensor, out: Tensor, dout: Tensor) -> tuple[Tensor, Tensor]:
        out_channels, in_channels = weight.shape[:2]
        drows = dout.reshape((-1, out_channels))
        dx = ops.matmul(drows, weight.reshape((out_channels, in_channels))).reshape(x.shape)
        dweight = ops.MatMul(transpose_a=True)(drows, x.reshape((-1, in_channels)))
        return dx, dweight.reshape(weight.shape)


class PatchConv(nn.Cell):
    """The convolution of x [N,H,W,I] with weight [O,I,k,k], padded by k // 2: [N,H',W',O], H' = ceil(H / stride).

    Args:
        kernel: k, odd.
        stride: The same in both directions.
    """

    def __init__(self, kernel: int, stride: int) -> None:
        super().__init__()
        self.kernel = kernel
        self.stride = stride
        # Large windows of few channels (the stem's) are gathered along one axis after the other, in longer pieces.
        self.by_axis = kernel > 3

    def construct(self, x: Tensor, weight: Tensor) -> Tensor:
        shape, channels, out_channels = x.shape[:3], x.shape[3], weight.shape[0]
        matrix = weight.transpose((0, 2, 3, 1)).reshape((out_channels, -1))
        table = self.table(x)
        parts = ()
        for strip in _patch_strips(shape, self.kernel, self.stride, channels):
            parts += (ops.MatMul(transpose_b=True)(self.patches(table, shape, strip), matrix),)
        out = parts[0] if len(parts) == 1 else ops.concat(parts, 0)
        return out.reshape((*_out_shape(shape, self.stride), out_channels))

    def bprop(self, x: Tensor, weight: Tensor, out: Tensor, dout: Tensor) -> tuple[Tensor, Tensor]:
        return self.input_gradient(x.shape, weight, dout), self.weight_gradient(x, weight.shape, dout)

    def table(self, x: Tensor) -> Tensor:
        """Returns what windows are gathered from: positions [N*H*W + 1, I], or rows of windows [N*H*W' + 1, k*I]."""
        table = with_zero_row(x)
        if not self.by_axis:
            return table
        columns = ops.gather(table, _column_positions(x.shape[:3], self.kernel, self.stride), 0)
        return with_zero_row(columns.reshape((-1, self.kernel * x.shape[3])))

    def patches(self, table: Tensor, shape: tuple[int, int, int], strip: tuple[int, int]) -> Tensor:
        """Returns the windows of a strip of rows of the output: [positions, k*k*I], ordered (row, column, channel)."""
        positions = _patch_positions(shape, self.kernel, self.stride, self.by_axis, strip)
        size = self.kernel if self.by_axis else self.kernel * self.kernel
        return ops.gather(table, positions, 0).reshape((-1, size * table.shape[1]))

    def weight_gradient(self, x: Tensor, weight_shape: tuple[int, ...], dout: Tensor) -> Tensor:
        """Returns the gradient [O,I,k,k]; the windows are gathered again, not kept."""
        shape, (out_channels, channels, k, _) = x.shape[:3], weight_shape
        row_length = dout.shape[2]
        table, drows = self.table(x), dout.reshape((-1, out_channels))
        total = None
        for strip in _patch_strips(shape, self.kernel, self.stride, channels):
            part = drows[strip[0] * row_length : strip[1] * row_length]
            part = ops.MatMul(transpose_a=True)(part, self.patches(table, shape, strip))
            total = part if total is None else total + part
        return total.reshape((out_channels, k, k, channels)).transpose((0, 3, 1, 2))

    def input_gradient(self, x_shape: tuple[int, ...], weight: Tensor, dout: Tensor) -> Tensor:
        """Returns the gradient [N,H,W,I], phase by phase."""
        shape, channels, k = x_shape[:3], x_shape[3], self.kernel
        out_channels = weight.shape[0]
        taps = weight.transpose((2, 3, 0, 1)).reshape((k * k, out_channels * channels))
        table = with_zero_row(dout)
        parts = ()
        for phase in _phases(shape, k, self.stride):
            chosen = _phase_taps(phase, k, self.stride)
            matrix = ops.gather(taps, chosen, 0).reshape((-1, channels))
            for strip in _phase_strips(shape, phase, k, self.stride, out_channels):
                patches = ops.gather(table, _phase_positions(shape, phase, k, self.stride, strip), 0)
                parts += (ops.matmul(patches.reshape((-1, chosen.shape[0] * out_channels)), matrix),)
        if self.stride > 1:
            parts = (ops.concat((*parts, ops.zeros((1, channels), dout.dtype)), 0),)
            parts = (ops.gather(parts[0], _interleaved(shape, k, self.stride), 0),)
        dx = parts[0] if len(parts) == 1 else ops.concat(parts, 0)
        return dx.reshape((*shape, channels))


def _out_shape(shape: tuple[int, int, int], stride: int) -> tuple[int, int, int]:
    return shape[0], -(-shape[1] // stride), -(-shape[2] // stride)


@ms.constexpr
def _patch_strips(shape: tuple[int, int, int], kernel: int, stride: int, channels: int) -> tuple[tuple[int, int], ...]:
    """Strips of rows of the output, counted through all images, whose windows fit the workspace."""
    images, down, across = _out_shape(shape, stride)
    return strips(images * down, across * kernel * kernel * channels * FLOAT_BYTES)


def _window(length: int, kernel: int, stride: int) -> np.ndarray:
    """Input positions of each output's window along an axis: [outputs, k]; -1 in the padding."""
    return axis_windows(length, -(-length // stride), kernel, stride, -(kernel // 2))


@ms.constexpr
def _column_positions(shape: tuple[int, int, int], kernel: int, stride: int) -> Tensor:
    """Rows of a map's table for the windows along its rows: [N*H*W'*k]."""
    images, height, width = shape
    rows = np.arange(images * height)[:, None]
    return Tensor(table_rows((1, len(rows), width), rows, _window(width, kernel, stride), slice(None)).reshape(-1))


@ms.constexpr
def _patch_positions(
    shape: tuple[int, int, int], kernel: int, stride: int, by_axis: bool, strip: tuple[int, int]
) -> Tensor:
    """Rows of the table for the windows of a strip: [positions*k*k], or [positions*k] where it holds rows of them."""
    images, height, width = shape
    x = _window(width, kernel, stride)
    if by_axis:
        width = len(x)
        x = np.arange(width)[:, None]
    return Tensor(table_rows((images, height, width), _window(height, kernel, stride), x, slice(*strip)).reshape(-1))


def _axis_taps(phase: int, kernel: int, stride: int) -> np.ndarray:
    """Taps along an axis that meet the input positions of a phase."""
    return np.arange((phase + kernel // 2) % stride, kernel, stride)


@ms.constexpr
def _phases(shape: tuple[int, int, int], kernel: int, stride: int) -> tuple[tuple[int, int], ...]:
    """The phases that any tap meets; elsewhere the gradient is zero."""
    return tuple(_met_phases(shape, kernel, stride))


def _met_phases(shape: tuple[int, int, int], kernel: int, stride: int) -> Iterator[tuple[int, int]]:
    for a in range(min(stride, shape[1])):
        for b in range(min(stride, shape[2])):
            if len(_axis_taps(a, kernel, stride)) and len(_axis_taps(b, kernel, stride)):
                yield a, b


@ms.constexpr
def _phase_taps(phase: tuple[int, int], kernel: int, stride: int) -> Tensor:
    """The taps of a phase, numbered row by row."""
    rows, columns = (_axis_taps(axis, kernel, stride) for axis in phase)
    return Tensor((rows[:, None] * kernel + columns).reshape(-1).astype(np.int32))


def _phase_window(length: int, phase: int, kernel: int, stride: int) -> np.ndarray:
    """Output positions that the input positions of a phase met, tap by tap: [positions, taps]; -1 outside."""
    outputs = -(-length // stride)
    position = np.arange(phase, length, stride)[:, None] + kernel // 2 - _axis_taps(phase, kernel, stride)
    position = position // stride
    return np.where((position >= 0) & (position < outputs), position, -1)


@ms.constexpr
def _phase_strips(
    shape: tuple[int, int, int], phase: tuple[int, int], kernel: int, stride: int, channels: int
) -> tuple[tuple[int, int], ...]:
    y, x = (_phase_window(length, axis, kernel, stride) for length, axis in zip(shape[1:], phase))
    return strips(shape[0] * len(y), x.size * y.shape[1] * channels * FLOAT_BYTES)


@ms.constexpr
def _phase_positions(
    shape: tuple[int, int, int], phase: tuple[int, int], kernel: int, stride: int, strip: tuple[int, int]
) -> Tensor:
    """Rows of the output's table that a strip of a phase's positions met: [positions*taps]."""
    images, down, across = _out_shape(shape, stride)
    y, x = (_phase_window(length, axis, kernel, stride) for length, axis in zip(shape[1:], phase))
    return Tensor(table_rows((images, down, across), y, x, slice(*strip)).reshape(-1))


@ms.constexpr
def _interleaved(shape: tuple[int, int, int], kernel: int, stride: int) -> Tensor:
    """Where the positions of a map lie in the concatenated phases, [N*H*W]: behind them where no tap meets any."""
    index = np.full(shape, -1, np.int32)
    first = 0
    for a, b in _met_phases(shape, kernel, stride):
        part = index[:, a::stride, b::stride]
        part[...] = np.arange(first, first + part.size).reshape(part.shape)
        first += part.size
    return Tensor(np.where(index < 0, first, index).reshape(-1))
