"""Checkpoints: bit-exact, readable by MindSpore, never half written, and clear about what is wrong with a
file.
"""

from __future__ import annotations

import errno
import os

import mindspore as ms
import numpy as np
import pytest

from maskrcnn.checkpoint import format as checkpoint
from maskrcnn.checkpoint.format import (
    META_ENTRY,
    load_checkpoint,
    load_meta,
    load_training_state,
    save_checkpoint,
)
from maskrcnn.errors import CheckpointError

META = {"global_step": 7, "classes": ["person", "Straße"], "config": {"base_lr": 0.02}, "nothing": None}


@pytest.fixture
def params():
    rng = np.random.default_rng(1)
    odd = np.array([np.nan, -0.0, np.inf, 1e-45, 3.4e38], np.float32)
    return {
        "backbone.conv1.weight": rng.normal(size=(4, 3, 7, 7)).astype(np.float32),
        "odd": odd,
        "scalar": np.array(2.5, np.float32),
        "counts": np.arange(5, dtype=np.int32),
        "half": rng.normal(size=(2, 3)).astype(np.float16),
        "moment1.scalar": np.array(0.5, np.float32),
        "moments.backbone.conv1.weight": rng.normal(size=(4, 3, 7, 7)).astype(np.float32),
    }


@pytest.fixture
def saved(tmp_path, params):
    path = tmp_path / "maskrcnn-1_7.ckpt"
    save_checkpoint(path, params.items(), META)
    return path


def same_bits(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def test_round_trip_is_bit_exact(saved, params):
    arrays, meta = load_training_state(saved)
    assert list(arrays) == list(params)
    assert all(same_bits(arrays[name], params[name]) for name in params)
    assert meta == {"format": checkpoint.FORMAT, **META} == load_meta(saved)
    assert arrays["odd"].flags.writeable


def test_the_network_alone_comes_without_moments(saved, params):
    arrays, _ = load_checkpoint(saved)
    assert arrays.keys() == {n for n in params if not n.startswith("moment")}


def test_mindspore_reads_ours_and_checks_the_crc(saved, params):
    loaded = ms.load_checkpoint(str(saved), crc_check=True)
    assert loaded.keys() == {*params, META_ENTRY}
    for name in params:
        assert same_bits(loaded[name].asnumpy(), params[name])
    damaged = bytearray(saved.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    saved.write_bytes(damaged)
    with pytest.raises(ValueError, match="Failed to read"):
        ms.load_checkpoint(str(saved), crc_check=True)


@pytest.mark.parametrize("crc", [True, False])
def test_we_read_mindspores(tmp_path, params, crc, monkeypatch):
    monkeypatch.setattr(ms.train.serialization, "SLICE_SIZE", 1)  # KiB: splits the convolution over several entries
    path = str(tmp_path / "zoo.ckpt")
    named = [{"name": n, "data": ms.Tensor(a)} for n, a in params.items()]
    ms.save_checkpoint(named, path, crc_check=crc, append_dict={"epoch_num": 3, "note": "text"})
    arrays, meta = load_training_state(path)
    assert meta == {}
    assert all(same_bits(arrays[name], params[name]) for name in params)
    assert int(arrays["epoch_num"]) == 3


def test_every_truncation_is_noticed(saved):
    whole = saved.read_bytes()
    for length in [*range(0, len(whole), 97), *range(len(whole) - 40, len(whole))]:
        saved.write_bytes(whole[:length])
        with pytest.raises(CheckpointError) as caught:
            load_training_state(saved)
        assert str(saved) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_every_flipped_bit_is_noticed(saved):
    whole = saved.read_bytes()
    rng = np.random.default_rng(0)
    for position in [*range(60), *rng.integers(0, len(whole), 300), *range(len(whole) - 17, len(whole))]:
        damaged = bytearray(whole)
        damaged[position] ^= 1 << int(rng.integers(8))
        saved.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"damaged|truncated|no MindSpore|format"):
            load_training_state(saved)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04 a torch file", "is no MindSpore checkpoint"),
        (b"", "is empty"),
        (b"\x0a\xff\xff\xff\xff\x0fxx", "is no MindSpore checkpoint"),
    ],
)
def test_foreign_files_are_named(tmp_path, content, message):
    path = tmp_path / "model.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(path)


def test_missing_files_and_folders_are_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"none\.ckpt does not exist"):
        load_checkpoint(tmp_path / "none.ckpt")
    with pytest.raises(CheckpointError, match="cannot be read: Is a directory"):
        load_checkpoint(tmp_path)


def test_a_newer_format_is_refused(tmp_path, params, monkeypatch):
    monkeypatch.setattr(checkpoint, "FORMAT", 99)
    save_checkpoint(tmp_path / "a.ckpt", params.items(), {})
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match="format 99"):
        load_meta(tmp_path / "a.ckpt")


def test_a_full_disk_leaves_the_earlier_file(saved, params, monkeypatch):
    before = saved.read_bytes()

    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match="the disk is full; earlier checkpoints are untouched"):
        save_checkpoint(saved, params.items(), META)
    assert saved.read_bytes() == before
    assert os.listdir(saved.parent) == [saved.name]


def test_a_crash_while_saving_leaves_the_earlier_file(saved, params):
    before = saved.read_bytes()

    def dies():
        yield "a", params["odd"]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(saved, dies(), META)
    assert saved.read_bytes() == before
    assert os.listdir(saved.parent) == [saved.name]
