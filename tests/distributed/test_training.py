"""Two and four processes train as one does, and tell each other what they should."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(__file__).with_name("program.py")
STEPS = 3


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def run(folder: Path, *launcher: str, program: Path = PROGRAM) -> None:
    folder.mkdir()
    path = os.pathsep.join((str(ROOT / "src"), str(ROOT)))
    done = subprocess.run(
        [sys.executable, *launcher, str(program), str(folder)],
        env={**os.environ, "PYTHONPATH": path, "GLOG_v": "3"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """What one process does with the whole batch."""
    folder = tmp_path_factory.mktemp("alone") / "out"
    run(folder)
    return folder


@pytest.fixture(scope="module", params=[2, 4])
def job(request, tmp_path_factory):
    """The folder of a job, and how many processes it had."""
    folder = tmp_path_factory.mktemp("job") / "out"
    options = ["--workers", str(request.param), "--master_port", str(free_port()), "--log_dir", str(folder / "logs")]
    run(folder, "-m", "maskrcnn.launch", *options)
    return folder, request.param


def test_weights_are_those_of_one_process(job, alone):
    """The losses too; the same on all ranks bit for bit, although the images have very unequal numbers of objects."""
    folder, world = job
    expected = np.load(alone / "rank0.npz")
    ranks = [np.load(folder / f"rank{rank}.npz") for rank in range(world)]
    for name, values in expected.items():
        for rank in ranks:
            assert rank[name].tobytes() == ranks[0][name].tobytes(), name
        assert np.abs(values - ranks[0][name]).max() <= 1e-5 * np.abs(values).max(), name
    losses = [losses_of(path) for path in (alone / "loss_0.log", *(folder / f"loss_{k}.log" for k in range(world)))]
    for found in losses[1:]:
        np.testing.assert_allclose(found, losses[0], atol=2e-5)
    assert len({tuple(map(tuple, found)) for found in losses[1:]}) == 1


def losses_of(log: Path) -> list[list[float]]:
    lines = log.read_text().splitlines()
    assert len(lines) == STEPS
    return [[float(part.split(":")[1]) for part in line.split(" ,")[1].split(", ")] for line in lines]


def test_training_moves_the_weights(alone):
    """Else any two runs would agree."""
    state = np.load(alone / "rank0.npz")
    moments = [values for name, values in state.items() if name.startswith("moments.")]
    assert all(np.abs(values).max() > 0 for values in moments)


def test_a_signal_to_one_rank_stops_all_after_the_same_step(job):
    folder, world = job
    told = [json.loads((folder / f"rank{rank}.json").read_text()) for rank in range(world)]
    assert [one["steps"] for one in told] == [STEPS] * world
    assert [one["exit code"] for one in told] == [143] * world


def test_only_rank_0_writes_checkpoints(job):
    folder, _ = job
    assert [path.name for path in (folder / "checkpoint").iterdir()] == [f"maskrcnn-1_{STEPS}.ckpt"]
    assert (folder / "metrics.jsonl").is_file()


def test_messages_arrive_unchanged(job):
    folder, world = job
    told = [json.loads((folder / f"rank{rank}.json").read_text()) for rank in range(world)]
    sent = [bytes((7 * i + rank) % 256 for i in range(1001 * rank)).hex() for rank in range(world)]
    assert [one["all"] for one in told] == [sent] * world
    assert [one["on rank 0"] for one in told] == [sent] + [None] * (world - 1)
    assert {one["from rank 0"] for one in told} == {"text of 0"}
    assert {one["parameter"] for one in told} == {np.float32([0, -0.0, np.nan, 1e-42]).tobytes().hex()}
    assert [one["local_rank"] for one in told] == list(range(world))
