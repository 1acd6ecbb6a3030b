"""Convolutions by gathered windows: values and gradients against sums in float64."""

from __future__ import annotations

import numpy as np
import pytest
from tests.graph import Compiled, Gradient

from maskrcnn.ops import channels_last, conv_reference
from maskrcnn.ops.patch_conv import PatchConv, PointwiseConv


def check(conv, kernel: int, stride: int, shape: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(*shape, 5)).astype(np.float32)
    weight = rng.normal(size=(4, 5, kernel, kernel)).astype(np.float32)
    expected = conv_reference.conv(x, weight, stride)
    np.testing.assert_allclose(Compiled(conv)(x, weight), expected, atol=2e-5)
    dout = rng.normal(size=expected.shape).astype(np.float32)
    _, gradients = Gradient(conv, inputs=2)(x, weight, cotangents=[dout])
    for found, wanted in zip(gradients, conv_reference.conv_gradients(x, weight, dout, stride)):
        np.testing.assert_allclose(found, wanted, atol=5e-5)


def test_pointwise() -> None:
    check(PointwiseConv(), 1, 1, (2, 4, 6))


@pytest.mark.parametrize(("kernel", "stride"), [(1, 2), (3, 1), (3, 2), (7, 2)])
@pytest.mark.parametrize(
    ("shape", "workspace"), [((2, 8, 6), 2**26), ((2, 7, 5), 3000), ((1, 1, 3), 2**26)], ids=["even", "strips", "row"]
)
def test_patches(
    monkeypatch: pytest.MonkeyPatch, kernel: int, stride: int, shape: tuple[int, int, int], workspace: int
) -> None:
    monkeypatch.setattr(channels_last, "WORKSPACE_BYTES", workspace)
    check(PatchConv(kernel, stride), kernel, stride, shape)
