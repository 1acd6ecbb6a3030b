"""The mask head, own class only, against all classes through a plain transposed convolution."""

from __future__ import annotations

import numpy as np
import pytest
from tests.graph import Compiled, Gradient, randomise
from tests.models import oracle
from tests.models.parts import make_mask_head, make_pool

from maskrcnn.models.losses import sigmoid_cross_entropy

R, SIZE, IN, CHANNELS, CLASSES = 5, 4, 3, 6, 4
LABELS = np.array([1, 3, 0, 2, 3])


def all_logits(point, num_layers: int = 2) -> np.ndarray:
    """[R, 2*size, 2*size, classes] of features [R, size*size, C], every class."""
    x = point["features"].reshape(R, SIZE, SIZE, IN).transpose(0, 3, 1, 2)
    for i in range(num_layers):
        x = oracle.relu(oracle.conv2d(x, point[f"convs.{i}.weight"], point[f"convs.{i}.bias"]))
    x = oracle.relu(oracle.deconv2x2(x, point["deconv_weight"], point["deconv_bias"]))
    return x.transpose(0, 2, 3, 1) @ point["logits_weight"].T + point["logits_bias"]


def own_logits(point) -> np.ndarray:
    return all_logits(point)[np.arange(R), :, :, LABELS]


@pytest.fixture(scope="module")
def head():
    cell = make_mask_head(make_pool(SIZE), IN, CHANNELS, 2, CLASSES)
    point = randomise(cell, 0)
    features = np.random.default_rng(1).normal(size=(R, SIZE * SIZE, IN)).astype(np.float32)
    return cell, {**point, "features": features.astype(np.float64)}


def test_value_and_gradients(head):
    cell, point = head
    rng = np.random.default_rng(2)
    parameters = cell.trainable_params()
    names = [p.name for p in parameters]
    assert sorted(names) == sorted(name for name in point if name != "features")
    logits = Compiled(cell)(point["features"], LABELS)
    assert logits.shape == (R, 2 * SIZE, 2 * SIZE)
    np.testing.assert_allclose(logits, own_logits(point), rtol=1e-4, atol=1e-4)

    cotangent = rng.normal(size=logits.shape)
    _, (by_input, by_weight) = Gradient(cell, weights=parameters)(point["features"], LABELS, cotangents=[cotangent])
    gradients = {"features": by_input, **dict(zip(names, by_weight))}
    oracle.check_gradients(lambda at: (own_logits(at) * cotangent).sum(), point, gradients, rng)
    unused = set(range(CLASSES)) - set(LABELS)
    assert not unused  # every class's gradient was compared


def test_loss(head):
    cell, _ = head
    rng = np.random.default_rng(3)
    logits = rng.normal(0, 2, (R, 8, 8))
    targets = (rng.random((R, 8, 8)) < 0.5).astype(np.float64)
    counted = np.array([1.0, 0, 1, 1, 0])
    value, gradient = Gradient(cell.loss)(logits, targets, counted, np.float32(3), cotangents=[np.float32(1)])

    def expected(at):
        entropy = oracle.cross_entropy(oracle.sigmoid(at["logits"]), targets)
        return entropy[counted > 0].mean()

    assert value == pytest.approx(expected({"logits": logits}), rel=1e-5)
    oracle.check_gradients(expected, {"logits": logits}, {"logits": gradient}, rng)
    assert (gradient[counted == 0] == 0).all()


def test_loss_of_nothing_is_zero(head):
    cell, _ = head
    logits, targets = np.full((R, 8, 8), 50.0), np.zeros((R, 8, 8))
    value, gradient = Gradient(cell.loss)(logits, targets, np.zeros(R), np.float32(1), cotangents=[np.float32(1)])
    assert value == 0 and (gradient == 0).all()


def test_cross_entropy_does_not_overflow():
    logits = np.array([-1000.0, -20, 0, 20, 1000])
    run = Gradient(sigmoid_cross_entropy)
    for target in (0.0, 1.0):
        value, gradient = run(logits, np.full(5, target), cotangents=[np.ones(5)])
        clear = logits[1:4]
        expected = oracle.cross_entropy(oracle.sigmoid(clear), target).sum() + 1000
        assert value == pytest.approx(expected, rel=1e-6)
        assert np.isfinite(gradient).all()
        np.testing.assert_allclose(gradient[1:4], oracle.sigmoid(clear) - target, atol=1e-6)
