"""The feature pyramid against plain numpy convolutions and nearest-neighbour upsampling."""

from __future__ import annotations

import numpy as np
import pytest
from tests.graph import Compiled, Gradient, randomise
from tests.models import oracle

from maskrcnn.models.fpn import FPN

CHANNELS = (3, 4, 5, 6)
SHAPES = ((16, 24), (8, 12), (4, 6), (2, 3))


def pyramid(point) -> list[np.ndarray]:
    inputs = [point[f"c{level}"] for level in (2, 3, 4, 5)]
    merged, outputs = None, []
    for i in (3, 2, 1, 0):
        lateral = oracle.conv2d(inputs[i], point[f"lateral.{i}.weight"], point[f"lateral.{i}.bias"])
        merged = lateral if merged is None else lateral + merged.repeat(2, 2).repeat(2, 3)
        outputs.insert(0, oracle.conv2d(merged, point[f"output.{i}.weight"], point[f"output.{i}.bias"]))
    return [*outputs, outputs[3][:, :, ::2, ::2]]


@pytest.fixture(scope="module")
def fpn():
    cell = FPN(CHANNELS, 4)
    point = randomise(cell, 0)
    rng = np.random.default_rng(1)
    for level, channels, (h, w) in zip((2, 3, 4, 5), CHANNELS, SHAPES):
        point[f"c{level}"] = rng.normal(size=(2, channels, h, w)).astype(np.float32).astype(np.float64)
    return cell, point


def test_levels(fpn):
    cell, point = fpn
    found = Compiled(cell)(*(point[f"c{level}"] for level in (2, 3, 4, 5)))
    assert [level.shape for level in found] == [(2, 4, h, w) for h, w in (*SHAPES, (1, 2))]
    for ours, theirs in zip(found, pyramid(point)):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_gradients(fpn):
    cell, point = fpn
    rng = np.random.default_rng(2)
    inputs = [f"c{level}" for level in (2, 3, 4, 5)]
    parameters = cell.trainable_params()
    names = [p.name for p in parameters]
    cotangents = [rng.normal(size=level.shape) for level in pyramid(point)]
    derive = Gradient(cell, inputs=4, weights=parameters)
    _, (by_input, by_weight) = derive(*(point[name] for name in inputs), cotangents=cotangents)

    def objective(at):
        return sum((level * cotangent).sum() for level, cotangent in zip(pyramid(at), cotangents))

    gradients = {**dict(zip(inputs, by_input)), **dict(zip(names, by_weight))}
    assert len(gradients) == 4 + 16
    oracle.check_gradients(objective, point, gradients, rng)


def test_starts_small(fpn):
    """Xavier's uniform weights and zero biases."""
    weight = FPN((256, 256, 256, 256), 256).lateral[0].weight.asnumpy()
    assert np.abs(weight).max() <= np.sqrt(6 / 512) + 1e-6
    assert weight.std() == pytest.approx(np.sqrt(2 / 512), rel=0.02)
    assert (FPN(CHANNELS, 4).output[2].bias.asnumpy() == 0).all()
