"""The moving average of weights against its definition in float64 numpy."""

from __future__ import annotations

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn
from tests.training.tiny import TinyNet

from maskrcnn.models.layers import freeze
from maskrcnn.training.weight_average import WeightAverage, changing_parameters

ms.set_context(mode=ms.GRAPH_MODE)


@pytest.mark.parametrize("decay", [0.5, 0.999])
def test_averages_follow_their_definition(decay):
    """``decay_t = min(decay, (1 + t) / (10 + t))``; the first step counts nine tenths."""
    rng = np.random.default_rng(0)
    net = TinyNet()
    average = WeightAverage(net, decay)
    net.head.weight.set_data(Tensor(rng.normal(size=net.head.weight.shape), ms.float32))
    average.start()
    expected = net.head.weight.asnumpy().astype(np.float64)
    for step in range(40):
        net.head.weight.set_data(Tensor(rng.normal(size=expected.shape), ms.float32))
        average.update(step)
        rate = min(decay, (1 + step) / (10 + step))
        expected = rate * expected + (1 - rate) * net.head.weight.asnumpy()
    found = {parameter.name: parameter.asnumpy() for parameter in average.averages}
    np.testing.assert_allclose(found["ema.head.weight"], expected, rtol=1e-5, atol=1e-6)
    assert found["ema.gain"].tobytes() == net.gain.asnumpy().tobytes()  # it has not changed, to the last bit


def test_what_training_leaves_as_it_is_has_no_average():
    net = TinyNet()
    names = {parameter.name for parameter in changing_parameters(net)}
    statistics = {"backbone.1.moving_mean", "backbone.1.moving_variance"}
    assert names == {parameter.name for parameter in net.get_parameters()} >= statistics
    freeze(net.backbone)
    assert {parameter.name for parameter in changing_parameters(net)} == {"head.weight", "head.bias", "gain"}
    assert not any(parameter.requires_grad for parameter in WeightAverage(net, 0.9).averages)


class Frozen(nn.Cell):
    """Statistics without anything that is trained."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(2)
        freeze(self.norm)


def test_a_frozen_network_has_none():
    assert changing_parameters(Frozen()) == []
