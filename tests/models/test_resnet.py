"""The backbones: published sizes, the model zoo's names, values and gradients against float64 numpy, what is frozen."""

from __future__ import annotations

import mindspore as ms
import numpy as np
import pytest
from tests.graph import Compiled, Gradient, to_tensor
from tests.models import oracle
from tests.models.parts import resnet

from maskrcnn.config.backbones import BACKBONES
from maskrcnn.errors import ConfigError
from maskrcnn.models.resnet import ResNet

# torchvision's numbers of parameters, less the classifier's weights and biases.
PUBLISHED = {
    "resnet18": 11_689_512 - 513_000,
    "resnet34": 21_797_672 - 513_000,
    "resnet50": 25_557_032 - 2_049_000,
    "resnet101": 44_549_160 - 2_049_000,
    "resnet152": 60_192_808 - 2_049_000,
}
STATISTICS = ("moving_mean", "moving_variance")
PARTS = ("stem", "layer1", "layer2", "layer3", "layer4")


def part_of(name: str) -> str:
    return name.split(".")[0] if name.startswith("layer") else "stem"


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_sizes(name):
    net = resnet(name)
    shapes = {p.name: p.shape for p in net.get_parameters()}
    learnt = {n: s for n, s in shapes.items() if not n.endswith(STATISTICS)}
    assert sum(int(np.prod(s)) for s in learnt.values()) == PUBLISHED[name]
    assert len(shapes) - len(learnt) == 2 * sum(n.endswith("gamma") for n in shapes)
    assert net.out_channels == ([64, 128, 256, 512] if name in ("resnet18", "resnet34") else [256, 512, 1024, 2048])


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_names_are_the_model_zoos(name):
    convs = 2 if name == "resnet18" else 3
    bare = {"conv1", "bn1"}
    for stage, depth in enumerate(BACKBONES[name].settings["depths"], 1):
        for block in range(depth):
            at = f"layer{stage}.{block}."
            bare |= {f"{at}conv{i}" for i in range(1, convs + 1)} | {f"{at}bn{i}" for i in range(1, convs + 1)}
        if stage > 1 or name == "resnet50":
            bare |= {f"layer{stage}.0.down_sample_layer.{i}" for i in (0, 1)}
    expected = set()
    for cell in bare:
        is_norm = ".bn" in f".{cell}" or cell.endswith("layer.1")
        expected |= {f"{cell}.{p}" for p in (("gamma", "beta", *STATISTICS) if is_norm else ("weight",))}
    for norm in ("frozen_bn", "bn"):
        assert {p.name for p in resnet(name, norm).get_parameters()} == expected
    without_statistics = {n for n in expected if not n.endswith(STATISTICS)}
    assert {p.name for p in resnet(name, "gn").get_parameters()} == without_statistics


@pytest.mark.parametrize("norm", ["frozen_bn", "bn", "gn"])
@pytest.mark.parametrize("freeze_at", range(6))
def test_frozen_parts(norm, freeze_at):
    """Stem, then stage by stage; frozen batch norm never learns, statistics are never learnt."""
    for parameter in resnet("resnet18", norm, freeze_at).get_parameters():
        learns = parameter.name.endswith("weight") if norm == "frozen_bn" else not parameter.name.endswith(STATISTICS)
        free = PARTS.index(part_of(parameter.name)) >= freeze_at
        assert parameter.requires_grad == (learns and free), parameter.name


