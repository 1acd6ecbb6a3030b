"""When a run saves: in time, never holding up a step for the disk, and before an error ends it."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from maskrcnn.checkpoint import folder as checkpoint_folder
from maskrcnn.checkpoint.folder import CheckpointFolder
from maskrcnn.checkpoint.format import load_checkpoint, load_meta
from maskrcnn.checkpoint.saver import Saver
from maskrcnn.errors import CheckpointError, DataError, DistributedError, TrainingError


class Run:
    """A loop whose state is the number of its step."""

    def __init__(self, folder, every=0):
        self.weight, self.done = np.zeros(1000, np.float32), 0
        self.folder = CheckpointFolder(folder, keep=9)
        self.saver = Saver(self.folder, lambda: [("weight", self.weight)], self.meta, every)

    def meta(self):
        epoch, step = divmod(self.done - 1, 5)
        return {"epoch": epoch + 1, "step": step + 1, "global_step": self.done}

    def step(self):
        self.done += 1
        self.weight[:] = self.done
        self.saver.after_step(self.done)

    def kept(self):
        """Global steps on disk; the weights are those of the step that the metadata names."""
        steps = []
        for path in self.folder.listed():
            arrays, meta = load_checkpoint(path)
            assert (arrays["weight"] == meta["global_step"]).all()
            steps.append(meta["global_step"])
        return steps


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


def test_saves_every_so_many_steps_and_at_the_end(tmp_path):
    run = Run(tmp_path, every=3)
    with run.saver.running():
        for _ in range(10):
            run.step()
            run.saver.writer.wait()  # a disk fast enough
    assert run.kept() == [3, 6, 9, 10]
    assert run.saver.newest == tmp_path / "maskrcnn-2_5.ckpt"


def test_a_slow_disk_puts_a_save_off_and_holds_up_no_step(tmp_path, gate, capsys):
    run = Run(tmp_path, every=2)
    with run.saver.running():
        for _ in range(7):
            run.step()  # the saves of steps 4 and 6 fall due while that of step 2 is held
        gate.set()
        run.saver.writer._thread.join()
        run.step()
        run.saver.writer._thread.join()
        run.step()  # what was put off has been saved: nothing is due
    assert run.kept() == [2, 8, 9]
    assert capsys.readouterr().out.count("a checkpoint comes late") == 1


def test_a_failed_save_ends_the_run_at_the_next_step(tmp_path, monkeypatch):
    run = Run(tmp_path, every=1)
    with pytest.raises(CheckpointError, match="is full"), run.saver.running():
        run.step()
        run.saver.writer.wait()
        monkeypatch.setattr(checkpoint_folder, "SPARE", 2**62)
        run.step()
        run.saver.writer._thread.join()
        run.step()
    assert run.done == 3
    assert run.kept() == [1]


def test_an_error_of_the_data_or_the_log_costs_no_step(tmp_path, capsys):
    for number, error in enumerate((DataError("the record is gone"), TrainingError("the log is full"))):
        run = Run(tmp_path / str(number), every=100)
        run.folder.prepare()
        with pytest.raises(type(error)) as caught, run.saver.running():
            for _ in range(4):
                run.step()
            raise error
        assert caught.value is error
        assert run.kept() == [4]
        assert capsys.readouterr().out == f"continue with --resume {tmp_path / str(number)}/maskrcnn-1_4.ckpt\n"


def test_unsound_weights_are_not_saved(tmp_path, capsys):
    run = Run(tmp_path, every=2)
    with pytest.raises(TrainingError), run.saver.running():
        for _ in range(3):
            run.step()
        run.saver.sound = False
        raise TrainingError("not finite")
    assert run.kept() == [2]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("error", [DistributedError("a peer is lost"), RuntimeError("a defect")])
def test_another_error_waits_for_what_is_being_written_only(tmp_path, gate, error):
    run = Run(tmp_path, every=2)
    with pytest.raises(type(error)), run.saver.running():
        for _ in range(3):
            run.step()
        threading.Timer(0.1, gate.set).start()
        raise error
    assert run.kept() == [2]


def test_the_error_that_ends_a_run_is_not_hidden_by_a_full_disk(tmp_path, monkeypatch, capsys):
    run = Run(tmp_path)
    with pytest.raises(DataError, match="the record is gone"), run.saver.running():
        run.step()
        monkeypatch.setattr(checkpoint_folder, "SPARE", 2**62)
        raise DataError("the record is gone")
    assert run.kept() == []
    output = capsys.readouterr().out
    assert output.startswith("error: the disk of save_checkpoint_path")
    assert "continue with" not in output


def test_a_second_signal_does_not_wait_for_the_disk(tmp_path, gate):
    run = Run(tmp_path, every=1)
    with pytest.raises(SystemExit), run.saver.running():
        run.step()
        raise SystemExit(143)
    assert run.saver.writer.busy
    assert run.kept() == []


def test_a_resumed_run_saves_nothing_anew_and_leaves_later_checkpoints_behind(tmp_path):
    first = Run(tmp_path, every=1)
    with first.saver.running():
        for _ in range(3):
            first.step()
            first.saver.writer.wait()
    before = (tmp_path / "maskrcnn-1_2.ckpt").stat().st_mtime_ns
    run = Run(tmp_path)
    run.done = 2
    run.saver.resumed(tmp_path / "maskrcnn-1_2.ckpt", 2)
    with run.saver.running():
        assert run.saver.newest == tmp_path / "maskrcnn-1_2.ckpt"
    assert run.kept() == [1, 2]
    assert (tmp_path / "maskrcnn-1_2.ckpt").stat().st_mtime_ns == before
    assert load_meta(tmp_path / "maskrcnn-1_3.ckpt.previous")["global_step"] == 3


def test_the_best_keeps_its_figures(tmp_path):
    run = Run(tmp_path)
    with run.saver.running():
        run.step()
        run.saver.save_now()
        run.saver.save_best({"best_score": 0.25})
        meta = run.folder.best_meta()
        assert (meta["best_score"], meta["global_step"]) == (0.25, 1)
    assert run.kept() == [1]


def test_without_a_folder_nothing_happens():
    saver = Saver(None, lambda: [], dict, every=1)
    with saver.running():
        saver.after_step(1)
    assert saver.newest is None
