"""Checkpoints as training writes them, with the optimizer's state, in torchvision's layout; what it cannot hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from maskrcnn.checkpoint.format import load_checkpoint, load_training_state, save_checkpoint
from maskrcnn.config import load_config
from maskrcnn.convert import convert_file, export_file
from maskrcnn.convert.__main__ import main
from maskrcnn.errors import CheckpointError
from maskrcnn.models.build import build_network
from maskrcnn.training.optimizer import AdamW, MomentumSGD

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
META = {"class_names": ["cat", "dog"], "category_ids": [17, 18]}


def trained(path: Path, optimizer: type = AdamW, **settings: object) -> Path:
    """A checkpoint of configs/coco_tiny.yaml's network with all that a trainer saves."""
    flags = [text for key, value in settings.items() for text in (f"--{key}", str(value))]
    cfg = load_config(["--config_path", str(CONFIGS / "coco_tiny.yaml"), *flags])
    network = build_network(cfg, 3)
    state = optimizer(network.trainable_params(), 0.9, 0.01).moments
    saved = [(parameter.name, parameter.asnumpy()) for parameter in (*network.get_parameters(), *state)]
    save_checkpoint(path, saved, META)
    return path


@pytest.mark.parametrize("optimizer", [AdamW, MomentumSGD])
def test_the_state_of_the_optimizer_stays_behind(tmp_path, optimizer) -> None:
    source = trained(tmp_path / "ours.ckpt", optimizer)
    network, everything = load_checkpoint(source)[0], load_training_state(source)[0]
    per_weight = 2 if optimizer is AdamW else 1
    moving = sum("moving_" in name for name in network)
    assert len(everything) - len(network) == per_weight * (len(network) - moving)
    main([str(source), str(tmp_path / "theirs.npz")])
    with np.load(tmp_path / "theirs.npz") as theirs:
        assert len(theirs.files) == len(network)
        same = np.testing.assert_array_equal
        same(theirs["rpn.head.bbox_pred.bias"], network["rpn.bbox_pred.bias"])
        same(theirs["backbone.body.bn1.running_var"], network["backbone.bn1.moving_variance"])
    convert_file(tmp_path / "theirs.npz", tmp_path / "again.ckpt")
    again = load_checkpoint(tmp_path / "again.ckpt")[0]
    assert again.keys() == network.keys()
    assert all(again[name].tobytes() == network[name].tobytes() for name in network)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"backbone_width": 32}, r"32 channels wide \(backbone_width\), torchvision's 64$"),
        ({"norm": "gn"}, r"group normalisation \(norm gn\), torchvision's has batch normalisation$"),
    ],
)
def test_what_the_layout_cannot_hold_is_refused(tmp_path, settings, message) -> None:
    source = trained(tmp_path / "ours.ckpt", **settings)
    with pytest.raises(CheckpointError, match=rf"ours\.ckpt cannot be exported: its backbone (is|has) {message}"):
        export_file(source, tmp_path / "theirs.safetensors")
    assert not (tmp_path / "theirs.safetensors").exists()


def test_a_backbone_alone_is_refused(tmp_path) -> None:
    save_checkpoint(tmp_path / "ours.ckpt", [("backbone.conv1.weight", np.zeros((64, 3, 7, 7), np.float32))], META)
    with pytest.raises(CheckpointError, match=r"is not a whole Mask R-CNN of ours: '[\w.]+' is missing"):
        export_file(tmp_path / "ours.ckpt", tmp_path / "theirs.npz")
