"""The folders of a run: what is refused before the work begins, and that two trainings do not share one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from maskrcnn.config import Config
from maskrcnn.errors import CheckpointError, ConfigError, MaskRCNNError, TrainingError
from maskrcnn.training.folders import LOCK, run_folders

SOURCE = Path(__file__).resolve().parents[2] / "src"
HOLD = """
import sys, time
from pathlib import Path
from maskrcnn.lock import locked
with locked(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def cfg(tmp_path):
    return Config(save_checkpoint_path=str(tmp_path / "checkpoint"), log_dir=str(tmp_path / "log"))


@pytest.fixture
def training(tmp_path):
    """Starts another training, as far as its lock goes, in a folder."""
    started = []

    def start(folder):
        folder.mkdir(exist_ok=True)
        environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
        command = [sys.executable, "-c", HOLD, str(folder / LOCK)]
        started.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True))
        assert started[-1].stdout.readline() == "locked\n"
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize(("key", "folder"), [("save_checkpoint_path", "checkpoint"), ("log_dir", "log")])
def test_a_folder_in_use_is_refused_and_its_process_named(cfg, tmp_path, training, key, folder):
    process = training(tmp_path / folder)
    pattern = rf"{key} .*/{folder} is in use by another training, process {process.pid} on .* choose another {key}"
    with pytest.raises(TrainingError, match=pattern), run_folders(cfg):
        pytest.fail("two trainings in one folder")
    process.kill()
    process.wait()
    with run_folders(cfg):
        assert (tmp_path / folder / LOCK).exists()
    assert not (tmp_path / folder / LOCK).exists()


def test_the_lock_of_a_killed_training_is_stale(cfg, tmp_path, training, capsys):
    process = training(tmp_path / "checkpoint")
    process.kill()
    process.wait()
    with run_folders(cfg):
        pass
    assert f"the lock of process {process.pid} on " in capsys.readouterr().out
    with run_folders(cfg):
        pass
    assert capsys.readouterr().out == ""


def test_a_run_that_saves_nothing_locks_its_logs_only(cfg, tmp_path, training):
    training(tmp_path / "checkpoint")
    with run_folders(cfg.replace(save_checkpoint=False)) as checkpoints:
        assert checkpoints is None


def test_one_folder_for_checkpoints_and_logs(cfg, tmp_path):
    with run_folders(cfg.replace(log_dir=cfg.save_checkpoint_path)) as checkpoints:
        assert checkpoints.folder == tmp_path / "checkpoint"


def test_other_ranks_lock_nothing(cfg, tmp_path):
    with run_folders(cfg, rank=0), run_folders(cfg, rank=1) as checkpoints:
        assert checkpoints is None


def test_checkpoints_of_an_earlier_run_are_not_mixed_with_new_ones(cfg, tmp_path, training):
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "maskrcnn-1_2.ckpt").touch()
    with pytest.raises(CheckpointError, match=r"earlier run \(newest maskrcnn-1_2.ckpt\)"), run_folders(cfg):
        pytest.fail("mixed")
    with run_folders(cfg.replace(resume="auto")):
        pass
    training(tmp_path / "checkpoint")  # while it runs, that is what counts
    with pytest.raises(TrainingError, match="is in use by another training"), run_folders(cfg):
        pytest.fail("mixed")


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"pre_trained": "/none.ckpt"}, CheckpointError, r"pre_trained /none\.ckpt does not exist"),
        ({"resume": "/none.ckpt"}, CheckpointError, r"resume /none\.ckpt does not exist"),
        ({"log_dir": "/dev/null/log"}, TrainingError, "log_dir /dev/null/log cannot be made: Not a directory"),
        (
            {"save_checkpoint_path": "/dev/null/c"},
            CheckpointError,
            "save_checkpoint_path /dev/null/c cannot be written",
        ),
        ({"eval_interval_epochs": 1, "save_checkpoint": False}, ConfigError, "set save_checkpoint to true"),
        (
            {"eval_interval_epochs": 1, "eval_output": "/dev/null/e"},
            TrainingError,
            "eval_output /dev/null/e cannot be made",
        ),
    ],
)
def test_what_could_only_fail_later_is_refused(cfg, changes, error, message):
    assert issubclass(error, MaskRCNNError)
    with pytest.raises(error, match=message), run_folders(cfg.replace(**changes)):
        pytest.fail("not refused")
