"""Float64 numpy twins of the channels-last operations: sums written out, tap by tap."""

from __future__ import annotations

import numpy as np


def conv(x: np.ndarray, weight: np.ndarray, stride: int = 1) -> np.ndarray:
    """Convolves x [N,H,W,I] with weight [O,I,k,k], padded by k // 2: [N,ceil(H/stride),ceil(W/stride),O]."""
    n, height, width, _ = x.shape
    out_channels, _, k, _ = weight.shape
    out = np.zeros((n, -(-height // stride), -(-width // stride), out_channels))
    for u, v, window in _windows(x, k, stride):
        out += window @ weight[:, :, u, v].T.astype(np.float64)
    return out


def conv_gradients(
    x: np.ndarray, weight: np.ndarray, dout: np.ndarray, stride: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the gradients of sum(conv(x, weight) * dout): those of x and of the weight, in their shapes."""
    k, pad = weight.shape[2], weight.shape[2] // 2
    n, height, width, channels = x.shape
    dpadded = np.zeros((n, height + 2 * pad, width + 2 * pad, channels))
    dweight = np.zeros(weight.shape)
    rows, columns = dout.shape[1] * stride, dout.shape[2] * stride
    dpadded = np.pad(dpadded, ((0, 0), (0, stride), (0, stride), (0, 0)))
    for u, v, window in _windows(x, k, stride):
        dweight[:, :, u, v] = np.einsum("nhwo,nhwi->oi", dout, window)
        dpadded[:, u : u + rows : stride, v : v + columns : stride] += dout @ weight[:, :, u, v].astype(np.float64)
    return dpadded[:, pad : pad + height, pad : pad + width], dweight


def _windows(x: np.ndarray, k: int, stride: int):
    """Yields each tap (u, v) of a k x k kernel with the input that it meets: [N,H',W',I]."""
    height, width = x.shape[1:3]
    pad = k // 2
    padded = np.pad(x.astype(np.float64), ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    for u in range(k):
        for v in range(k):
            yield u, v, padded[:, u : u + height : stride, v : v + width : stride]


def max_pool(x: np.ndarray, pads_end: bool = False) -> np.ndarray:
    """Pools 3x3 windows with stride 2 of a map with even sides: [N,H,W,C] to [N,H/2,W/2,C]."""
    height, width = x.shape[1:3]
    pad = (0, 1) if pads_end else (1, 0)
    padded = np.pad(x, ((0, 0), pad, pad, (0, 0)), constant_values=-np.inf)
    windows = [padded[:, u : u + height : 2, v : v + width : 2] for u in range(3) for v in range(3)]
    return np.max(windows, 0)
