"""Pre-trained weights: what matches is loaded, and everything else is told."""

from __future__ import annotations

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn
from tests.convert import foreign
from tests.training.tiny import TinyNet

from maskrcnn.checkpoint.format import save_checkpoint
from maskrcnn.checkpoint.weights import load_pretrained
from maskrcnn.convert import convert_file
from maskrcnn.errors import CheckpointError
from maskrcnn.models.resnet import ResNet


def values(net):
    return {name: p.asnumpy().copy() for name, p in net.parameters_dict().items()}


def write(tmp_path, arrays):
    path = tmp_path / "weights.ckpt"
    ms.save_checkpoint([{"name": n, "data": ms.Tensor(a)} for n, a in arrays.items()], str(path))
    return path


@pytest.fixture
def source():
    return {n: v + np.float32(1.5) for n, v in values(TinyNet()).items()}


def test_a_whole_checkpoint_matches_by_name(tmp_path, source):
    net = TinyNet()
    save_checkpoint(tmp_path / "a.ckpt", [*source.items(), ("moments.gain", source["gain"])], {"epoch": 1})
    report = load_pretrained(net, tmp_path / "a.ckpt")
    assert (report.missing, report.unused, report.reshaped) == ([], [], [])
    assert all((v == source[n]).all() for n, v in values(net).items())
    assert f"{len(source)} of the network's {len(source)} parameters loaded" in report.lines()[0]


def test_a_backbone_matches_with_the_prefix(tmp_path, source):
    net = TinyNet()
    before = values(net)
    file = {n.removeprefix("backbone."): v for n, v in source.items() if n.startswith("backbone.")}
    file["end_point.weight"] = np.ones((5, 4), np.float32)
    file["moments.0.weight"] = np.ones(3, np.float32)
    report = load_pretrained(net, write(tmp_path, file))
    after = values(net)
    for name in after:
        expected = source if name.startswith("backbone.") else before
        assert (after[name] == expected[name]).all()
    assert sorted(report.missing) == ["gain", "head.bias", "head.weight"]
    assert report.unused == ["backbone.end_point.weight"]
    text = "\n".join(report.lines())
    assert all(name in text for name in ("gain", "head.bias", "head.weight", "end_point.weight"))


def test_predictors_of_other_classes_stay_as_initialised(tmp_path, source):
    net = TinyNet(classes=5)
    before = values(net)
    report = load_pretrained(net, write(tmp_path, source))
    assert [line.split()[0] for line in report.reshaped] == ["head.bias", "head.weight"]
    assert "head.bias (3,) != (5,)" in "\n".join(report.lines())
    assert (values(net)["head.weight"] == before["head.weight"]).all()
    assert (values(net)["gain"] == source["gain"]).all()


def test_another_backbone_is_refused(tmp_path, source):
    net = TinyNet()
    before = values(net)
    source["backbone.0.weight"] = source["backbone.0.weight"][:2]
    with pytest.raises(CheckpointError, match=r"another backbone: backbone.0.weight is \(2, 3, 3, 3\)"):
        load_pretrained(net, write(tmp_path, source))
    assert all((v == before[n]).all() for n, v in values(net).items())


def test_nothing_matched_is_an_error(tmp_path):
    with pytest.raises(
        CheckpointError,
        match=r"matches nothing in the network: it has backbone.fc, the network has .*maskrcnn\.convert",
    ):
        load_pretrained(TinyNet(), write(tmp_path, {"fc": np.ones(3, np.float32)}))


def test_values_that_are_not_finite_are_refused(tmp_path, source):
    source["head.bias"][1] = np.nan
    with pytest.raises(CheckpointError, match=r"not finite in head\.bias"):
        load_pretrained(TinyNet(), write(tmp_path, source))


def test_half_precision_files_are_widened(tmp_path, source):
    net = TinyNet()
    load_pretrained(net, write(tmp_path, {n: v.astype(np.float16) for n, v in source.items()}))
    assert net.head.weight.dtype == ms.float32
    np.testing.assert_array_equal(net.head.weight.asnumpy(), source["head.weight"].astype(np.float16))


def test_a_model_zoo_resnet_that_was_not_converted_is_named(tmp_path):
    """Its features are another normalisation's; those of the converted file are the zoo's to float32 precision."""
    arrays = foreign.filled(foreign.zoo_resnet("resnet18"))
    arrays["bn1.moving_variance"][:2] = 1e-5, 3e-4
    zoo = write(tmp_path, {**arrays, "end_point.weight": np.ones((10, 512), np.float32)})
    convert_file(zoo, tmp_path / "converted.ckpt")
    wanted = arrays["bn1.gamma"] / np.sqrt(arrays["bn1.moving_variance"].astype(np.float64) + 1e-4)
    for path, exact in ((zoo, False), (tmp_path / "converted.ckpt", True)):
        net = nn.Cell()
        net.backbone = ResNet("resnet18")
        net.update_parameters_name()
        report = load_pretrained(net, path)
        assert not report.missing and not report.reshaped
        lines = [line for line in report.lines() if f"python -m maskrcnn.convert {path} OUT.ckpt" in line]
        assert len(lines) == (0 if exact else 1)
        norm = net.backbone.bn1
        found = norm.gamma.asnumpy() / np.sqrt(norm.moving_variance.asnumpy().astype(np.float64) + 1e-5)
        assert np.allclose(found, wanted, rtol=1e-6) == exact
