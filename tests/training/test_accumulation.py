"""A step on the parts of a batch against one on the whole batch: the same weights to rounding."""

from __future__ import annotations

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn, ops
from tests.distributed.program import LABELS, small_network
from tests.models.test_mask_rcnn import make_batch

from maskrcnn.training.accumulation import AccumulatedStep
from maskrcnn.training.optimizer import MomentumSGD
from maskrcnn.training.step import TrainStep

ms.set_context(mode=ms.GRAPH_MODE)
STEPS = 2


def trained(parts, scale=1.0, **options):
    """Losses and norms of some steps of the real network, and its weights and moments after them."""
    net = small_network(0, 1).set_train()
    optimizer = MomentumSGD(net.trainable_params(), 0.9, 1e-4)
    step = TrainStep(net, optimizer, **options) if parts == 1 else AccumulatedStep(net, optimizer, parts, **options)
    reported = []
    for number in range(STEPS):
        arrays = [Tensor.from_numpy(array) for array in make_batch(number, LABELS)[:-1]]
        losses, norm = step(Tensor(0.05, ms.float32), Tensor(scale, ms.float32), *arrays)
        reported.append(np.append(losses.asnumpy(), norm.asnumpy()))
    parameters = [*net.get_parameters(), *optimizer.moments]
    return np.array(reported), {parameter.name: parameter.asnumpy() for parameter in parameters}


@pytest.fixture(scope="module")
def whole():
    """Four very unequal images at once: with many objects, with none, with a crowd region, with one object."""
    return trained(1, clip_grad_norm=1.0)


@pytest.mark.parametrize("parts", [2, 4])
def test_parts_give_the_weights_of_the_whole_batch(whole, parts):
    reported, weights = trained(parts, clip_grad_norm=1.0)
    np.testing.assert_allclose(reported, whole[0], rtol=2e-5)
    for name, expected in whole[1].items():
        assert np.abs(weights[name] - expected).max() <= 1e-5 * np.abs(expected).max(), name


def test_a_loss_scale_is_divided_out(whole):
    reported, _ = trained(2, scale=1024.0, scaled=True, clip_grad_norm=1.0)
    np.testing.assert_allclose(reported, whole[0], rtol=2e-5)


class Loud(nn.Cell):
    """One weight and a batch of numbers; the gradient is their sum, which overflows for large ones."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(1)
        self.w = ms.Parameter(Tensor([1.0], ms.float32), name="w")

    def construct(self, numbers):
        normed = self.norm(numbers.reshape((-1, 1, 1, 1)))
        return ((self.w * numbers).sum() / self.counts(numbers)[0], 0.0 * normed.sum() * self.w.sum())

    def counts(self, numbers):
        return ops.ones_like(numbers[:2]) * (numbers > -1e30).astype(ms.float32).sum()


def test_what_overflowed_does_not_stay():
    net = Loud().set_train()
    step = AccumulatedStep(net, MomentumSGD([net.w], 0.0, 0.0), 2, skip_overflow=True)
    for numbers in ([1.0, 2.0, np.inf, 0.0], [1.0, 2.0, 3.0, 6.0]):
        _, norm = step(Tensor(0.1, ms.float32), Tensor(1.0, ms.float32), Tensor(numbers, ms.float32))
    assert float(norm.asnumpy()) == pytest.approx(3.0)  # the mean of the second batch
    assert net.w.asnumpy()[0] == pytest.approx(1.0 - 0.1 * 3.0)


def test_batch_norm_sees_each_part_once():
    """The pass that counts leaves no trace in its statistics: 0.9 of them stays at each part (MindSpore's momentum)."""
    net = Loud().set_train()
    step = AccumulatedStep(net, MomentumSGD([net.w], 0.0, 0.0), 2)
    step(Tensor(0.0, ms.float32), Tensor(1.0, ms.float32), Tensor([1.0, 3.0, 10.0, 20.0], ms.float32))
    assert net.norm.moving_mean.asnumpy()[0] == pytest.approx(0.9 * (0.1 * 2.0) + 0.1 * 15.0)
