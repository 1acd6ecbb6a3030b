"""Which checkpoints are kept, which is resumed from, and when a folder is refused."""

from __future__ import annotations

import shutil
from collections import namedtuple

import numpy as np
import pytest

from maskrcnn.checkpoint.folder import SPARE, CheckpointFolder
from maskrcnn.checkpoint.format import load_checkpoint
from maskrcnn.errors import CheckpointError

META = {"global_step": 7}


@pytest.fixture
def params():
    return {"weight": np.arange(5000, dtype=np.float32), "moments.weight": np.ones(5000, np.float32)}


def test_the_newest_are_kept_and_the_best_apart(tmp_path, params):
    folder = CheckpointFolder(tmp_path / "new" / "folder", keep=3)
    folder.prepare()
    assert folder.newest() is None
    assert folder.best_meta() == {}
    folder.save_best(params, {"segm_ap": 0.25})
    for epoch, step in [(1, 9), (1, 10), (2, 9), (9, 10), (10, 1)]:
        folder.save(params, META, epoch, step)
    names = [path.name for path in folder.listed()]
    assert names == ["maskrcnn-2_9.ckpt", "maskrcnn-9_10.ckpt", "maskrcnn-10_1.ckpt"]
    assert folder.newest().name == "maskrcnn-10_1.ckpt"
    assert folder.best_meta()["segm_ap"] == 0.25


def test_the_newest_valid_one_is_found(tmp_path, params, capsys):
    folder = CheckpointFolder(tmp_path, keep=5)
    first = folder.save(params, META, 1, 1)
    second = folder.save(params, META, 1, 2)
    second.write_bytes(second.read_bytes()[:-5])
    (tmp_path / "notes.ckpt").write_text("not ours")
    assert folder.newest() == first
    assert "maskrcnn-1_2.ckpt is truncated or damaged" in capsys.readouterr().out


def test_leftovers_of_killed_runs_are_removed(tmp_path, params):
    leftover = tmp_path / ".maskrcnn-1_1.ckpt.4242.tmp"
    leftover.write_bytes(b"half")
    CheckpointFolder(tmp_path, keep=1).prepare()
    assert not leftover.exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match=r"save_checkpoint_path .*file.* cannot be written"):
        CheckpointFolder(tmp_path / "file" / "folder", keep=1).prepare()


def test_a_disk_without_room_is_refused_before_anything_is_written(tmp_path, params, monkeypatch):
    folder = CheckpointFolder(tmp_path, keep=1)
    first = folder.save(params, META, 1, 1)
    usage = namedtuple("usage", "total used free")
    size = sum(array.nbytes for array in params.values())
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, size + SPARE - 1))
    with pytest.raises(
        CheckpointError, match="is full: 64 MiB are free, a checkpoint takes 0 and 64 stay free"
    ) as caught:
        folder.save(params, META, 1, 2)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == [first]
    assert folder.newest() == first
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, size + SPARE))
    assert folder.save(params, META, 1, 2).exists()


def test_a_damaged_best_is_named_and_replaced(tmp_path, params, capsys):
    folder = CheckpointFolder(tmp_path, keep=1)
    path = folder.save_best(params, {"best_score": 0.5})
    path.write_bytes(path.read_bytes()[:-1])
    assert folder.best_meta() == {}
    assert "best.ckpt is truncated or damaged" in capsys.readouterr().out
    folder.save_best(params, {"best_score": 0.4})
    assert folder.best_meta()["best_score"] == 0.4


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_cannot_be_resumed_from_are_not_saved(tmp_path, params, value):
    folder = CheckpointFolder(tmp_path, keep=1)
    first = folder.save(params, META, 1, 1)
    params["moments.weight"][77] = value
    with pytest.raises(CheckpointError, match=r"maskrcnn-1_2.ckpt is not saved: moments.weight is not finite"):
        folder.save(params, META, 1, 2)
    assert folder.newest() == first


def test_a_folder_that_has_gone_is_named(tmp_path, params):
    folder = CheckpointFolder(tmp_path / "gone", keep=1)
    with pytest.raises(CheckpointError, match=r"save_checkpoint_path .*gone cannot be used: No such file"):
        folder.save(params, META, 1, 1)


def test_the_only_good_one_is_never_deleted(tmp_path, params):
    """A damaged file of a later position takes no good file's place."""
    folder = CheckpointFolder(tmp_path, keep=1)
    (tmp_path / "maskrcnn-9_9.ckpt").write_bytes(b"damaged")
    folder.save(params, META, 1, 1)
    newest = folder.save(params, META, 1, 2)
    assert folder.newest() == newest


def test_an_old_one_that_cannot_be_deleted_stops_nothing(tmp_path, params, capsys):
    folder = CheckpointFolder(tmp_path, keep=1)
    (tmp_path / "maskrcnn-1_1.ckpt").mkdir()  # unlink refuses a folder
    newest = folder.save(params, META, 1, 2)
    assert folder.newest() == newest
    assert "cannot delete the old checkpoint" in capsys.readouterr().out


@pytest.fixture
def full(tmp_path, params):
    """A folder with four checkpoints."""
    folder = CheckpointFolder(tmp_path, keep=9)
    for epoch, step in [(1, 9), (1, 10), (2, 1), (2, 2)]:
        folder.save(params, {"name": f"{epoch}_{step}"}, epoch, step)
    return folder


def names(folder, pattern="maskrcnn-*"):
    """What the files are called, and what they were saved as."""
    found = sorted(folder.folder.glob(pattern))
    return {path.name.removeprefix("maskrcnn-"): load_checkpoint(path)[1]["name"] for path in found}


def test_what_a_run_leaves_behind_is_set_aside(full, capsys):
    here = full.folder / "maskrcnn-1_10.ckpt"
    assert full.go_on_from(here, 1, 10) == here == full.newest()
    expected = {"1_9.ckpt": "1_9", "1_10.ckpt": "1_10", "2_1.ckpt.previous": "2_1", "2_2.ckpt.previous": "2_2"}
    assert names(full) == expected
    assert "maskrcnn-2_1.ckpt is not what this run continues: set aside" in capsys.readouterr().out


def test_nothing_is_touched_when_a_run_goes_on_from_the_newest(full, capsys):
    assert full.go_on_from(full.newest(), 2, 2) == full.newest()
    assert names(full) == {"1_9.ckpt": "1_9", "1_10.ckpt": "1_10", "2_1.ckpt": "2_1", "2_2.ckpt": "2_2"}
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("position", "expected"),
    [
        ((2, 1), {"1_9.ckpt": "1_9", "1_10.ckpt": "1_10", "2_1.ckpt": "2_2", "2_1.ckpt.previous": "2_1"}),
        ((2, 4), {"1_9.ckpt": "1_9", "1_10.ckpt": "1_10", "2_1.ckpt": "2_1", "2_4.ckpt": "2_2"}),
    ],
)
def test_a_run_that_counts_otherwise_keeps_the_order_of_names(full, position, expected):
    here = full.go_on_from(full.newest(), *position)
    assert names(full) == expected
    assert here == full.newest() == full.folder / "maskrcnn-{}_{}.ckpt".format(*position)


def test_a_run_can_go_on_from_the_best_or_another_folder(full, params):
    best = full.save_best(params, {"name": "best"})
    assert full.go_on_from(best, 1, 10) == best
    assert names(full, "maskrcnn-*.ckpt") == {"1_9.ckpt": "1_9", "1_10.ckpt": "1_10"}
    elsewhere = CheckpointFolder(full.folder / "elsewhere", keep=1)
    assert elsewhere.go_on_from(full.newest(), 1, 10) == full.newest()
