"""A process alone, its device, and what it does when its peers do not come."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from maskrcnn.distributed.process_group import EXIT_LOST, ProcessGroup, local_device, set_time_limits
from maskrcnn.errors import DistributedError, PeersLost

ROOT = Path(__file__).resolve().parents[2]


def test_alone_everything_is_the_own():
    group = ProcessGroup.join(timeout=1)
    assert (group.rank, group.world_size, group.local_rank, group.alone) == (0, 1, 0, True)
    assert group.gather(b"a", "nothing") == group.all_gather(b"a", "nothing") == [b"a"]
    assert group.broadcast(b"b", "nothing") == b"b"
    group.check_same(b"c", "nothing")
    group.barrier("nothing")


def test_devices(monkeypatch):
    assert local_device(3) == 3  # as the user says, in a process of its own
    monkeypatch.setenv("MS_ROLE", "MS_WORKER")
    monkeypatch.setenv("DEVICE_ID", "1")
    assert local_device(3) == 1
    monkeypatch.setenv("MASKRCNN_DEVICES", "6,4,7")
    assert local_device(3) == 4


NAMES = ("MS_NODE_TIMEOUT", "HCCL_CONNECT_TIMEOUT", "HCCL_EXEC_TIMEOUT")


@pytest.mark.parametrize(
    ("target", "timeout", "expected"),
    [
        ("CPU", 7200, {"MS_NODE_TIMEOUT": "7260"}),
        ("GPU", 7200, {"MS_NODE_TIMEOUT": "8"}),
        ("Ascend", 7200, {"MS_NODE_TIMEOUT": "8", "HCCL_CONNECT_TIMEOUT": "7200", "HCCL_EXEC_TIMEOUT": "7260"}),
        ("Ascend", 1, {"MS_NODE_TIMEOUT": "8", "HCCL_CONNECT_TIMEOUT": "120", "HCCL_EXEC_TIMEOUT": "68"}),
        ("Ascend", 10**6, {"MS_NODE_TIMEOUT": "8", "HCCL_CONNECT_TIMEOUT": "7200", "HCCL_EXEC_TIMEOUT": "17340"}),
    ],
)
def test_time_limits_are_within_what_hccl_accepts(monkeypatch, target, timeout, expected):
    monkeypatch.setattr(os, "environ", {})
    set_time_limits(target, timeout)
    assert os.environ == expected


def test_the_users_time_limits_stay(monkeypatch):
    monkeypatch.setattr(os, "environ", dict.fromkeys(NAMES, "300"))
    set_time_limits("Ascend", 7200)
    assert set(os.environ.values()) == {"300"}


def test_waiting_ends_with_one_line():
    program = (
        "import time; from maskrcnn.distributed.process_group import ProcessGroup\n"
        "with ProcessGroup(1, 2, timeout=0.2).time_limit('rank 0 to convert the data'): time.sleep(30)"
    )
    command, environment = [sys.executable, "-c", program], {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == EXIT_LOST
    assert done.stderr.startswith("error: rank 1 has waited 0.2 s for rank 0 to convert the data: ")
    assert "wait_timeout" in done.stderr and done.stderr.count("\n") == 1


def test_lost_peers_are_one_line():
    group = ProcessGroup(1, 2, timeout=60)
    message = r"rank 1 lost its peers while waiting for x: .*\(\[y\] failed\.\)"
    with pytest.raises(PeersLost, match=message) as caught, group.time_limit("x"):
        raise RuntimeError("\n[y] failed.\n- C++ stack")
    assert "\n" not in str(caught.value)


def test_differences_between_ranks_are_named():
    class Other(ProcessGroup):
        def all_gather(self, data, reason, keep=True):
            digest = data.decode().split()[1]
            return [f"first {digest}".encode(), b"second 00"]

    with pytest.raises(
        DistributedError, match="rank 1 on second has other settings than rank 0 on first: make them the same"
    ):
        Other(0, 2).check_same(b"x", "settings")
