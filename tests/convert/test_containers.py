"""The weights among all that a training script saved, and their names without the prefixes of wrappers."""

from __future__ import annotations

import argparse
import collections
import datetime
import enum
import functools
import pathlib
import pickle
import types
from collections import OrderedDict

import numpy as np
import pytest
from tests.convert.foreign import TorchWriter

from maskrcnn.convert.containers import find_weights, unwrap
from maskrcnn.convert.files import read_file
from maskrcnn.errors import CheckpointError

ARRAYS = {"backbone.conv1.weight": np.arange(4, dtype=np.float32), "rpn.head.bias": np.ones(2, np.float32)}
AVERAGED = {name: array + 1 for name, array in ARRAYS.items()}


class Settings:
    """An object of a training script's own class."""

    def __init__(self) -> None:
        self.rate = 0.1


class Phase(enum.Enum):
    """Another one."""

    WARM = 1


def same(found, expected) -> None:
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)


def prefixed(arrays, prefix):
    return {prefix + name: array for name, array in arrays.items()}


@pytest.mark.parametrize("form", ["save_zip", "save_legacy"])
def test_a_reference_checkpoint_of_torchvision(tmp_path, monkeypatch, form) -> None:
    """Its scheduler's state has a collections.Counter; the optimizer's holds tensors of its own."""
    writer = TorchWriter(monkeypatch)
    moment = {"state": {0: {"momentum_buffer": writer.tensor(ARRAYS["rpn.head.bias"])}}, "param_groups": [{"lr": 0.02}]}
    saved = {
        "model": OrderedDict((name, writer.tensor(array)) for name, array in ARRAYS.items()),
        "optimizer": moment,
        "lr_scheduler": {"milestones": collections.Counter({16: 1, 22: 1}), "gamma": 0.1, "_step_count": 3},
        "args": argparse.Namespace(data_path=pathlib.PurePosixPath("/data"), amp=False),
        "epoch": 25,
    }
    getattr(writer, form)(tmp_path / "model_25.pth", saved)
    found = read_file(tmp_path / "model_25.pth")
    same(found.arrays, ARRAYS)
    assert not found.notes


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_whatever_is_no_tensor_is_skipped(tmp_path, protocol) -> None:
    extras = {
        "counter": collections.Counter("abca"),
        "defaults": collections.defaultdict(list, {"a": [1]}),
        "namespace": types.SimpleNamespace(a=1),
        "own class": Settings(),
        "enum": Phase.WARM,
        "partial": functools.partial(np.add, 3),
        "date": datetime.datetime(2024, 5, 6),
        "path": pathlib.PurePosixPath("/a/b"),
        "set": {1, 2},
        "complex": 3 + 4j,
        "text array": np.array(["cat", "dog"]),
        "object array": np.array([{"a": 1}, None], object),
        "random state": np.random.RandomState(3).get_state(),
        "generator": np.random.default_rng(3),
        "deque": collections.deque([1, 2]),
    }
    saved = {"state_dict": ARRAYS, "extras": extras, **extras}
    (tmp_path / "w.pkl").write_bytes(pickle.dumps(saved, protocol=protocol))
    same(read_file(tmp_path / "w.pkl").arrays, ARRAYS)
    inside = {**ARRAYS, "epoch": 3, **{name: value for name, value in extras.items() if name != "random state"}}
    (tmp_path / "w.pkl").write_bytes(pickle.dumps(inside, protocol=protocol))
    same(read_file(tmp_path / "w.pkl").arrays, ARRAYS)


def test_objects_that_refer_to_themselves(tmp_path) -> None:
    circle: dict = {"model": dict(ARRAYS)}
    circle["all"] = circle
    (tmp_path / "w.pkl").write_bytes(pickle.dumps(circle))
    same(read_file(tmp_path / "w.pkl").arrays, ARRAYS)


@pytest.mark.parametrize(
    "names",
    [
        lambda name: f"module.{name}",  # DataParallel, DistributedDataParallel
        lambda name: f"_orig_mod.{name}",  # torch.compile
        lambda name: f"module._orig_mod.{name}",
        lambda name: f"_orig_mod.module.{name}",
        lambda name: f"model.{name}",  # Lightning
        lambda name: f"model._orig_mod.{name}",
        lambda name: f"net.model.{name}",
        lambda name: name.replace("backbone.", "backbone._orig_mod."),  # one part compiled
        lambda name: name.replace("rpn.", "rpn.module."),
        lambda name: f"network.{name}",  # a train cell of MindSpore
        lambda name: name,
    ],
)
def test_prefixes_of_wrappers_come_off(names) -> None:
    found, notes = unwrap({names(name): array for name, array in ARRAYS.items()}, "it")
    same(found, ARRAYS)
    assert not notes


def test_counters_of_averaging_are_no_weights() -> None:
    """torch.optim.swa_utils.AveragedModel."""
    found, notes = unwrap({"n_averaged": np.array(3), **prefixed(ARRAYS, "module.")}, "it")
    same(found, ARRAYS)
    assert not notes


def test_lightning_with_averages_and_a_loss_beside_the_network() -> None:
    beside = {**prefixed(ARRAYS, "model."), "loss.weight": np.ones(3, np.float32)}
    found, notes = unwrap(beside, "it")
    same(found, ARRAYS)
    assert notes == ["1 tensors beside model.* are left out"]
    found, notes = unwrap({**prefixed(ARRAYS, "model."), **prefixed(AVERAGED, "ema_model.module.")}, "it")
    same(found, AVERAGED)
    assert notes == ["the averaged weights ema_model.* are taken, and not the 2 other tensors beside them"]


@pytest.mark.parametrize("key", ["model_ema", "ema", "state_dict_ema", "swa_state_dict", "averaged_model"])
def test_of_weights_and_their_averages_the_choice_is_told(key) -> None:
    saved = {"model": ARRAYS, key: prefixed(AVERAGED, "module."), "epoch": 1}
    found, notes = find_weights(saved, "it")
    same(found, AVERAGED)
    assert notes == [f"the averaged weights {key} are taken and not model; --entry model takes these"]
    same(find_weights(saved, "it", entry="model").arrays, ARRAYS)
    with pytest.raises(CheckpointError, match=f"has no weights called teacher: it has model, {key}"):
        find_weights(saved, "it", entry="teacher")


def test_nested_containers() -> None:
    same(find_weights({"checkpoint": {"model": {"state_dict": ARRAYS}}}, "it").arrays, ARRAYS)
    same(find_weights({"generator": ARRAYS, "iteration": 5}, "it").arrays, ARRAYS)


def test_what_cannot_be_chosen_or_is_none() -> None:
    with pytest.raises(CheckpointError, match="several sets of weights, first, second: choose one with --entry NAME"):
        find_weights({"first": ARRAYS, "second": AVERAGED}, "it")
    for nothing in ({}, {"epoch": 3}, {"optimizer": {"state": ARRAYS}}, {"model": Settings()}):
        with pytest.raises(CheckpointError, match=r"holds no tensors by name: save the network's state_dict\(\)"):
            find_weights(nothing, "it")
    with pytest.raises(CheckpointError, match="two tensors of the same name"):
        unwrap({"module.a": np.zeros(1), "a": np.zeros(1)}, "it")


def test_a_whole_model_pickled_is_refused(tmp_path) -> None:
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(Settings()))
    with pytest.raises(CheckpointError, match=r"refused: it holds a skipped object.*state_dict\(\)"):
        read_file(tmp_path / "model.pkl")