def forward(point, name: str, norm: str, stride_in_1x1: bool = False) -> list[np.ndarray]:
    """C2..C5 of point["image"], in numpy."""

    def normalised(x, layer):
        gamma, beta = point[f"{layer}.gamma"], point[f"{layer}.beta"]
        if norm == "gn":
            groups = x.reshape(x.shape[0], 32, -1)
            mean, variance = groups.mean(2, keepdims=True), groups.var(2, keepdims=True)
            x = ((groups - mean) / np.sqrt(variance + 1e-5)).reshape(x.shape)
        else:
            mean, variance = (point[f"{layer}.{k}"].reshape(-1, 1, 1) for k in STATISTICS)
            x = (x - mean) / np.sqrt(variance + 1e-5)
        return x * gamma.reshape(-1, 1, 1) + beta.reshape(-1, 1, 1)

    def unit(x, conv, bn, stride=1):
        return normalised(oracle.conv2d(x, point[f"{conv}.weight"], stride=stride), bn)

    basic = name in ("resnet18", "resnet34")
    x = oracle.max_pool(oracle.relu(unit(point["image"], "conv1", "bn1", 2)))
    levels = []
    for stage, depth in enumerate(BACKBONES[name].settings["depths"], 1):
        for block in range(depth):
            at = f"layer{stage}.{block}."
            stride = 2 if stage > 1 and block == 0 else 1
            strides = (stride, 1) if basic else (stride, 1, 1) if stride_in_1x1 else (1, stride, 1)
            shortcut = x
            if f"{at}down_sample_layer.0.weight" in point:
                shortcut = unit(x, f"{at}down_sample_layer.0", f"{at}down_sample_layer.1", stride)
            for i, s in enumerate(strides, 1):
                x = unit(x, f"{at}conv{i}", f"{at}bn{i}", s)
                x = oracle.relu(x if i < len(strides) else x + shortcut)
        levels.append(x)
    return levels


def randomise_norms(net: ResNet, seed: int) -> dict[str, np.ndarray]:
    """Random affine parameters and statistics that keep the activations' size; all values by name, float64."""
    rng = np.random.default_rng(seed)
    for parameter in net.get_parameters():
        kind = parameter.name.rsplit(".", 1)[1]
        if kind != "weight":
            low, high = {"gamma": (0.4, 0.9), "moving_variance": (0.7, 1.5)}.get(kind, (-0.2, 0.2))
            parameter.set_data(to_tensor(rng.uniform(low, high, parameter.shape)))
    return {p.name: p.asnumpy().astype(np.float64) for p in net.get_parameters()}


def random_image(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(2, 3, 64, 64)).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "norm", "stride_in_1x1"),
    [
        ("resnet18", "frozen_bn", False),
        ("resnet18", "gn", False),
        ("resnet50", "bn", False),
        ("resnet50", "frozen_bn", True),
    ],
)
def test_levels(name, norm, stride_in_1x1):
    net = resnet(name, norm, 0, stride_in_1x1=stride_in_1x1).set_train(False)
    point = randomise_norms(net, 0)
    image = random_image(1)
    found = Compiled(net)(image)
    assert [level.shape[2:] for level in found] == [(16, 16), (8, 8), (4, 4), (2, 2)]
    for ours, theirs in zip(found, forward({**point, "image": image}, name, norm, stride_in_1x1)):
        np.testing.assert_allclose(ours, theirs, atol=1e-4 * np.abs(theirs).max())


def test_gradients():
    """Through folded batch norm, lean 3x3 convolutions, projections and the pool, into every weight."""
    net = resnet("resnet18", "frozen_bn", 0)
    point = {**randomise_norms(net, 2), "image": random_image(3)[:1, :, :32, :32].astype(np.float64)}
    rng = np.random.default_rng(4)
    parameters = net.trainable_params()
    names = [p.name for p in parameters]
    cotangents = [rng.normal(size=level.shape) for level in forward(point, "resnet18", "frozen_bn")]
    _, (by_image, by_weight) = Gradient(net, weights=parameters)(point["image"], cotangents=cotangents)

    def objective(at):
        return sum((c * level).sum() for c, level in zip(cotangents, forward(at, "resnet18", "frozen_bn")))

    assert all(name.endswith("weight") for name in names) and len(names) == 20
    gradients = {"image": by_image, **dict(zip(names, by_weight))}
    oracle.check_gradients(objective, point, gradients, rng, draws=1)


