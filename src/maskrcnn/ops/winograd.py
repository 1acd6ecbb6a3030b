"""3x3 convolutions of channels-last maps by Winograd's minimal filtering: Lavin & Gray 2016, sections 4 and 5.1.

A tile of m x m outputs depends on n x n inputs, n = m + 2. With three small matrices A^T, G and B^T, made from n - 1
interpolation points and infinity (Cook-Toom), Y = A^T ((G g G^T) * (B^T d B)) A: n^2 products for m^2 outputs, 2.25
instead of 9 an output for m = 4. Summed over channels, the products of all tiles are n^2 matrix products.

The points decide how exact the sums are in float32. With 0, ±5/8, ±3/2 the largest error of F(4x4) is a quarter of what
the paper's 0, ±1, ±2 give (for 256 channels 2e-6 of the largest value), and A and B themselves are exact.

The gradient of the input is the convolution of the output's gradient with the weight rotated by 180 degrees. That of
the weight is G^T (sum over tiles of (A dY A^T) * (B^T d B)) G; the transformed input is computed again, not kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from maskrcnn.ops.channels_last import axis_windows, strips, table_rows, with_zero_row

TAPS = 3
FLOAT_BYTES = 4


@dataclass(frozen=True)
class TileTransforms:
    """The matrices of F(m x m, 3x3).

    Attributes:
        output: A^T, float64 [m,n].
        weight: G, float64 [n,3].
        input: B^T, float64 [n,n].
    """

    output: np.ndarray
    weight: np.ndarray
    input: np.ndarray


def cook_toom(points: Sequence[float]) -> TileTransforms:
    """Returns the transforms for finite interpolation points and infinity.

    Polynomials are evaluated at the points, multiplied there, and the product's coefficients interpolated; transposed,
    this is a filter (Lavin & Gray 2016, section 2). Each row of B^T and G may be scaled against the other: here by the
    power of two that makes them most alike, which is exact and keeps intermediate values in one range.

    Args:
        points: m + 1 different numbers.
    """
    finite = np.array(points, np.float64)
    n = len(finite) + 1
    m = n - TAPS + 1
    output, weight, inputs = np.zeros((m, n)), np.zeros((n, TAPS)), np.zeros((n, n))
    output[:, :-1] = finite ** np.arange(m)[:, None]
    output[-1, -1] = 1.0
    for k, point in enumerate(finite):
        others = np.delete(finite, k)
        weight[k] = point ** np.arange(TAPS) / np.prod(point - others)
        inputs[k, :-1] = np.poly(others)[::-1]
    weight[-1, -1] = 1.0
    inputs[-1] = np.poly(finite)[::-1]
    ratio = np.abs(weight).sum(1, keepdims=True) / np.abs(inputs).sum(1, keepdims=True)
    scale = 2.0 ** np.round(np.log2(ratio) / 2)
    return TileTransforms(output, weight / scale, inputs * scale)


TRANSFORMS = {2: cook_toom((0.0, 1.0, -1.0)), 4: cook_toom((0.0, 0.625, -0.625, 1.5, -1.5))}


class WinogradConv3x3(nn.Cell):
    """The convolution of x [N,H,W,I] with weight [O,I,3,3], stride 1 and padding 1, to [N,H,W,O], in float32.

    Args:
        tile: Side m of a tile, 2 or 4.
    """

    def __init__(self, tile: int) -> None:
        super().__init__()
        self.tile = tile

    def construct(self, x: Tensor, weight: Tensor) -> Tensor:
        out_channels, in_channels = weight.shape[:2]
        taps = weight.reshape((out_channels * in_channels, TAPS * TAPS))
        weight = ops.MatMul(transpose_b=True)(_weight_matrix(self.tile, False), taps)
        return self.convolve(x, weight.reshape((-1, out_channels, in_channels)), True)

    def bprop(self, x: Tensor, weight: Tensor, out: Tensor, dout: Tensor) -> tuple[Tensor, Tensor]:
        out_channels, in_channels = weight.shape[:2]
        taps = weight.reshape((out_channels * in_channels, TAPS * TAPS))
        rotated = ops.MatMul(transpose_b=True)(_weight_matrix(self.tile, True), taps)
        dx = self.convolve(dout, rotated.reshape((-1, out_channels, in_channels)), False)
        return dx, self.weight_gradient(x, dout)

    def convolve(self, x: Tensor, weight: Tensor, transposed: bool) -> Tensor:
        """Convolves a map with a transformed weight [n^2,I,O], or [n^2,O,I] if it is ``transposed``: [N,H,W,O]."""
        shape, channels, m = x.shape[:3], x.shape[3], self.tile
        out_channels = weight.shape[1] if transposed else weight.shape[2]
        table = with_zero_row(x)
        parts = ()
        for strip in _tile_strips(shape, m, channels, out_channels):
            values = self.transformed_patches(table, shape, strip)
            values = ops.BatchMatMul(transpose_b=transposed)(values, weight)
            values = _both_axes(values, _matrix(m, "output", 1), _matrix(m, "output", m))
            parts += (ops.gather(values.reshape((-1, out_channels)), _map_order(shape, m, strip), 0),)
        out = parts[0] if len(parts) == 1 else ops.concat(parts, 0)
        return out.reshape((*shape, out_channels))

    def weight_gradient(self, x: Tensor, dout: Tensor) -> Tensor:
        """Returns the gradient [O,I,3,3] for a map [N,H,W,I] and the output's gradient [N,H,W,O]."""
        shape, channels, out_channels, m = x.shape[:3], x.shape[3], dout.shape[3], self.tile
        table, out_table = with_zero_row(x), with_zero_row(dout)
        total = None
        for strip in _tile_strips(shape, m, channels, out_channels):
            patches = self.transformed_patches(table, shape, strip)
            tiles = ops.gather(out_table, _patch_positions(shape, m, m, 0, strip), 0)
            tiles = tiles.reshape((m * m, -1, out_channels))
            tiles = _both_axes(tiles, _matrix(m, "output_transposed", 1), _matrix(m, "output_transposed", m + 2))
            part = ops.BatchMatMul(transpose_a=True)(tiles, patches)  # [n^2,O,I]
            total = part if total is None else total + part
        total = total.reshape((-1, out_channels * channels))
        gradient = ops.MatMul(transpose_a=True)(total, _weight_matrix(m, False))
        return gradient.reshape((out_channels, channels, TAPS, TAPS))

    def transformed_patches(self, table: Tensor, shape: tuple[int, int, int], strip: tuple[int, int]) -> Tensor:
        """Returns B^T d B of the tiles of a strip: [n^2, tiles, C]."""
        m, n = self.tile, self.tile + 2
        patches = ops.gather(table, _patch_positions(shape, m, n, -1, strip), 0)
        patches = patches.reshape((n * n, -1, table.shape[1]))
        return _both_axes(patches, _matrix(m, "input", 1), _matrix(m, "input", n))


