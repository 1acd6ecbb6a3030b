"""What a run takes from the checkpoint that it continues, or begins with, and what it says of it."""

from __future__ import annotations

import numpy as np
import pytest

from maskrcnn.checkpoint.folder import CheckpointFolder
from maskrcnn.checkpoint.format import save_checkpoint
from maskrcnn.config import Config, load_config
from maskrcnn.distributed.process_group import ProcessGroup
from maskrcnn.errors import CheckpointError, ConfigError
from maskrcnn.training.start import find_start

MADE = Config(backbone="resnet18", norm="bn", pixel_std=(1, 1, 1), base_lr=0.1, img_width=512, coco_root="their data")
ARRAYS = {"backbone.conv1.weight": np.ones((4, 3, 7, 7), np.float32), "box_head.fc.0.bias": np.ones(2, np.float32)}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "checkpoint").mkdir()
    for epoch in (1, 2):
        save_checkpoint(
            tmp_path / "checkpoint" / f"maskrcnn-{epoch}_9.ckpt", ARRAYS.items(), {"config": MADE.to_dict()}
        )
    return CheckpointFolder(tmp_path / "checkpoint", 3)


def start(folder, *argv):
    return find_start(load_config(argv), folder, ProcessGroup())


def test_random_weights(folder, capsys):
    found = start(folder)
    assert (found.cfg, found.resume, found.weights) == (Config(), None, None) and not capsys.readouterr().out


def test_a_run_that_continues_needs_nothing_else(folder, capsys):
    found = start(folder, "--resume", "auto")
    assert found.resume.name == "maskrcnn-2_9.ckpt" and found.weights is None
    assert found.cfg == MADE.replace(resume="auto")
    assert not capsys.readouterr().out
    oldest = folder.folder / "maskrcnn-1_9.ckpt"
    found = start(folder, "--resume", str(oldest), "--base_lr", "0.05")
    assert found.resume == oldest and (found.cfg.base_lr, found.cfg.backbone) == (0.05, "resnet18")
    assert capsys.readouterr().out == f"note: base_lr is 0.05 (--base_lr), not 0.1 as in {oldest}\n"


def test_nothing_to_continue_yet(tmp_path, capsys):
    empty = CheckpointFolder(tmp_path / "none", 3)
    assert start(empty, "--resume", "auto").resume is None
    assert "resume auto: no checkpoint in ./checkpoint yet, starting anew" in capsys.readouterr().out


def test_settings_that_contradict_the_checkpoint_are_refused(folder):
    with pytest.raises(ConfigError) as caught:
        start(folder, "--resume", "auto", "--backbone", "resnet50", "--fpn_out_channels", "64")
    assert [line.split(" (")[0] for line in caught.value.lines] == ["backbone is 'resnet50'", "fpn_out_channels is 64"]


def test_a_run_that_begins_with_weights_takes_their_arithmetic(folder, capsys):
    file = folder.folder / "maskrcnn-1_9.ckpt"
    found = start(folder, "--pre_trained", str(file))
    assert found.resume is None and found.weights.arrays.keys() == ARRAYS.keys()
    assert found.cfg == Config(backbone="resnet18", pixel_std=(1, 1, 1), pre_trained=str(file))
    line = f"as in {file}: pixel_std [1.0, 1.0, 1.0], backbone 'resnet18'; give a key to choose otherwise\n"
    assert capsys.readouterr().out == line
    assert start(folder, "--pre_trained", str(file), "--backbone", "resnet34").cfg.backbone == "resnet34"


def test_files_that_cannot_be_used(tmp_path, folder):
    (tmp_path / "bad.ckpt").write_bytes(b"text")
    for key in ("resume", "pre_trained"):
        with pytest.raises(CheckpointError, match=r"bad\.ckpt"):
            start(folder, f"--{key}", str(tmp_path / "bad.ckpt"))
