"""Runs that end badly: one clear line, an exit code, and a checkpoint from which they go on."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from tests.e2e.small_run import ROOT, finish, make_data, rest_of, start

from maskrcnn.checkpoint.folder import SPARE, CheckpointFolder
from maskrcnn.checkpoint.format import load_training_state

MIB = 2**20


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("coco")
    make_data(root)
    return root


@pytest.fixture
def disk(tmp_path):
    """A function that mounts a file system of so many bytes, and returns its folder."""
    mounted = []

    def mount(size: int, options: str = "rw") -> Path:
        folder = tmp_path / f"disk {len(mounted)}"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size},{options}", "none", str(folder)]
        if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("needs the right to mount a file system")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", str(folder)], check=True)


def error_line(process: subprocess.Popen) -> tuple[str, str]:
    """The one line of a run that fails as it should, and all its output."""
    output = rest_of(process)
    assert process.returncode == 2, output
    assert "Traceback" not in output
    errors = [line for line in output.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, output
    return errors[0], output


def wait_for(process: subprocess.Popen, beginning: str) -> None:
    for line in process.stdout:
        if line.startswith(beginning):
            return
    pytest.fail(f"the run ended with {process.wait()} before {beginning}")


def newest_meta(folder: Path) -> dict:
    _, meta = load_training_state(CheckpointFolder(folder, 1).newest())
    return meta


def test_data_that_vanish_while_training(data, tmp_path):
    """The record is deleted; the steps done are saved, and the run goes on when it is back."""
    record = tmp_path / "record"
    settings = {"mindrecord_dir": record, "save_checkpoint_steps": 1000, "epoch_size": 300}
    process = start(data, tmp_path, **settings)
    wait_for(process, "epoch 2/300 step 1/2")
    record.rename(tmp_path / "elsewhere")
    line, output = error_line(process)
    assert f"the record {record / 'maskrcnn_train2017.mindrecord'} cannot be read" in line
    meta = newest_meta(tmp_path / "checkpoint")
    assert meta["global_step"] >= 3
    assert f"--resume {tmp_path / 'checkpoint'}/maskrcnn-{meta['epoch']}_{meta['step']}.ckpt" in output


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("save_checkpoint_path", "save_checkpoint_path {} cannot be written: Read-only file system; choose another"),
        ("log_dir", "log_dir {} cannot be written; choose another"),
        ("mindrecord_dir", "cannot write to {}: Read-only file system; give another mindrecord_dir"),
        ("eval_output", "eval_output {} cannot be written; choose another"),
    ],
)
def test_a_read_only_folder_is_said_before_training(data, tmp_path, disk, key, message):
    folder = disk(MIB, "ro")
    evaluated = {"eval_interval_epochs": 1, "val_data_type": "train2017"}
    line, _ = error_line(start(data, tmp_path, **{**evaluated, key: folder}))
    assert message.format(folder) in line


TINY_RUN = """
import sys
from pathlib import Path
from tests.training.test_trainer import make_trainer
from maskrcnn import cli
from maskrcnn.checkpoint import folder as checkpoint_folder
checkpoint_folder.SPARE = int(sys.argv[2])
cli.run(lambda: make_trainer(Path(sys.argv[1]), epochs=200, keep=10**6, save_steps=1).train())
"""


@pytest.mark.parametrize(
    ("spare", "message"),
    [(64 * 1024, "the disk of save_checkpoint_path"), (-MIB, "No space left on device|the disk is full")],
)
def test_a_disk_that_fills_up_ends_a_run_in_one_line(disk, spare, message):
    """Noticed before a checkpoint is begun; and, where another program takes the room after that, while it is written.

    The logs are on that disk, too. A network of a few numbers, so that it is quick.
    """
    folder = disk(400 * 1024)
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    process = subprocess.Popen(
        [sys.executable, "-c", TINY_RUN, str(folder), str(spare)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )
    line, _ = error_line(process)
    assert any(part in line for part in message.split("|"))
    assert newest_meta(folder / "checkpoint")["global_step"] >= 10
    assert not list((folder / "checkpoint").glob(".*"))


@pytest.mark.slow
def test_a_loss_that_is_not_finite(data, tmp_path):
    line, output = error_line(start(data, tmp_path, base_lr=1e20, warmup_step=0))
    assert line.startswith("error: not finite at epoch 1 step 2: ")
    assert "continue with" not in output
    assert newest_meta(tmp_path / "checkpoint")["global_step"] == 1


@pytest.mark.slow
def test_a_disk_that_fills_up_under_the_whole_program(data, tmp_path, disk):
    folder = disk(SPARE + 60 * MIB)
    settings = {"save_checkpoint_path": folder, "keep_checkpoint_max": 1000, "epoch_size": 300}
    line, _ = error_line(start(data, tmp_path, **settings))
    assert line.startswith(f"error: the disk of save_checkpoint_path {folder} is full")
    done = newest_meta(folder)["global_step"]
    shutil.copytree(folder, tmp_path / "larger")
    moved = {"save_checkpoint_path": tmp_path / "larger", "epoch_size": 300, "max_steps": done + 2}
    assert f"{done} of {done + 2} steps done" in finish(start(data, tmp_path, **moved, resume="auto"))


@pytest.mark.slow
def test_a_run_killed_again_and_again_ends_as_if_it_had_not_been(data, tmp_path):
    """Kills at random moments of start, compilation, training and saving."""
    settings = {"epoch_size": 20, "keep_checkpoint_max": 2}
    (tmp_path / "whole").mkdir()
    finish(start(data, tmp_path / "whole", **settings))
    (tmp_path / "killed").mkdir()
    rng = np.random.default_rng(time.time_ns())
    folder, before = tmp_path / "killed" / "checkpoint", 0
    for kill in range(6):
        process = start(data, tmp_path / "killed", **settings, resume="auto")
        if kill % 3:  # otherwise before the first step
            for _ in range(rng.integers(2, 6)):
                wait_for(process, "epoch ")
        time.sleep(rng.uniform(0, 2))
        process.kill()
        assert process.wait() == -signal.SIGKILL
        newest = CheckpointFolder(folder, 1).newest()
        if newest:
            after = load_training_state(newest)[1]["global_step"]
            assert after >= before
            before = after
    assert before >= 4
    finish(start(data, tmp_path / "killed", **settings, resume="auto"))
    last = Path("checkpoint") / "maskrcnn-20_2.ckpt"
    (ours, meta), (wanted, wanted_meta) = (load_training_state(tmp_path / name / last) for name in ("killed", "whole"))
    assert ours.keys() == wanted.keys()
    assert all(ours[name].tobytes() == wanted[name].tobytes() for name in ours)
    assert {**meta, "config": 0} == {**wanted_meta, "config": 0}
    logs = [(tmp_path / name / "log" / "loss_0.log").read_text() for name in ("killed", "whole")]
    assert logs[0] == logs[1]


MANY_SAVES = """
import sys
from pathlib import Path
from tests.training.test_trainer import make_trainer
trainer = make_trainer(Path(sys.argv[1]), epochs=400, keep=2, save_steps=1)
newest = trainer.checkpoints.newest()
if newest:
    trainer.resume(newest)
