"""Weights of every source without a conversion first: what training, evaluation and export are given."""

from __future__ import annotations

from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn
from tests.convert import foreign
from tests.models.parts import resnet

from maskrcnn.checkpoint.format import save_checkpoint
from maskrcnn.checkpoint.weights import load_pretrained
from maskrcnn.config import Config, load_config
from maskrcnn.config.schema import keys_of_role
from maskrcnn.config.stored import with_stored
from maskrcnn.convert import convert_file, detectron2, mindspore_zoo, read_weights, torchvision
from maskrcnn.convert.adapting import COCO_NAMES
from maskrcnn.errors import CheckpointError

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
ZOO_EPS, OUR_EPS = 1e-4, 1e-5


def save_mindspore(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    """A checkpoint as MindSpore itself writes it."""
    ms.save_checkpoint([{"name": n, "data": ms.Tensor(a)} for n, a in arrays.items()], str(path))
    return path


def with_backbone(name: str) -> nn.Cell:
    net = nn.Cell()
    net.backbone = resnet(name)
    net.update_parameters_name()
    return net


def zoo_classifier() -> dict[str, np.ndarray]:
    """The model zoo's ResNet as its own training saves it, with variances near its eps."""
    arrays = foreign.filled(foreign.zoo_resnet("resnet18"))
    arrays["bn1.moving_variance"][:2] = 1e-5, 3e-4
    width = {"end_point.weight": np.ones((10, 512), np.float32), "moments.conv1.weight": np.ones(3, np.float32)}
    return {**arrays, **width, "global_step": np.zeros(1, np.float32)}


def as_convert_checkpoint_does(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """resnet50_backbone.ckpt of the model zoo's tutorials: names as in the backbone of its Mask R-CNN."""
    renamed = {}
    for name, array in arrays.items():
        new = f"backbone.{name}" if name.startswith(("layer", "conv1", "bn")) else name
        new = new.replace("down_sample_layer.0", "conv_down_sample").replace("down_sample_layer.1", "bn_down_sample")
        renamed[new] = array
    return renamed


@pytest.mark.parametrize("names", ["classifier", "backbone of the detector", "a wrapped one"])
def test_a_zoo_resnet_fills_the_whole_backbone(tmp_path, names) -> None:
    """Shortcuts included, and features are the zoo's: its eps is folded in."""
    arrays = zoo_classifier()
    file = arrays if names == "classifier" else as_convert_checkpoint_does(arrays)
    if names == "a wrapped one":
        file = {f"network.{name}": array for name, array in file.items()}
    net = with_backbone("resnet18")
    report = load_pretrained(net, read_weights(save_mindspore(tmp_path / "r.ckpt", file)))
    assert len(report.matched) == len(net.parameters_dict()) and not report.missing and not report.unused
    assert "note: MindSpore ResNet, MindSpore .ckpt, converted" in "\n".join(report.lines())
    found = {name: p.asnumpy() for name, p in net.parameters_dict().items()}
    for name in foreign.zoo_resnet("resnet18"):
        if not name.endswith("gamma"):
            np.testing.assert_array_equal(found[f"backbone.{name}"], arrays[name])
    wanted = arrays["bn1.gamma"] / np.sqrt(arrays["bn1.moving_variance"].astype(np.float64) + ZOO_EPS)
    scale = found["backbone.bn1.gamma"] / np.sqrt(arrays["bn1.moving_variance"].astype(np.float64) + OUR_EPS)
    np.testing.assert_allclose(scale, wanted, rtol=1e-6)


def test_a_zoo_backbone_that_lacks_its_shortcuts_is_refused(tmp_path) -> None:
    arrays = as_convert_checkpoint_does(zoo_classifier())
    broken = {name: array for name, array in arrays.items() if "down_sample" not in name}
    broken["backbone.layer2.0.bn_down_sample.beta"] = arrays["backbone.layer2.0.bn_down_sample.beta"]
    with pytest.raises(CheckpointError, match=r"no tensor for backbone\.layer2\.0\.down_sample_layer\.0\.weight"):
        read_weights(save_mindspore(tmp_path / "r.ckpt", broken))


def test_quantised_weights_are_refused(tmp_path) -> None:
    arrays = foreign.filled(foreign.torch_resnet("resnet18"))
    arrays["layer1.0.conv1.weight"] = arrays["layer1.0.conv1.weight"].astype(np.int8)
    np.savez(tmp_path / "w.npz", **arrays)
    with pytest.raises(CheckpointError, match=r"layer1\.0\.conv1\.weight as int8: quantised weights"):
        read_weights(tmp_path / "w.npz")


@pytest.mark.parametrize("form", [".pth", ".npz", ".safetensors", ".pkl"])
def test_torchvision_resnets_in_every_format(tmp_path, monkeypatch, form) -> None:
    arrays = foreign.filled(foreign.torch_resnet("resnet18"))
    path = tmp_path / ("weights" + form)
    if form == ".pth":
        writer = foreign.TorchWriter(monkeypatch)
        writer.save_zip(path, {"model": {f"module.{n}": writer.tensor(a) for n, a in arrays.items()}, "epoch": 89})
    elif form == ".npz":
        np.savez(path, **arrays)
    elif form == ".safetensors":
        from maskrcnn.convert.safetensors import write_safetensors

        write_safetensors(path, arrays, {})
    else:
        import pickle

        path.write_bytes(pickle.dumps(arrays))
    weights = read_weights(path)
    report = load_pretrained(with_backbone("resnet18"), weights)
    assert (
        not report.missing and "config" not in weights.meta and weights.meta["source"]["layout"] == "torchvision ResNet"
    )
    np.testing.assert_array_equal(weights.arrays["backbone.conv1.weight"], arrays["conv1.weight"])


@pytest.mark.parametrize(
    ("make", "source"),
    [
        (lambda: foreign.filled(foreign.torch_detector()), torchvision),
        (lambda: foreign.detectron2_arrays(backbone="resnet101"), detectron2),
        (lambda: foreign.filled(foreign.zoo_detector()), mindspore_zoo),
    ],
    ids=["torchvision", "detectron2", "zoo"],
)
def test_a_foreign_detector_brings_its_settings_and_classes(tmp_path, make, source) -> None:
    arrays = make()
    if source is mindspore_zoo:
        path = save_mindspore(tmp_path / "raw.ckpt", arrays)
    else:
        path = tmp_path / "raw.npz"
        np.savez(path, **arrays)
    raw = read_weights(path)
    convert_file(path, tmp_path / "converted.ckpt")
    converted = read_weights(tmp_path / "converted.ckpt")
    assert raw.meta["config"] == converted.meta["config"] and raw.meta["source"] == converted.meta["source"]
    assert raw.arrays.keys() == converted.arrays.keys() and not converted.notes
    assert raw.class_names == converted.class_names == COCO_NAMES
    assert source.LAYOUT in raw.notes[0]
    stored = raw.meta["config"]
    cfg, _ = with_stored(load_config([]), stored, "it")
    said = load_config(["--config_path", str(CONFIGS / Path(source.CONFIG).name)])
    backbone = "resnet101" if source is detectron2 else "resnet50"
    for key in keys_of_role("network", "arithmetic", "inference"):
        expected = backbone if key == "backbone" else getattr(said, key)
        assert key == "coco_classes" or getattr(cfg, key) == expected, key


@pytest.mark.parametrize(
    "source", [torchvision, detectron2, mindspore_zoo], ids=lambda source: source.__name__.split(".")[-1]
)
def test_settings_are_those_of_the_file_in_configs(source) -> None:
    """What the converter writes into a checkpoint, and what the file says to those who read it."""
    file = load_config(["--config_path", str(CONFIGS / Path(source.CONFIG).name)])
    settings = Config.from_dict(source.SETTINGS)
    for key in keys_of_role("network", "arithmetic", "inference"):
        assert getattr(settings, key) == getattr(file, key), key


def test_sizes_of_the_network_are_told_by_its_weights(tmp_path) -> None:
    from maskrcnn.models.build import build_network

    cfg = load_config(["--config_path", str(CONFIGS / "coco_tiny.yaml"), "--rcnn_mask_num_layers", "2"])
    cfg = cfg.replace(norm="gn", roi_layer={"out_size": 5})
    network = build_network(cfg, 4)
    ms.save_checkpoint(network, str(tmp_path / "plain.ckpt"))
    weights = read_weights(tmp_path / "plain.ckpt")
    found, _ = with_stored(load_config([]), weights.meta["config"], "it")
    for key in keys_of_role("network"):
        if key not in ("anchor_scales", "anchor_ratios", "coco_classes"):
            assert getattr(found, key) == getattr(cfg, key), key
    assert weights.class_names == () and len(weights.arrays) == len(network.parameters_dict())


def test_checkpoints_converted_by_older_versions_get_the_settings_of_their_source(tmp_path) -> None:
    arrays = {"box_head.cls_score.weight": np.zeros((3, 8), np.float32)}
    save_checkpoint(tmp_path / "old.ckpt", arrays.items(), {"source": {"layout": "detectron2 Mask R-CNN"}})
    stored = read_weights(tmp_path / "old.ckpt").meta["config"]
    assert stored["pixel_std"] == [1.0, 1.0, 1.0] and stored["stride_in_1x1"]


def test_an_own_checkpoint_keeps_its_metadata(tmp_path) -> None:
    arrays = {"box_head.cls_score.weight": np.zeros((3, 8), np.float32), "moments.x": np.zeros(2, np.float32)}
    meta = {"config": {"backbone": "resnet18"}, "class_names": ["a", "b"], "epoch": 3}
    save_checkpoint(tmp_path / "ours.ckpt", arrays.items(), meta)
    weights = read_weights(tmp_path / "ours.ckpt")
    assert weights.meta["config"] == {"backbone": "resnet18"} and weights.meta["epoch"] == 3
    assert list(weights.arrays) == ["box_head.cls_score.weight"] and weights.class_names == ("a", "b")