@pytest.mark.parametrize("norm", ["bn", "gn"])
def test_fresh_blocks_are_the_identity(norm):
    """All but those with a projection: what a stage adds to its first block is nothing."""
    net = resnet("resnet50", norm, 0)
    last = [p for p in net.get_parameters() if p.name.endswith("bn3.gamma")]
    assert len(last) == 16 and not any(p.asnumpy().any() for p in last)
    others = [p for p in net.get_parameters() if p.name.endswith("gamma") and "bn3" not in p.name]
    assert all((p.asnumpy() == 1).all() for p in others)


@pytest.mark.parametrize("freeze_at", [1, 2])
def test_gradient_stops_at_the_frozen_part(freeze_at):
    net = resnet("resnet18", "gn", freeze_at)
    randomise_norms(net, 5)  # a fresh network's blocks are the identity: their convolutions would get no gradient
    parameters = net.trainable_params()
    cotangents = [np.ones((1, c, s, s)) for c, s in zip((64, 128, 256, 512), (8, 4, 2, 1))]
    image = random_image(5)[:1, :, :32, :32]
    _, (by_image, by_weight) = Gradient(net, weights=parameters)(image, cotangents=cotangents)
    assert (by_image == 0).all()
    for parameter, gradient in zip(parameters, by_weight):
        assert np.abs(gradient).max() > 0, parameter.name


def test_frozen_batch_norm_of_the_usual_kind_keeps_its_statistics():
    """Frozen parts of a network with trained batch norm normalise as loaded and do not drift; others learn theirs."""
    net = resnet("resnet18", "bn", 2).set_train()
    before = randomise_norms(net, 6)
    found = Compiled(net)(random_image(7))
    for parameter in net.get_parameters():
        if parameter.name.endswith(STATISTICS):
            moved = np.abs(parameter.asnumpy() - before[parameter.name]).max() > 1e-6
            assert moved == (PARTS.index(part_of(parameter.name)) >= 2), parameter.name
    expected = forward({**before, "image": random_image(7)}, "resnet18", "bn")[0]
    np.testing.assert_allclose(found[0], expected, atol=1e-4 * np.abs(expected).max())


def test_unknown_normalisation():
    with pytest.raises(ConfigError, match="norm: 'in'"):
        resnet("resnet18", "in")


def test_backbone_width_scales_every_stage():
    narrow = resnet("resnet18", "gn", freeze_at=0, stem_width=24)
    assert narrow.out_channels == [24, 48, 96, 192]
    narrow.set_train(False)
    shapes = [c.shape for c in Compiled(narrow)(np.zeros((1, 3, 64, 64), np.float32))]
    assert shapes == [(1, 24, 16, 16), (1, 48, 8, 8), (1, 96, 4, 4), (1, 192, 2, 2)]


def test_fixed_bn_trains_scale_and_shift_with_the_loaded_statistics():
    """As MindSpore's model zoo: the same features as frozen_bn, in training, too; gradients reach gamma and beta."""
    fixed, frozen = resnet("resnet18", "fixed_bn", freeze_at=0), resnet("resnet18", "frozen_bn", freeze_at=0)
    ms.load_param_into_net(frozen, fixed.parameters_dict())
    assert fixed.parameters_dict().keys() == frozen.parameters_dict().keys()
    trained = {parameter.name for parameter in fixed.trainable_params()}
    assert any(name.endswith("bn1.gamma") for name in trained) and not any("moving" in name for name in trained)
    x = ms.Tensor(np.random.default_rng(0).normal(size=(1, 3, 32, 32)).astype(np.float32))
    for a, b in zip(fixed.set_train()(x), frozen.set_train()(x)):
        np.testing.assert_allclose(a.asnumpy(), b.asnumpy(), rtol=1e-4, atol=1e-4)
