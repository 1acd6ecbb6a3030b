"""Operations on channels-last maps against sums and maxima written out in float64."""

from __future__ import annotations

import numpy as np
import pytest
from tests.graph import Compiled, Gradient

from maskrcnn.ops import channels_last, conv_reference
from maskrcnn.ops.channels_last import AddBias, MaxPool3x3, Subsample2x, Upsample2x, column_sums, strips


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_strips_cover_all_rows_within_the_workspace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels_last, "WORKSPACE_BYTES", 1000)
    assert strips(7, 100) == ((0, 7),)
    assert strips(10, 300) == ((0, 2), (2, 5), (5, 7), (7, 10))
    assert strips(3, 5000) == ((0, 1), (1, 2), (2, 3))


def test_column_sums() -> None:
    x = numbers(3, 5, 4)
    np.testing.assert_allclose(Compiled(column_sums)(x), x.astype(np.float64).sum((0, 1)), rtol=1e-5, atol=1e-6)


def test_bias_and_its_gradient() -> None:
    x, bias, dout = numbers(2, 3, 4, 5), numbers(5, seed=1), numbers(2, 3, 4, 5, seed=2)
    np.testing.assert_array_equal(Compiled(AddBias())(x, bias), x + bias)
    _, (dx, dbias) = Gradient(AddBias(), inputs=2)(x, bias, cotangents=[dout])
    np.testing.assert_array_equal(dx, dout)
    np.testing.assert_allclose(dbias, dout.astype(np.float64).sum((0, 1, 2)), atol=1e-5)


def test_upsampling_repeats_and_its_gradient_adds_up() -> None:
    x, dout = numbers(2, 3, 4, 5), numbers(2, 6, 8, 5, seed=1)
    np.testing.assert_array_equal(Compiled(Upsample2x())(x), x.repeat(2, 1).repeat(2, 2))
    _, dx = Gradient(Upsample2x())(x, cotangents=[dout])
    expected = dout.astype(np.float64).reshape(2, 3, 2, 4, 2, 5).sum((2, 4))
    np.testing.assert_allclose(np.asarray(dx).reshape(x.shape), expected, atol=1e-6)


@pytest.mark.parametrize(("height", "width"), [(4, 6), (5, 3)])
def test_subsampling_takes_every_second_position(height: int, width: int) -> None:
    x = numbers(2, height, width, 3)
    taken = x[:, ::2, ::2]
    np.testing.assert_array_equal(Compiled(Subsample2x())(x), taken)
    dout, expected = numbers(*taken.shape, seed=1), np.zeros_like(x)
    expected[:, ::2, ::2] = dout
    _, dx = Gradient(Subsample2x())(x, cotangents=[dout])
    np.testing.assert_array_equal(np.asarray(dx).reshape(x.shape), expected)


@pytest.mark.parametrize("pads_end", [False, True])
def test_max_pool(pads_end: bool) -> None:
    """Negative values too: padding never wins. The gradient of a maximum goes to where it is."""
    x = np.random.default_rng(0).permutation(2 * 6 * 8 * 3).reshape(2, 6, 8, 3).astype(np.float32) - 200
    pool = MaxPool3x3(pads_end)
    expected = conv_reference.max_pool(x, pads_end)
    np.testing.assert_array_equal(Compiled(pool)(x), expected)
    dout = numbers(*expected.shape, seed=1)
    _, dx = Gradient(pool)(x, cotangents=[dout])
    by_value = {(c, value): 0.0 for c in range(3) for value in x[..., c].reshape(-1)}  # all values differ
    for index, value in np.ndenumerate(expected):
        by_value[index[-1], value] += dout[index]
    wanted = np.array([by_value[index[-1], value] for index, value in np.ndenumerate(x)]).reshape(x.shape)
    np.testing.assert_allclose(np.asarray(dx).reshape(x.shape), wanted, atol=1e-5)


def test_equal_maxima_share_no_gradient() -> None:
    """The gradients of a constant map add up to those of the output: none is lost, none counted twice."""
    dout = numbers(1, 2, 2, 3)
    _, dx = Gradient(MaxPool3x3())(np.zeros((1, 4, 4, 3)), cotangents=[dout])
    np.testing.assert_allclose(np.asarray(dx).reshape(-1, 3).sum(0), dout.sum((0, 1, 2)), atol=1e-6)
