"""How an entry point ends: one line, and an exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def call(body, stdout=subprocess.PIPE, **variables):
    """A program whose main function has this body; returns it with its exit code and output."""
    program = (
        f"from maskrcnn import cli, errors\ndef main():\n    {body}\nimport signal, os, errno, sys, time\ncli.run(main)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONUNBUFFERED": "", **variables}
    return subprocess.run(
        [sys.executable, "-c", program],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("body", "code", "line"),
    [
        ("print('done')", 0, ""),
        ("return 143", 143, ""),
        ("raise errors.DataError('no such file: look again')", 2, "error: no such file: look again\n"),
        ("raise errors.PeersLost('rank 1 is gone')", 3, "error: rank 1 is gone\n"),
        ("raise KeyboardInterrupt", 130, "error: interrupted\n"),
        ("raise OSError(errno.ENOSPC, 'No space', 'log')", 2, "error: cannot write log: No space\n"),
    ],
)
def test_ends_with_a_line_and_a_code(body, code, line):
    done = call(body)
    assert (done.returncode, done.stderr) == (code, line)


def test_a_defect_keeps_its_traceback():
    for body in ("raise ValueError('?')", "open('/no/such/file')"):
        done = call(body)
        assert done.returncode == 1
        assert done.stderr.startswith("Traceback")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_under_the_standard_output():
    line = "error: cannot write the standard output: No space left on device\n"
    with open("/dev/full", "w") as full:
        for body in ("print('x', flush=True)", "print('x')"):
            done = call(body, stdout=full)
            assert (done.returncode, done.stderr) == (2, line)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_any_name_can_be_printed_on_any_console(encoding):
    """A class in another script, and a file name that is no UTF-8."""
    done = call("print('cat \\u732b \\udce9.jpg')", PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == ("cat 猫 \\udce9.jpg\n" if encoding == "utf-8" else "cat \\u732b \\udce9.jpg\n")
    done = call("raise errors.DataError('no \\u732b \\udce9')", PYTHONIOENCODING=encoding)
    assert done.returncode == 2 and done.stderr.startswith("error: no ") and done.stderr.count("\n") == 1
