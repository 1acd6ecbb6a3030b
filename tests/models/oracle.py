"""Layers and losses in plain float64 numpy, and derivatives by finite differences."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np


def conv2d(x: np.ndarray, weight: np.ndarray, bias=0.0, stride: int = 1) -> np.ndarray:
    """x [N,I,H,W] with weight [O,I,k,k], padded by k // 2, to [N,O,H',W']."""
    n, _, height, width = x.shape
    out, _, k, _ = weight.shape
    pad = k // 2
    x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    rows, columns = (height + 2 * pad - k) // stride + 1, (width + 2 * pad - k) // stride + 1
    y = np.zeros((n, rows, columns, out))
    for dy in range(k):
        for dx in range(k):
            part = x[:, :, dy : dy + stride * rows : stride, dx : dx + stride * columns : stride]
            y += np.tensordot(part, weight[:, :, dy, dx], (1, 1))
    return (y + bias).transpose(0, 3, 1, 2)


def deconv2x2(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Transposed convolution, kernel and stride 2: x [N,I,H,W] with weight [I,O,2,2] to [N,O,2H,2W]."""
    n, _, height, width = x.shape
    y = np.zeros((n, weight.shape[1], 2 * height, 2 * width))
    for dy in range(2):
        for dx in range(2):
            y[:, :, dy::2, dx::2] = np.einsum("nihw,io->nohw", x, weight[:, :, dy, dx])
    return y + bias.reshape(1, -1, 1, 1)


def max_pool(x: np.ndarray) -> np.ndarray:
    """Kernel 3, stride 2, padding 1."""
    x = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    rows, columns = (x.shape[2] - 1) // 2, (x.shape[3] - 1) // 2
    taps = [x[:, :, dy : dy + 2 * rows : 2, dx : dx + 2 * columns : 2] for dy in range(3) for dx in range(3)]
    return np.max(taps, 0)


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.asarray(x, np.float64)))


def softmax(x: np.ndarray) -> np.ndarray:
    x = np.exp(x - x.max(-1, keepdims=True))
    return x / x.sum(-1, keepdims=True)


def cross_entropy(probability: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Of a target of 0 or 1, elementwise."""
    target = np.asarray(target, np.float64)
    return -target * np.log(probability) - (1 - target) * np.log(1 - probability)


def smooth_l1(distance: np.ndarray, beta: float) -> np.ndarray:
    """Fast R-CNN, equation 3, with an adjustable corner."""
    distance = np.abs(distance)
    return np.where(distance < beta, 0.5 * distance**2 / beta if beta else 0, distance - 0.5 * beta)


def slope(
    function: Callable[[Mapping[str, np.ndarray]], float],
    point: Mapping[str, np.ndarray],
    direction: Mapping[str, np.ndarray],
    step: float = 1e-7,
) -> float:
    """Derivative of a function of named arrays along a direction, which leaves out the arrays it does not name."""
    high = {name: value + step * direction.get(name, 0) for name, value in point.items()}
    low = {name: value - step * direction.get(name, 0) for name, value in point.items()}
    return (function(high) - function(low)) / (2 * step)


def check_gradients(function, point, gradients, rng: np.random.Generator, rtol: float = 5e-4, draws: int = 2) -> None:
    """Compare gradients, by name, with finite differences of ``function`` along random directions, array by array."""
    for name, gradient in gradients.items():
        assert gradient.shape == point[name].shape
        for _ in range(draws):
            direction = rng.normal(size=gradient.shape)
            expected = slope(function, point, {name: direction})
            found = float((gradient.astype(np.float64) * direction).sum())
            size = np.linalg.norm(gradient.astype(np.float64))  # what a random direction is expected to give
            assert abs(found - expected) <= rtol * max(size, abs(expected)) + 1e-7, (name, found, expected)
