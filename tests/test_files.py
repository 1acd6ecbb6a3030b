"""Files that are whole or not there: after an error, a kill, a full disk."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from maskrcnn.errors import MaskRCNNError
from maskrcnn.files import sha256, whole_file, whole_folder, write_json

SOURCE = Path(__file__).resolve().parents[1] / "src"


def test_a_file_appears_when_it_is_complete(tmp_path):
    path = tmp_path / "a.json"
    with whole_file(path, "w") as file:
        file.write("Gewässer\n")
        assert not path.exists()
    assert path.read_bytes() == "Gewässer\n".encode()
    with whole_file(path) as file:
        file.write(b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"
    assert os.listdir(tmp_path) == ["a.json"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_error_leaves_the_earlier_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "a.json"
    path.write_text("before")
    with pytest.raises(error), whole_file(path, "w") as file:
        file.write("half")
        file.flush()
        raise error
    assert path.read_text() == "before"
    assert os.listdir(tmp_path) == ["a.json"]


def test_a_full_disk_leaves_the_earlier_file(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    path.write_text("before")

    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"), whole_file(path, "w") as file:
        file.write("after")
    assert path.read_text() == "before"
    assert os.listdir(tmp_path) == ["a.json"]


def test_the_content_is_on_the_disk_before_the_name_and_the_name_before_the_return(tmp_path, monkeypatch):
    calls = []
    sync, replace = os.fsync, os.replace
    monkeypatch.setattr(
        os, "fsync", lambda handle: calls.append(os.readlink(f"/proc/self/fd/{handle}")) or sync(handle)
    )
    monkeypatch.setattr(os, "replace", lambda one, other: calls.append("rename") or replace(one, other))
    with whole_file(tmp_path / "a") as file:
        file.write(b"x")
    assert calls == [str(tmp_path / f".a.{os.getpid()}.tmp"), "rename", str(tmp_path)]


def test_a_kill_leaves_the_earlier_file(tmp_path):
    path = tmp_path / "a"
    path.write_text("before")
    program = (
        "import os, signal, sys; from pathlib import Path; from maskrcnn.files import whole_file\n"
        "with whole_file(Path(sys.argv[1]), 'w') as file:\n"
        "    file.write('x' * 10**6); os.kill(os.getpid(), signal.SIGKILL)"
    )
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    ended = subprocess.run([sys.executable, "-c", program, str(path)], env=environment, check=False, timeout=60)
    assert ended.returncode == -signal.SIGKILL
    assert path.read_text() == "before"


def test_a_folder_appears_when_it_is_complete(tmp_path):
    target = tmp_path / "data"
    (tmp_path / ".data.partial").mkdir()
    (tmp_path / ".data.partial" / "left by a killed process").touch()
    target.mkdir()  # an empty one may be there
    with whole_folder(target) as folder:
        (folder / "a").touch()
        assert os.listdir(target) == []
    assert os.listdir(target) == ["a"]
    assert os.listdir(tmp_path) == ["data"]


def test_a_folder_that_fails_is_not_there(tmp_path):
    with pytest.raises(ValueError, match="no picture"), whole_folder(tmp_path / "data") as folder:
        (folder / "a").touch()
        raise ValueError("no picture")
    assert os.listdir(tmp_path) == []


def test_a_folder_that_holds_something_is_not_replaced(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine").touch()
    with pytest.raises(OSError, match="not empty"), whole_folder(tmp_path / "data"):
        pass
    assert os.listdir(tmp_path) == ["data"]


def test_sha256_of_a_file(tmp_path):
    # FIPS 180-2, appendix B.1 and B.3: "abc", and a million times "a"
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    (tmp_path / "million").write_bytes(b"a" * 10**6)
    assert sha256(tmp_path / "million") == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"
    with pytest.raises(MaskRCNNError, match="absent cannot be read: No such file"):
        sha256(tmp_path / "absent")


def test_json_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "bbox.json"
    write_json(path, [1, "ä"])
    assert path.read_bytes() == '[1, "ä"]\n'.encode()
    with pytest.raises(TypeError):
        write_json(path, [object()])
    assert path.read_bytes() == '[1, "ä"]\n'.encode()
    assert os.listdir(path.parent) == ["bbox.json"]
    (tmp_path / "file").write_text("")
    with pytest.raises(MaskRCNNError, match="cannot write"):
        write_json(tmp_path / "file" / "bbox.json", [])


def test_json_holds_file_names_that_are_no_utf8(tmp_path):
    name = os.fsdecode(b"caf\xe9 \xff.jpg")
    write_json(tmp_path / "a.json", {"file": name, "class": "猫"})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"file": name, "class": "猫"}