def _both_axes(values: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Multiplies both axes of patches by a matrix M [p,q]: values [q*q,T,C] to [p*p,T,C].

    ``first`` is [1,p,q], ``second`` the same p times.
    """
    p, q = first.shape[1:]
    tiles, channels = values.shape[1:]
    values = ops.matmul(first.reshape((p, q)), values.reshape((q, q * tiles * channels)))
    return ops.bmm(second, values.reshape((p, q, tiles * channels))).reshape((p * p, tiles, channels))


@ms.constexpr
def _matrix(tile: int, name: str, copies: int) -> Tensor:
    """A transform's matrix in float32, so many times: [copies, rows, columns]."""
    transforms = TRANSFORMS[tile]
    matrix = transforms.output.T if name == "output_transposed" else getattr(transforms, name)
    return Tensor(np.repeat(matrix[None], copies, 0).astype(np.float32))


@ms.constexpr
def _weight_matrix(tile: int, rotated: bool) -> Tensor:
    """The matrix [n^2,9] from a kernel's taps to G g G^T, the kernel being rotated by 180 degrees first or not."""
    weight = TRANSFORMS[tile].weight
    matrix = np.kron(weight, weight)
    return Tensor(np.ascontiguousarray(matrix[:, ::-1] if rotated else matrix).astype(np.float32))


def _grid(height: int, width: int, tile: int) -> tuple[int, int]:
    """Tiles down and across an image."""
    return -(-height // tile), -(-width // tile)


@ms.constexpr
def _tile_strips(
    shape: tuple[int, int, int], tile: int, channels: int, out_channels: int
) -> tuple[tuple[int, int], ...]:
    """The strips of rows of tiles, counted through all images, whose transforms fit the workspace."""
    down, across = _grid(shape[1], shape[2], tile)
    return strips(shape[0] * down, (tile + 2) ** 2 * across * max(channels, out_channels) * FLOAT_BYTES)


@ms.constexpr
def _patch_positions(shape: tuple[int, int, int], tile: int, side: int, first: int, strip: tuple[int, int]) -> Tensor:
    """Table rows of the patches of a strip's tiles, in the order (row in patch, column in patch, tile)."""
    down, across = _grid(shape[1], shape[2], tile)
    y = axis_windows(shape[1], down, side, tile, first)
    x = axis_windows(shape[2], across, side, tile, first)
    return Tensor(table_rows(shape, y, x, slice(*strip)).transpose(2, 3, 0, 1).reshape(-1))


@ms.constexpr
def _map_order(shape: tuple[int, int, int], tile: int, strip: tuple[int, int]) -> Tensor:
    """Where the positions of a strip lie, map row by map row, in tiles ordered as patches are; edges are cut off."""
    down, across = _grid(shape[1], shape[2], tile)
    rows = strip[1] - strip[0]
    tile_row = np.repeat(np.arange(*strip) % down, tile).reshape(rows, tile)
    y = np.tile(np.arange(tile), (rows, 1))
    kept = tile_row * tile + y < shape[1]
    tile_row, y = np.repeat(np.arange(rows), tile).reshape(rows, tile)[kept], y[kept]
    x = np.arange(shape[2])
    position = ((y[:, None] * tile + x % tile) * rows + tile_row[:, None]) * across + x // tile
    return Tensor(position.reshape(-1).astype(np.int32))
