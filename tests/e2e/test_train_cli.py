"""train.py as a user runs it: the real network at a small size, killed and resumed; its error messages."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
from tests.e2e.small_run import ROOT, STEPS, arguments, finish, make_data, start

from maskrcnn.checkpoint.format import load_checkpoint, load_training_state
from maskrcnn.commands.train import main
from maskrcnn.errors import MaskRCNNError


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("coco")
    make_data(root)
    return root


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """A run without interruption, and what it printed."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, finish(start(data, folder, eval_interval_epochs=3, val_data_type="train2017"))


def test_a_run_converts_trains_saves_and_logs(whole):
    folder, output = whole
    assert "4 of 4 images" in output
    line = re.search(r"^epoch 3/3 step 2/2 loss .* s/step .* images/s data wait .* memory .* GiB ETA", output, re.M)
    assert line, output
    assert "learning rate: peak 0.0025 (base_lr 0.02 x 2 / 16 images a step), after 2 steps of warm-up" in output
    assert re.search(r"^device: CPU \(.+\), no Ascend or GPU device was found$", output, re.M)
    assert "WARNING" not in output
    names = sorted(path.name for path in (folder / "checkpoint").iterdir())
    assert names[0] == "best.ckpt"
    assert names[-1] == "maskrcnn-3_2.ckpt"
    assert len(names) <= 4  # a save that comes late takes the place of two
    arrays, meta = load_checkpoint(folder / "checkpoint" / "maskrcnn-3_2.ckpt")
    assert "backbone.conv1.weight" in arrays
    assert all(np.isfinite(array).all() for array in arrays.values())
    assert (meta["class_names"], meta["category_ids"], meta["config"]["img_width"]) == (["box"], [3], 128)
    log = (folder / "log" / "loss_0.log").read_text().splitlines()
    assert len(log) == STEPS
    number = r"\d+\.\d{5}"
    names = ["rpn", "rcnn", "rpn_cls", "rpn_reg", "rcnn_cls", "rcnn_reg", "rcnn_mask", "total"]
    wanted = "epoch:3 step:2 ," + ", ".join(f"{name}_loss:{number}" for name in names)
    assert re.fullmatch(wanted, log[-1])
    assert re.search(r"^epoch 3: bbox AP \S+, segm AP \S+ \(best so far, kept as best\.ckpt\)", output, re.M)
    assert (folder / "eval" / "segm.json").is_file()
    run = json.loads((folder / "log" / "run.json").read_text())
    assert run["config"]["epoch_size"] == 3
    assert "mindspore" in run["versions"]


def test_a_killed_run_resumes_exactly(data, whole, tmp_path):
    folder, _ = whole
    process = start(data, tmp_path)
    wanted = int(np.random.default_rng(os.getpid()).integers(1, STEPS))
    for line in process.stdout:
        if line.startswith(f"epoch {1 + (wanted - 1) // 2}/3 step {1 + (wanted - 1) % 2}/2 "):
            process.kill()
            break
    assert process.wait() == -signal.SIGKILL
    output = finish(start(data, tmp_path, resume="auto"))
    assert "resumed from" in output or "starting anew" in output
    assert "settings changed" not in output
    last = "checkpoint/maskrcnn-3_2.ckpt"
    (arrays, meta), (others, other_meta) = (
        load_training_state(folder / last),
        load_training_state(tmp_path / last),
    )
    assert arrays.keys() == others.keys()
    for name in arrays:
        assert arrays[name].tobytes() == others[name].tobytes(), name
    for key in ("config",):  # differs in paths and resume only
        meta.pop(key), other_meta.pop(key)
    assert meta == other_meta
    assert (folder / "log/loss_0.log").read_text() == (tmp_path / "log/loss_0.log").read_text()


def test_a_checkpoint_resumes_without_any_settings(whole, tmp_path, capsys):
    """Network, data and recipe are those of the checkpoint, and the run ends with the same weights."""
    folder, _ = whole
    oldest = min((folder / "checkpoint").glob("maskrcnn-*_*.ckpt"), key=lambda path: path.stat().st_mtime)
    paths = ["--save_checkpoint_path", tmp_path / "checkpoint", "--log_dir", tmp_path, "--eval_interval_epochs", "0"]
    assert main([str(text) for text in ("--resume", oldest, *paths)]) == 0
    assert "settings changed since then: eval_interval_epochs 3 -> 0\n" in capsys.readouterr().out
    (arrays, _), (others, _) = (
        load_checkpoint(place / "checkpoint" / "maskrcnn-3_2.ckpt") for place in (folder, tmp_path)
    )
    assert arrays.keys() == others.keys()
    assert all(arrays[name].tobytes() == others[name].tobytes() for name in arrays)
    with pytest.raises(MaskRCNNError, match=r"backbone is 'resnet50' \(--backbone\), but .* was made with 'resnet18'"):
        main([str(text) for text in ("--resume", oldest, *paths, "--backbone", "resnet50")])


def test_a_signal_saves_and_a_whole_checkpoint_can_start_another_run(data, whole, tmp_path):
    folder, _ = whole
    process = start(data, tmp_path, pre_trained=folder / "checkpoint" / "maskrcnn-3_2.ckpt", seed=5)
    output = []
    for line in process.stdout:
        output.append(line)
        if line.startswith("epoch 1/3 step 1/2"):
            process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 143
    text = "".join(output)
    assert "stopped by SIGTERM after step" in text
    matched, total = re.search(r"(\d+) of the network's (\d+) parameters loaded", text).groups()
    assert matched == total
    assert list((tmp_path / "checkpoint").glob("maskrcnn-1_*.ckpt"))


def test_errors_are_one_line_with_exit_code_2(data, tmp_path):
    command = [sys.executable, str(ROOT / "train.py"), *arguments(data, tmp_path, momentun=0.9)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr.strip().splitlines() == [result.stderr.strip()]
    assert "momentun" in result.stderr
    assert "momentum" in result.stderr


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"coco_root": "/nowhere"}, "/nowhere"),
        ({"resume": "/nowhere/a.ckpt"}, r"resume /nowhere/a\.ckpt does not exist"),
        ({"pre_trained": "/nowhere/b.ckpt"}, r"pre_trained /nowhere/b\.ckpt does not exist"),
        ({"save_checkpoint_path": "/dev/null/x"}, "save_checkpoint_path /dev/null/x cannot be written"),
        ({"log_dir": "/dev/null/x"}, "log_dir /dev/null/x cannot be made"),
        ({"device_target": "Ascend"}, "device_target is Ascend, device_id 0: not available"),
        ({"save_checkpoint": "false", "eval_interval_epochs": 1}, "eval_interval_epochs needs checkpoints"),
    ],
)
def test_what_cannot_work_is_said_before_training(data, tmp_path, settings, message):
    with pytest.raises(MaskRCNNError, match=message) as caught:
        main(arguments(data, tmp_path, **settings))
    assert "\n" not in str(caught.value)


def test_a_new_run_does_not_mix_with_the_checkpoints_of_another(data, whole):
    with pytest.raises(MaskRCNNError, match=r"newest maskrcnn-3_2\.ckpt.*--resume auto"):
        main(arguments(data, whole[0]))


def test_only_create_dataset_stops_after_the_conversion(data, tmp_path):
    assert main(arguments(data, tmp_path, only_create_dataset="true", mindrecord_dir=tmp_path / "record")) == 0
    assert (tmp_path / "record" / "maskrcnn_train2017.mindrecord").is_file()
    assert not (tmp_path / "checkpoint").exists()
