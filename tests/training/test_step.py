"""The train step against PyTorch's SGD in float64 numpy, and its gradients against finite differences."""

from __future__ import annotations

import mindspore as ms
import numpy as np
import pytest
from mindspore import Parameter, Tensor, nn, ops
from tests.training.tiny import TinyNet, make_batch

from maskrcnn.errors import TrainingError
from maskrcnn.training.optimizer import AdamW, LossScale, MomentumSGD, is_norm_or_bias
from maskrcnn.training.step import TrainStep

ms.set_context(mode=ms.GRAPH_MODE)


def sgd(weights, moments, gradients, decays, lr, momentum):
    """One step of torch.optim.SGD(momentum, weight_decay, dampening=0, nesterov=False) in float64."""
    for name in weights:
        gradient = gradients[name] + decays[name] * weights[name]
        moments[name] = momentum * moments[name] + gradient
        weights[name] = weights[name] - lr * moments[name]


class Quadratic(nn.Cell):
    """Five losses with gradients known in closed form: d total / dw = a * w + image, d total / db = 2 * b."""

    def __init__(self, rng):
        super().__init__()
        self.w = Parameter(Tensor(rng.normal(size=(3, 4)), ms.float32), name="w")
        self.b = Parameter(Tensor(rng.normal(size=(4,)), ms.float32), name="b")
        self.fixed = Parameter(Tensor(np.ones(2), ms.float32), name="fixed", requires_grad=False)

    def construct(self, image, a):
        zero = ops.zeros_like(self.b.sum())
        return (
            (a * ops.square(self.w)).sum() / 2,
            (self.w * image).sum(),
            ops.square(self.b).sum(),
            zero,
            zero,
        )


def run(net, steps, *, momentum=0.9, decay=0.01, decay_norm_bias=True, rates=(0.1, 0.05), scale=1.0, **options):
    """The weights and moments after each step, from the graph and from numpy; steps are (image, a) pairs."""
    weights = {p.name: p.asnumpy().astype(np.float64) for p in net.trainable_params()}
    moments = {name: np.zeros_like(value) for name, value in weights.items()}
    decays = {n: decay if decay_norm_bias or v.ndim > 1 else 0.0 for n, v in weights.items()}
    optimizer = MomentumSGD(net.trainable_params(), momentum, decay, decay_norm_bias)
    step = TrainStep(net, optimizer, **options)
    norms = []
    for i, (image, a) in enumerate(steps):
        lr = rates[i % len(rates)]
        arrays = [Tensor(np.float32(image)), Tensor(np.float32(a))]
        _, norm = step(Tensor(lr, ms.float32), Tensor(scale, ms.float32), *arrays)
        norms.append(float(norm.asnumpy()))
        gradients = {"w": a * weights["w"] + image, "b": 2 * weights["b"]}
        exact = np.sqrt(sum((g**2).sum() for g in gradients.values()))
        if np.isfinite(image).all():
            assert norms[-1] == pytest.approx(exact, rel=1e-5)
            clip = options.get("clip_grad_norm", 0.0)
            if clip:
                gradients = {n: g * min(1.0, clip / exact) for n, g in gradients.items()}
            sgd(weights, moments, gradients, decays, lr, momentum)
    for parameter, moment in zip(optimizer.parameters, optimizer.moments):
        np.testing.assert_allclose(parameter.asnumpy(), weights[parameter.name], rtol=2e-5, atol=2e-6)
        np.testing.assert_allclose(moment.asnumpy(), moments[parameter.name], rtol=2e-5, atol=2e-6)
    return optimizer, norms


@pytest.fixture
def steps():
    rng = np.random.default_rng(3)
    return [(rng.normal(size=(3, 4)), rng.uniform(0.5, 2)) for _ in range(6)]


@pytest.mark.parametrize("decay_norm_bias", [True, False])
def test_updates_are_those_of_sgd_with_momentum(steps, decay_norm_bias):
    net = Quadratic(np.random.default_rng(0))
    run(net, steps, decay_norm_bias=decay_norm_bias)
    assert (net.fixed.asnumpy() == 1).all()


def test_a_new_rate_does_not_compile_again(steps):
    net = Quadratic(np.random.default_rng(0))
    step = TrainStep(net, MomentumSGD(net.trainable_params(), 0.9, 0.0))
    for i, (image, a) in enumerate(steps):
        arrays = [Tensor(np.float32(image)), Tensor(np.float32(a))]
        step(Tensor(0.1 / (i + 1), ms.float32), Tensor(1.0, ms.float32), *arrays)
    assert len(step.compile_cache) == 1


@pytest.mark.parametrize("clip", [0.5, 1e6])
def test_gradients_are_clipped_by_their_global_norm(steps, clip):
    run(Quadratic(np.random.default_rng(0)), steps, clip_grad_norm=clip)


def test_a_loss_scale_changes_nothing_but_rounding(steps):
    run(Quadratic(np.random.default_rng(0)), steps, scaled=True, scale=1024.0, clip_grad_norm=1.0)


