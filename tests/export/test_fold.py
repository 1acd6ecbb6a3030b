"""Folded batch normalisation: the weights in closed form, and the same features as before."""

from __future__ import annotations

import numpy as np
import pytest
from tests.export.networks import set_weights
from tests.graph import Compiled
from tests.models.parts import resnet

from maskrcnn.export.fold import FoldedNorm, fold_norms
from maskrcnn.models.layers import BATCH_NORM_EPS
from maskrcnn.models.resnet import BasicBlock, Bottleneck


@pytest.mark.parametrize("norm", ["frozen_bn", "bn"])
@pytest.mark.parametrize("block", [BasicBlock, Bottleneck])
def test_features_stay(block: type, norm: str) -> None:
    network = block(8, 4, 2, norm, False)
    network.set_train(False)
    set_weights(network)
    x = np.random.default_rng(1).normal(size=(1, 8, 16, 24)).astype(np.float32)
    before = Compiled(network)(x)
    fold_norms(network)
    names = [name for name, _ in network.parameters_and_names()]
    assert not [one for one in names if one.endswith(("gamma", "beta", "moving_mean", "moving_variance"))]
    np.testing.assert_allclose(Compiled(network)(x), before, rtol=0, atol=1e-5 * np.abs(before).max())


def test_weight_and_bias() -> None:
    backbone = resnet("resnet18", "frozen_bn", freeze_at=0)
    set_weights(backbone)
    block = backbone.layer2[0]
    weight = block.down_sample_layer[0].weight.asnumpy().astype(np.float64)
    norm = block.down_sample_layer[1]
    parts = (norm.gamma, norm.beta, norm.moving_mean, norm.moving_variance)
    gamma, beta, mean, variance = (part.asnumpy().astype(np.float64) for part in parts)
    fold_norms(backbone)
    names = [parameter.name for parameter in backbone.get_parameters()]
    assert len(names) == len(set(names))
    scale = gamma / np.sqrt(variance + BATCH_NORM_EPS)
    folded = block.down_sample_layer[0].weight.asnumpy()
    np.testing.assert_allclose(folded, weight * scale[:, None, None, None], rtol=1e-6)
    np.testing.assert_allclose(block.down_sample_layer[1].bias.asnumpy(), beta - mean * scale, rtol=1e-5, atol=1e-7)


def test_group_normalisation_stays() -> None:
    backbone = resnet("resnet18", "gn", freeze_at=0)
    before = {name: parameter.asnumpy() for name, parameter in backbone.parameters_and_names()}
    fold_norms(backbone)
    assert not any(isinstance(cell, FoldedNorm) for _, cell in backbone.cells_and_names())
    for name, parameter in backbone.parameters_and_names():
        np.testing.assert_array_equal(parameter.asnumpy(), before[name])
