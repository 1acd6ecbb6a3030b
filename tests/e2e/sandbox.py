"""A place to run the shell scripts in, with stand-ins for python and docker that write down how they were called."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted((ROOT / "scripts").glob("*.sh"))
RUNNABLE = [path.name for path in SCRIPTS if not path.name.startswith("_")]

# Writes its arguments, one a line, to $CALLS and ends with $CODE. It has no MindSpore, can make virtual
# environments, and gives quickstart.sh what it looks for.
FAKE_PYTHON = """#!/usr/bin/env bash
{ printf '%s\\n' "$0" "$@"; echo '--end--'; } >>"$CALLS"
case "$*" in
    -c*mindspore*) exit "${NO_MINDSPORE:-1}" ;;
    -c*version_info*) exit "${BAD_VERSION:-0}" ;;
    --version) echo Python 3.11.7 ;;
    '-m venv '*) [[ -z "${NO_VENV:-}" ]] || exit 1
        mkdir -p "${!#}/bin" && cp "$0" "${!#}/bin/python" ;;
    '-m pip '*) exit "${PIP_CODE:-0}" ;;
    *train.py*) [[ "$*" == *only_create* ]] || { mkdir -p "$CHECKPOINTS"
        touch "$CHECKPOINTS"/maskrcnn-{2,10}_5.ckpt "$CHECKPOINTS/best.ckpt"; }
        echo training; echo warning >&2; exit "${CODE:-0}" ;;
    *eval.py*) echo ' Average Precision  (AP) @[ IoU=0.50      | area=   all | maxDets=100 ] = 0.812'
        exit "${EVAL_CODE:-0}" ;;
esac
"""


class Sandbox:
    """A copy of the scripts in a project whose path has a space, and stand-ins on PATH."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "my project"
        self.calls_file = folder / "calls"
        (folder / "bin").mkdir()
        (self.root / "scripts").mkdir(parents=True)
        for path in SCRIPTS:
            shutil.copy(path, self.root / "scripts")
        shutil.copy(ROOT / "pyproject.toml", self.root)
        self.program("python3", FAKE_PYTHON)

    def program(self, name: str, text: str) -> Path:
        path = self.folder / "bin" / name
        path.write_text(text)
        path.chmod(0o755)
        return path

    def environment(self, **extra: str) -> dict[str, str]:
        path = f"{self.folder / 'bin'}{os.pathsep}/usr/bin{os.pathsep}/bin"
        checkpoints = str(self.folder / "out" / "checkpoint")
        return {"PATH": path, "CALLS": str(self.calls_file), "CHECKPOINTS": checkpoints, **extra}

    def run(self, script: str, *args: object, shell: str = "bash", **extra: str) -> subprocess.CompletedProcess[str]:
        self.calls_file.unlink(missing_ok=True)
        command = [shell, str(self.root / "scripts" / script), *map(str, args)]
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment(**extra),
            capture_output=True,
            text=True,
            timeout=60,
        )

    def with_python(self, script: str, *args: object, **extra: str) -> subprocess.CompletedProcess[str]:
        """Run with MASKRCNN_PYTHON naming the stand-in, as in an environment that is there already."""
        return self.run(script, *args, MASKRCNN_PYTHON=str(self.folder / "bin" / "python3"), **extra)

    def calls(self) -> list[list[str]]:
        """The arguments of every call of a stand-in, without its own path."""
        if not self.calls_file.exists():
            return []
        return [part.splitlines()[1:] for part in self.calls_file.read_text().split("--end--\n")[:-1]]

    def file(self, name: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
        return path


def one_line(done: subprocess.CompletedProcess[str], *parts: object) -> bool:
    """Whether a script refused with exit code 2 and one line that has all of ``parts``."""
    lines = done.stderr.splitlines()
    return (
        done.returncode == 2
        and len(lines) == 1
        and lines[0].startswith("error: ")
        and all(str(part) in lines[0] for part in parts)
    )
