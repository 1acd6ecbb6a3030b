"""train.py on two processes as a user starts it: killed, restarted, continued by one process, and what it says."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
from tests.distributed.test_training import free_port
from tests.e2e.small_run import ROOT, STEPS, arguments, make_data, start

from maskrcnn.checkpoint.format import load_training_state

pytestmark = pytest.mark.slow
LAST = "checkpoint/maskrcnn-3_2.ckpt"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("coco")
    make_data(root)
    return root


def start_job(data, folder, *launcher, **settings):
    """Two processes that take one image each."""
    folder.mkdir(exist_ok=True)
    given = arguments(data, folder, **{"batch_size": 1, "device_target": "CPU", **settings})
    script = ["bash", str(ROOT / "scripts" / "run_distribute_train_gpu.sh"), "--workers", "2", "--output", str(folder)]
    return subprocess.Popen(
        [*script, "--master_port", str(free_port()), *launcher, *given],
        env={**os.environ, "MASKRCNN_PYTHON": sys.executable},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process):
    output, _ = process.communicate(timeout=900)
    return process.returncode, output


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """An uninterrupted run of two processes, evaluated at its end."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    code, output = finish(start_job(data, folder, eval_interval_epochs=3, val_data_type="train2017"))
    assert code == 0, output
    return folder, output


def assert_close(one, other):
    (arrays, _), (others, _) = load_training_state(one), load_training_state(other)
    assert arrays.keys() == others.keys()
    for name, array in arrays.items():
        assert np.abs(array - others[name]).max() <= 1e-4 * np.abs(array).max() + 1e-12, name


def test_it_learns_what_one_process_learns(data, whole, tmp_path):
    folder, output = whole
    assert len((folder / "log" / "loss_1.log").read_text().splitlines()) == STEPS
    assert re.search(r"^epoch 3: bbox AP \S+, segm AP", output, re.M)
    code, output = finish(start(data, tmp_path, batch_size=2))
    assert code == 0, output
    assert_close(tmp_path / LAST, folder / LAST)


def test_a_killed_rank_is_named_and_the_run_goes_on_by_itself(data, whole, tmp_path):
    folder = tmp_path / "run"
    process = start_job(data, folder, "--max_restarts", "1", eval_interval_epochs=3, val_data_type="train2017")
    output, killed = [], None
    for line in process.stdout:
        output.append(line)
        if killed is None and line.startswith("epoch 2/3 step 1/2"):
            rank_1 = [p for p in psutil.Process(process.pid).children(recursive=True) if is_rank(p, "1")]
            rank_1[0].kill()
            killed = time.monotonic()
        if line.startswith("error: rank 1 on ") and killed:
            assert time.monotonic() - killed < 15
            assert "was killed by SIGKILL (log: " in line
    assert process.wait() == 0, "".join(output)
    assert sum(line.startswith("error: ") for line in output) == 1
    assert any(line.startswith("resumed from") for line in output)
    (arrays, _), (others, _) = load_training_state(folder / LAST), load_training_state(whole[0] / LAST)
    for name, array in arrays.items():
        assert array.tobytes() == others[name].tobytes(), name


def is_rank(process, rank):
    try:
        variables = process.environ()
    except psutil.Error:
        return False
    return variables.get("MS_ROLE") == "MS_WORKER" and variables.get("RANK_ID") == rank


def test_one_process_continues_what_two_began(data, whole, tmp_path):
    code, output = finish(start_job(data, tmp_path / "run", max_steps=3))
    assert code == 0, output
    code, output = finish(start(data, tmp_path / "run", batch_size=2, resume="auto"))
    assert code == 0, output
    assert "resumed from" in output and "images a step" not in output
    assert_close(tmp_path / "run" / LAST, whole[0] / LAST)


def test_signals_save(data, tmp_path):
    process = start_job(data, tmp_path / "run", save_checkpoint_steps=100)
    for line in process.stdout:
        if line.startswith("epoch 1/3 step 1/2"):
            process.send_signal(signal.SIGTERM)
    assert process.wait() == 128 + signal.SIGTERM
    assert len(list((tmp_path / "run" / "checkpoint").glob("*.ckpt"))) == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"base_lr": 1e30, "warmup_step": 0},
            r"not finite at epoch \d step \d: .*; images \d+, \d+; .*newest checkpoint",
        ),
        ({"save_checkpoint_path": "/dev/null/x"}, "save_checkpoint_path /dev/null/x cannot be written"),
        ({"coco_root": "/nowhere"}, "/nowhere"),
    ],
)
def test_errors_are_one_line(data, tmp_path, settings, message):
    code, output = finish(start_job(data, tmp_path / "run", "--max_restarts", "2", **settings))
    errors = [line for line in output.splitlines() if line.startswith("error: rank ")]
    assert code == 2 and len(errors) == 1 and "restart" not in output, output
    assert re.search(rf"^error: rank \d on \S+ ended with exit code 2: .*{message}.* \(log: \S+\)$", errors[0]), output
