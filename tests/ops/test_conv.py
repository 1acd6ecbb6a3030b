"""The lean 3x3 convolution against sums over positions in float64."""

from __future__ import annotations

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn, ops

from maskrcnn.ops import conv
from maskrcnn.ops.conv import Conv3x3, number_of_strips


class Gradients(nn.Cell):
    """dx, dw of the convolution for a given gradient of its output."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = Conv3x3()
        self.gradient = ops.GradOperation(get_all=True, sens_param=True)

    def construct(self, x: Tensor, weight: Tensor, dout: Tensor) -> tuple[Tensor, Tensor]:
        return self.gradient(self.conv)(x, weight, dout)


def reference(x: np.ndarray, weight: np.ndarray, dout: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Output, dx and dw, tap by tap."""
    n, _, h, w = x.shape
    padded = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (1, 1), (1, 1)))
    out, dpadded, dweight = np.zeros((n, len(weight), h, w)), np.zeros_like(padded), np.zeros(weight.shape)
    for i in range(3):
        for j in range(3):
            window = padded[:, :, i : i + h, j : j + w]
            out += np.einsum("oc,nchw->nohw", weight[:, :, i, j], window)
            dweight[:, :, i, j] = np.einsum("nohw,nchw->oc", dout, window)
            dpadded[:, :, i : i + h, j : j + w] += np.einsum("oc,nohw->nchw", weight[:, :, i, j], dout)
    return out, dpadded[:, :, 1:-1, 1:-1], dweight


@pytest.mark.parametrize("strip_bytes", [2**30, 9 * 5 * 12 * 7 * 4 // 3, 1], ids=["whole", "strips", "rows"])
def test_output_and_gradients_equal_the_sums(monkeypatch: pytest.MonkeyPatch, strip_bytes: int) -> None:
    ms.set_context(mode=ms.GRAPH_MODE)
    monkeypatch.setattr(conv, "STRIP_BYTES", strip_bytes)
    rng = np.random.default_rng(0)
    x, weight, dout = (rng.standard_normal(s).astype(np.float32) for s in [(2, 5, 12, 7), (4, 5, 3, 3), (2, 4, 12, 7)])
    out, dx, dweight = reference(x, weight, dout)
    found = Conv3x3()(Tensor(x), Tensor(weight)).asnumpy()
    found_dx, found_dweight = (g.asnumpy() for g in Gradients()(Tensor(x), Tensor(weight), Tensor(dout)))
    np.testing.assert_allclose(found, out, atol=1e-5)
    np.testing.assert_allclose(found_dx, dx, atol=1e-5)
    np.testing.assert_allclose(found_dweight, dweight, atol=5e-5)


def test_strips_are_equal_and_small_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conv, "STRIP_BYTES", 48 * 2**20)
    assert number_of_strips(256, 192, 320) == 12
    assert 192 % number_of_strips(256, 192, 320) == 0
    assert number_of_strips(256, 12, 20) == 1
    monkeypatch.setattr(conv, "STRIP_BYTES", 1)
    assert number_of_strips(8, 7, 9) == 7  # never more strips than rows
