"""Log files: the original line format, and files that read as if a resumed run had never been interrupted."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from maskrcnn.errors import TrainingError
from maskrcnn.training.logs import Progress, TrainLog, duration, loss_line, named_losses

# The first line of the original documents' training log.
ORIGINAL = (
    "epoch:1 step:7393 ,rpn_loss:0.10626, rcnn_loss:0.81592, rpn_cls_loss:0.05862, rpn_reg_loss:0.04761, "
    "rcnn_cls_loss:0.32642, rcnn_reg_loss:0.15503, rcnn_mask_loss:0.33447, total_loss:0.92218"
)


@pytest.fixture(autouse=True)
def no_tensorboard(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)


def write(log, steps):
    for step in steps:
        losses = named_losses(np.full(5, step / 10))
        log.losses(1 + (step - 1) // 4, 1 + (step - 1) % 4, step, losses, {"lr": 0.1})
    log.close()


def test_lines_have_the_original_format():
    names = [part.split(":")[0] for part in ORIGINAL.split(" ,")[1].split(", ")]
    values = [float(part.split(":")[1]) for part in ORIGINAL.split(" ,")[1].split(", ")]
    assert loss_line(1, 7393, dict(zip(names, values))) == ORIGINAL
    losses = named_losses(np.float32([0.05862, 0.04761, 0.32642, 0.15503, 0.33447]))
    assert list(losses) == names
    assert list(losses.values()) == pytest.approx(values, abs=5e-5)  # theirs were float16 sums


def test_a_resumed_log_equals_an_uninterrupted_one(tmp_path):
    write(TrainLog(tmp_path / "a"), range(1, 11))
    write(TrainLog(tmp_path / "b"), range(1, 9))
    with open(tmp_path / "b" / "loss_0.log", "a") as file:
        file.write("epoch:3 step:1 ,rpn_lo")  # killed in the middle of a line
    with open(tmp_path / "b" / "metrics.jsonl", "a") as file:
        file.write('{"epoch": 3, "st')
    write(TrainLog(tmp_path / "b", resumed_at=(2, 2, 6)), range(7, 11))
    for name in ("loss_0.log", "metrics.jsonl"):
        assert (tmp_path / "a" / name).read_text() == (tmp_path / "b" / name).read_text()
    records = [json.loads(line) for line in (tmp_path / "b" / "metrics.jsonl").read_text().splitlines()]
    assert [record["global_step"] for record in records] == list(range(1, 11))
    assert records[0]["total_loss"] == pytest.approx(0.5)


def test_a_new_run_sets_the_old_files_aside(tmp_path):
    for last in (3, 4, 5):
        write(TrainLog(tmp_path), range(1, last + 1))
    assert len((tmp_path / "loss_0.log").read_text().splitlines()) == 5
    assert len((tmp_path / "loss_0.log.previous").read_text().splitlines()) == 4


def test_other_ranks_write_their_loss_log_only(tmp_path):
    write(TrainLog(tmp_path, rank=3), [1])
    assert [path.name for path in tmp_path.iterdir()] == ["loss_3.log"]


def test_tensorboard_events_are_written_where_it_is_installed(tmp_path, monkeypatch):
    seen = []

    class SummaryWriter:
        def __init__(self, folder, purge_step=None):
            seen.append((folder, purge_step))

        def add_scalar(self, name, value, step):
            seen.append((name, value, step))

        def close(self):
            seen.append("closed")

    monkeypatch.setitem(sys.modules, "tensorboardX", types.SimpleNamespace(SummaryWriter=SummaryWriter))
    write(TrainLog(tmp_path, resumed_at=(1, 1, 1)), [2])
    assert seen[0] == (str(tmp_path / "tensorboard"), 2)
    assert ("rpn_loss", 0.4, 2) in seen
    assert seen[-1] == "closed"


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match=r"log_dir .*file.* cannot be written"):
        TrainLog(tmp_path / "file" / "logs")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("name", ["_loss", "_metrics"])
def test_a_full_disk_is_named_once(tmp_path, name):
    log = TrainLog(tmp_path)
    with open("/dev/full", "a", buffering=1) as full:
        setattr(log, name, full)
        with pytest.raises(TrainingError, match="cannot write /dev/full: No space left on device"):
            write(log, [1])
        log.close()  # what could not be written stays in the buffer: closing must not fail with it again


def test_a_run_knows_whether_its_checkpoint_has_been_evaluated(tmp_path):
    log = TrainLog(tmp_path)
    log.metrics({"global_step": 4, "bbox_ap": 0.5, "segm_ap": 0.4})
    write(log, [5, 6, 7, 8])
    assert not TrainLog(tmp_path, 0, (2, 4, 8)).resumed_evaluation
    assert TrainLog(tmp_path, 0, (1, 4, 4)).resumed_evaluation
    assert not TrainLog(tmp_path / "another", 0, (1, 4, 4)).resumed_evaluation


def test_speed_leaves_out_the_steps_that_compile():
    progress = Progress()
    progress.add((1, 2), 0.1, 60.0)
    assert progress.figures(images=2)["step_seconds"] == 60.0
    for canvas, total in [((1, 2), 2.0), ((2, 1), 70.0), ((1, 2), 2.0), ((2, 1), 2.0)]:
        progress.add(canvas, 0.1, total)
    figures = progress.figures(images=2)
    assert (figures["step_seconds"], figures["images_per_second"], figures["data_wait"]) == (2.0, 1.0, 0.05)
    assert 0.01 < figures["memory_gib"] < 100


def test_durations_read_as_hours_minutes_seconds():
    assert [duration(s) for s in (0, 59.6, 3600, 90061)] == ["0:00:00", "0:01:00", "1:00:00", "25:01:01"]