sys.exit(trainer.train())
"""


@pytest.mark.slow
def test_fifty_kills_of_a_run_that_always_saves(tmp_path):
    """A checkpoint is being written nearly always; a network of a few numbers, so that fifty lives fit into minutes."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    ends = []
    for name, kills in (("whole", 0), ("killed", 50)):
        folder = tmp_path / name
        folder.mkdir()
        rng, before = np.random.default_rng(time.time_ns()), 0
        command = [sys.executable, "-c", MANY_SAVES, str(folder)]
        for _ in range(kills):
            process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
            wait_for(process, "epoch ")
            time.sleep(rng.uniform(0, 0.2))
            process.kill()
            assert process.wait() == -signal.SIGKILL
            after = newest_meta(folder / "checkpoint")["global_step"]
            assert after >= before
            before = after
        result = subprocess.run(command, capture_output=True, text=True, env=environment)
        assert result.returncode == 0, result.stderr
        ends.append(load_training_state(CheckpointFolder(folder / "checkpoint", 1).newest()))
    (ours, meta), (wanted, wanted_meta) = ends
    assert meta == wanted_meta and meta["global_step"] == 2000
    assert all(ours[key].tobytes() == wanted[key].tobytes() for key in wanted)
    logs = [(tmp_path / name / "log" / "loss_0.log").read_text() for name in ("whole", "killed")]
    assert logs[0] == logs[1]