def test_an_overflowing_step_leaves_every_bit_as_it_was(steps):
    bad = np.zeros((3, 4))
    bad[1, 2] = np.inf
    with_bad = [*steps[:3], (bad, 1.0), *steps[3:]]
    rates = (0.1, 0.1)
    clean, _ = run(Quadratic(np.random.default_rng(0)), steps, rates=rates, scaled=True, skip_overflow=True)
    dirty, norms = run(Quadratic(np.random.default_rng(0)), with_bad, rates=rates, scaled=True, skip_overflow=True)
    assert not np.isfinite(norms[3])
    for one, other in zip((*clean.parameters, *clean.moments), (*dirty.parameters, *dirty.moments)):
        assert one.asnumpy().tobytes() == other.asnumpy().tobytes()


def test_gradients_of_a_whole_network_by_finite_differences():
    ms.set_seed(5)
    net = TinyNet()
    batch = [Tensor.from_numpy(a) for a in make_batch([9])[:-1]]
    before = {p.name: p.asnumpy().copy() for p in net.trainable_params()}
    step = TrainStep(net, MomentumSGD(net.trainable_params(), 0.0, 0.0))
    losses, _ = step(Tensor(1.0, ms.float32), Tensor(1.0, ms.float32), *batch)
    gradients = {p.name: before[p.name] - p.asnumpy() for p in net.trainable_params()}  # lr 1, no momentum
    for parameter in net.trainable_params():
        parameter.set_data(Tensor(before[parameter.name]))

    def total():
        return sum(float(loss.asnumpy()) for loss in net(*batch))

    assert total() == pytest.approx(float(losses.asnumpy().sum()), rel=1e-5)
    for name, index in (("gain", ()), ("head.bias", (1,)), ("backbone.0.weight", (2, 1, 0, 1))):
        parameter = net.parameters_dict()[name]
        values = []
        for change in (1e-3, -1e-3):
            moved = before[name].copy()
            moved[index] += change
            parameter.set_data(Tensor(moved))
            values.append(total())
        parameter.set_data(Tensor(before[name]))
        assert (values[0] - values[1]) / 2e-3 == pytest.approx(gradients[name][index], rel=0.02, abs=2e-3)


def test_norms_and_biases_are_told_by_their_dimension():
    names = {p.name for p in TinyNet().trainable_params() if not is_norm_or_bias(p)}
    assert names == {"backbone.0.weight", "head.weight"}


def test_a_network_without_trainable_parameters_is_refused():
    with pytest.raises(TrainingError, match="every parameter of the network is frozen"):
        MomentumSGD([], 0.9, 0.0)


def test_dynamic_loss_scale_halves_doubles_and_gives_up():
    scale = LossScale.from_setting(0)
    assert (scale.value, scale.fixed) == (2.0**16, False)
    scale.update(False)
    assert (scale.value, scale.skipped) == (2.0**15, 1)
    for _ in range(scale.window):
        scale.update(True)
    assert (scale.value, scale.good_steps) == (2.0**16, 0)
    other = LossScale.from_setting(0)
    other.restore(scale.state())
    assert other == scale
    with pytest.raises(TrainingError, match="loss scale of 1"):
        for _ in range(17):
            scale.update(False)


def test_fixed_loss_scale_stays():
    scale = LossScale.from_setting(128)
    scale.update(False)
    scale.restore({"value": 4.0, "good_steps": 3, "skipped": 0})
    assert (scale.value, scale.fixed) == (128, True)


def test_adamw_is_the_published_update():
    """Loshchilov & Hutter's algorithm 2 in float64, without bias correction, biases undecayed."""
    rng = np.random.default_rng(3)
    net = Quadratic(rng)
    weights = {p.name: p.asnumpy().astype(np.float64) for p in net.trainable_params()}
    first, second = ({n: np.zeros_like(w) for n, w in weights.items()} for _ in range(2))
    optimizer = AdamW(net.trainable_params(), 0.9, 0.1, decay_norm_bias=False)
    step = TrainStep(net, optimizer)
    for i in range(4):
        image, a, lr = rng.normal(size=(3, 4)).astype(np.float32), 1.0 + i, 0.1 / (i + 1)
        step(Tensor(lr, ms.float32), Tensor(1.0, ms.float32), Tensor(image), Tensor(np.float32(a)))
        gradients = {"w": a * weights["w"] + image, "b": 2 * weights["b"]}
        for n, g in gradients.items():
            first[n] = 0.9 * first[n] + 0.1 * g
            second[n] = 0.999 * second[n] + 0.001 * g * g
            decay = 0.1 if n == "w" else 0.0
            weights[n] -= lr * (first[n] / (np.sqrt(second[n]) + 1e-8) + decay * weights[n])
    for parameter in optimizer.parameters:
        np.testing.assert_allclose(parameter.asnumpy(), weights[parameter.name], rtol=2e-5, atol=2e-5)
    assert {p.name for p in optimizer.moments} == {"moment1.w", "moment1.b", "moment2.w", "moment2.b"}


def test_adamw_skips_a_step_that_overflows():
    net = Quadratic(np.random.default_rng(4))
    optimizer = AdamW(net.trainable_params(), 0.9, 0.1)
    step = TrainStep(net, optimizer, scaled=True, skip_overflow=True)
    kept = []
    for value in (0.5, np.inf):
        image = np.full((3, 4), value, np.float32)
        step(Tensor(0.1, ms.float32), Tensor(8.0, ms.float32), Tensor(image), Tensor(np.float32(1.0)))
        kept.append([p.asnumpy().copy() for p in (*optimizer.parameters, *optimizer.moments)])
    for before, after in zip(*kept):
        np.testing.assert_array_equal(before, after)
    assert np.any(kept[0][-1])  # the first step did move the moments
