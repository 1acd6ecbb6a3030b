"""Locks: who holds them, and when that process is gone."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import signal
import socket
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from maskrcnn.lock import AlreadyLocked, Holder, locked

SOURCE = Path(__file__).resolve().parents[1] / "src"
HOLD = """
import sys, time
from pathlib import Path
from maskrcnn.lock import locked
with locked(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def other(tmp_path):
    """Another process that holds the lock."""
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    command = [sys.executable, "-c", HOLD, str(tmp_path / "lock")]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "locked\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.fixture
def no_flock(monkeypatch):
    """A file system that knows no locks."""

    def unsupported(file, operation):
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    monkeypatch.setattr(fcntl, "flock", unsupported)


def left_behind(path, **changes):
    """Writes the lock of this process, with changes, as if it had ended without removing it."""
    holder = replace(Holder.this_process(), **changes)
    path.write_text(json.dumps(asdict(holder)))
    return holder


def test_a_second_process_is_told_who_holds_the_lock(tmp_path, other):
    with pytest.raises(AlreadyLocked) as caught, locked(tmp_path / "lock"):
        pytest.fail("locked twice")
    name = re.escape(socket.gethostname())
    assert re.fullmatch(rf"process {other.pid} on {name} \(since \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d\)", str(caught.value))


def test_a_killed_process_holds_nothing_and_is_named(tmp_path, other):
    other.send_signal(signal.SIGKILL)
    other.wait()
    assert (tmp_path / "lock").exists()
    with locked(tmp_path / "lock") as before:
        assert before.pid == other.pid
        assert before.is_gone()
    with locked(tmp_path / "lock") as before:
        assert before is None


def test_nothing_is_left_behind(tmp_path):
    with pytest.raises(ValueError, match="failed"), locked(tmp_path / "lock"):
        assert os.listdir(tmp_path) == ["lock"]
        raise ValueError("failed")
    assert os.listdir(tmp_path) == []


def test_without_system_locks_a_living_process_still_holds_its_own(tmp_path, no_flock, other):
    with pytest.raises(AlreadyLocked, match=f"process {other.pid} on "), locked(tmp_path / "lock"):
        pytest.fail("locked twice")
    other.kill()
    other.wait()
    with locked(tmp_path / "lock") as before:
        assert before.pid == other.pid


@pytest.mark.parametrize("changes", [{"boot": "an earlier start"}, {"started": 1.0}, {"pid": 2**22 + 1}])
def test_without_system_locks_a_process_that_is_gone_is_recognised(tmp_path, no_flock, changes):
    """It ran before the host was started anew; its number is another process's by now; its number is nobody's."""
    holder = left_behind(tmp_path / "lock", **changes)
    with locked(tmp_path / "lock") as before:
        assert before == holder


def test_without_system_locks_a_process_on_another_host_counts_as_alive(tmp_path, no_flock):
    left_behind(tmp_path / "lock", host="elsewhere", boot="of elsewhere")
    with (
        pytest.raises(AlreadyLocked, match=r"on elsewhere \(since .*\), or remove .*lock if that is gone"),
        locked(tmp_path / "lock"),
    ):
        pytest.fail("locked twice")


@pytest.mark.parametrize("content", ["", "{", '{"pid": 1}', "[]", "[" * 100_000])
def test_a_half_written_lock_that_nobody_holds(tmp_path, content):
    (tmp_path / "lock").write_text(content)
    with locked(tmp_path / "lock") as before:
        assert before is None


@pytest.mark.parametrize("changes", [{"pid": "12"}, {"pid": -3}, {"pid": 10**30}, {"started": "now"}, {"host": None}])
def test_without_system_locks_nonsense_holds_nothing(tmp_path, no_flock, changes):
    left_behind(tmp_path / "lock", **changes)
    with locked(tmp_path / "lock") as before:
        assert before is None


def test_a_lock_removed_while_it_was_opened_is_not_taken_for_the_new_one(tmp_path, monkeypatch):
    """The first open file is one that its holder removes before it can be locked."""
    path = tmp_path / "lock"
    flock, removed = fcntl.flock, []

    def remove_first(file, operation):
        if not removed:
            removed.append(path.unlink())
        flock(file, operation)

    monkeypatch.setattr(fcntl, "flock", remove_first)
    with locked(path):
        assert json.loads(path.read_text())["pid"] == os.getpid()
