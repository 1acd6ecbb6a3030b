"""Winograd convolutions: the transforms in exact terms, values and gradients against sums in float64."""

from __future__ import annotations

import numpy as np
import pytest
from tests.graph import Compiled, Gradient

from maskrcnn.ops import channels_last, conv_reference
from maskrcnn.ops.winograd import TRANSFORMS, WinogradConv3x3

# Shapes that are multiples of a tile, that cut tiles, that are smaller than one; a workspace for strips across images.
CASES = [((2, 8, 12), 2**26), ((2, 11, 14), 2**26), ((1, 3, 2), 2**26), ((2, 11, 14), 4 * 36 * 4 * 5 * 4)]


@pytest.mark.parametrize("tile", TRANSFORMS)
def test_transforms_are_a_filter(tile: int) -> None:
    """A^T ((G g) * (B^T d)) is the filter of d by g, in float64."""
    rng = np.random.default_rng(tile)
    kernel, values = rng.normal(size=3), rng.normal(size=tile + 2)
    t = TRANSFORMS[tile]
    np.testing.assert_allclose(t.output @ ((t.weight @ kernel) * (t.input @ values)), np.correlate(values, kernel))


@pytest.mark.parametrize("tile", TRANSFORMS)
def test_transforms_of_maps_are_exact_in_float32(tile: int) -> None:
    for matrix in (TRANSFORMS[tile].output, TRANSFORMS[tile].input):
        np.testing.assert_array_equal(matrix.astype(np.float32), matrix)


@pytest.mark.parametrize("tile", TRANSFORMS)
@pytest.mark.parametrize(("shape", "workspace"), CASES, ids=str)
def test_values_and_gradients(
    monkeypatch: pytest.MonkeyPatch, tile: int, shape: tuple[int, int, int], workspace: int
) -> None:
    monkeypatch.setattr(channels_last, "WORKSPACE_BYTES", workspace)
    rng = np.random.default_rng(0)
    x, weight, dout = (rng.normal(size=s) for s in [(*shape, 5), (4, 5, 3, 3), (*shape, 4)])
    x, weight, dout = (value.astype(np.float32) for value in (x, weight, dout))
    conv = WinogradConv3x3(tile)
    np.testing.assert_allclose(Compiled(conv)(x, weight), conv_reference.conv(x, weight), atol=3e-5)
    _, gradients = Gradient(conv, inputs=2)(x, weight, cotangents=[dout])
    for found, expected in zip(gradients, conv_reference.conv_gradients(x, weight, dout)):
        np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize(("tile", "rms", "largest"), [(2, 1.5e-7, 1e-6), (4, 3e-7, 3e-6)])
def test_error_at_the_width_of_the_pyramid(tile: int, rms: float, largest: float) -> None:
    """256 channels, inputs after a ReLU, He's weights: relative to the largest value, as the documents state it."""
    rng = np.random.default_rng(0)
    x = np.maximum(rng.normal(size=(1, 16, 16, 256)), 0).astype(np.float32)
    weight = (rng.normal(size=(64, 256, 3, 3)) * (2 / (9 * 256)) ** 0.5).astype(np.float32)
    exact = conv_reference.conv(x, weight)
    error = (Compiled(WinogradConv3x3(tile))(x, weight) - exact) / np.abs(exact).max()
    assert np.sqrt((error**2).mean()) < rms
    assert np.abs(error).max() < largest
