"""Saving beside the training: what is held up, what a checkpoint holds, what a failure says."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from maskrcnn.checkpoint import folder as checkpoint_folder
from maskrcnn.checkpoint.folder import CheckpointFolder
from maskrcnn.checkpoint.format import load_checkpoint, load_training_state
from maskrcnn.checkpoint.writer import CheckpointWriter
from maskrcnn.errors import CheckpointError

ROOT = Path(__file__).resolve().parents[2]


class State:
    """Two arrays that are changed in place, as a training step changes parameters."""

    def __init__(self):
        self.arrays = {"weight": np.zeros((300, 500), np.float32), "scalar": np.zeros((), np.float32)}

    def fill(self, value):
        for array in self.arrays.values():
            array[...] = value

    def __call__(self):
        yield from self.arrays.items()


@pytest.fixture
def state():
    return State()


@pytest.fixture
def writer(tmp_path, state):
    writer = CheckpointWriter(CheckpointFolder(tmp_path, keep=3), state)
    writer.prepare()
    return writer


@pytest.fixture
def gate(monkeypatch):
    """Writing to disk waits until the gate is opened."""
    gate = threading.Event()
    write = checkpoint_folder.save_checkpoint

    def held(*arguments):
        assert gate.wait(20)
        write(*arguments)

    monkeypatch.setattr(checkpoint_folder, "save_checkpoint", held)
    yield gate
    gate.set()


def test_a_checkpoint_holds_the_state_of_its_call(tmp_path, writer, state, gate):
    state.fill(1)
    writer.save({"global_step": 1}, 1, 1)
    assert writer.busy
    assert writer.newest is None
    state.fill(2)  # the next step, while the disk is slow
    gate.set()
    writer.wait()
    assert not writer.busy
    assert writer.newest == tmp_path / "maskrcnn-1_1.ckpt"
    arrays, meta = load_training_state(writer.newest)
    assert meta["global_step"] == 1
    assert all((arrays[name] == 1).all() and arrays[name].shape == array.shape for name, array in state())


def test_only_the_copy_holds_up_the_caller(writer, gate):
    begun = time.perf_counter()
    held_up = writer.save({}, 1, 1)
    assert held_up <= time.perf_counter() - begun < 5  # the disk takes until the gate opens
    assert writer.busy


def test_the_one_before_is_finished_first(tmp_path, writer, state, gate):
    writer.save({}, 1, 1)
    threading.Timer(0.2, gate.set).start()
    state.fill(3)
    assert writer.save({}, 1, 2) > 0.1
    writer.wait()
    assert [load_checkpoint(path)[0]["scalar"] for path in writer.folder.listed()] == [0, 3]


def test_the_best_is_not_what_a_run_resumes_from(tmp_path, writer, state):
    writer.save({}, 1, 1)
    writer.save_best({"best_score": 0.5})
    writer.wait()
    assert writer.newest.name == "maskrcnn-1_1.ckpt"
    assert writer.folder.best_meta()["best_score"] == 0.5


def test_a_failure_is_raised_once_and_leaves_the_earlier_checkpoint(tmp_path, writer, state, monkeypatch):
    writer.save({}, 1, 1)
    writer.wait()
    sync = os.fsync

    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    writer.save({}, 1, 2)
    while writer.busy:
        time.sleep(0.01)
    with pytest.raises(
        CheckpointError, match=r"maskrcnn-1_2\.ckpt: the disk is full; earlier checkpoints are untouched"
    ):
        writer.check()
    writer.check()
    assert [path.name for path in tmp_path.iterdir()] == ["maskrcnn-1_1.ckpt"]
    assert writer.newest == writer.folder.newest() == tmp_path / "maskrcnn-1_1.ckpt"
    monkeypatch.setattr(os, "fsync", sync)
    state.fill(4)
    writer.save({}, 1, 2)
    writer.wait()
    assert load_checkpoint(writer.folder.newest())[0]["scalar"] == 4


def test_a_run_that_could_not_save_once_does_not_start(tmp_path, state, monkeypatch):
    monkeypatch.setattr(checkpoint_folder, "SPARE", 2**62)
    with pytest.raises(CheckpointError, match="is full"):
        CheckpointWriter(CheckpointFolder(tmp_path, keep=1), state).prepare()


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 3 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=3m", "none", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("needs the right to mount a file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_fills_up_under_the_writer(small_disk, state, monkeypatch):
    monkeypatch.setattr(checkpoint_folder, "SPARE", -(2**40))  # as if another program took the room after the check
    writer = CheckpointWriter(CheckpointFolder(small_disk, keep=9), state)
    writer.prepare()
    with pytest.raises(CheckpointError, match="the disk is full; earlier checkpoints are untouched"):
        for step in range(1, 100):
            state.fill(step)
            writer.save({"global_step": step}, 1, step)
    newest = writer.folder.newest()
    arrays, meta = load_training_state(newest)
    assert newest == writer.newest
    assert meta["global_step"] >= 4
    assert (arrays["weight"] == meta["global_step"]).all()
    assert not list(small_disk.glob(".*"))


@pytest.mark.parametrize("kills", [60, pytest.param(1000, marks=pytest.mark.slow)])
def test_a_writer_killed_at_any_moment_leaves_a_good_newest_checkpoint(tmp_path, kills):
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, str(Path(__file__).with_name("kill_loop.py")), str(tmp_path), str(kills)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=580)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    killed, in_mid_write, after_save = map(int, done.stdout.split()[-3:])
    assert killed == kills
    assert in_mid_write >= kills // 10, "the kills missed what they are to test"
    assert after_save >= kills // 10
