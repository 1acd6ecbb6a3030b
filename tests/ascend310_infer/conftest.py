"""The C++ app, built once: under sanitizers with stand-ins of vendors' libraries, and as users build it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.ascend310_infer.samples import ROOT

SOURCE = ROOT / "ascend310_infer"
JOBS = str(min(os.cpu_count() or 1, 4))
STAND_INS = (
    "-DMASKRCNN_WERROR=ON",
    "-DMASKRCNN_TESTS=ON",
    "-DMASKRCNN_FAKES=ON",
    "-DMASKRCNN_SANITIZE=address,undefined",
    "-DMASKRCNN_ENGINES=lite;acl",
    "-DCMAKE_BUILD_TYPE=Debug",
    "-DCMAKE_CXX_FLAGS_DEBUG=-O0 -g1",
)


def build(folder: Path, *settings: str) -> Path:
    """Configure and build into ``folder``, or skip where a tool or a library is missing."""
    for tool in ("cmake", "make", "g++"):
        if shutil.which(tool) is None:
            pytest.skip(f"needs {tool} to build the C++ app; as root, scripts/test.sh installs it")
    command = ["cmake", "-S", str(SOURCE), "-B", str(folder), f"-DPython3_EXECUTABLE={sys.executable}", *settings]
    configured = subprocess.run(command, capture_output=True, text=True)
    if "is missing" in configured.stderr or "Could NOT find GTest" in configured.stderr:
        pytest.skip(f"cannot build the C++ app here: {' '.join(configured.stderr.split())}")
    assert configured.returncode == 0, configured.stderr
    made = subprocess.run(["cmake", "--build", str(folder), "--parallel", JOBS], capture_output=True, text=True)
    assert made.returncode == 0, made.stdout[-4000:] + made.stderr[-4000:]
    return folder


def _folder(name: str, factory: pytest.TempPathFactory) -> Path:
    """MASKRCNN_TEST_BUILDS names a folder that keeps the builds from run to run."""
    kept = os.environ.get("MASKRCNN_TEST_BUILDS")
    return Path(kept) / name if kept else factory.mktemp(name)


@pytest.fixture(scope="session")
def checked_build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build folder with warnings as errors, address and undefined behaviour sanitizers, stand-ins, unit tests."""
    return build(_folder("checked", tmp_path_factory), *STAND_INS)


@pytest.fixture(scope="session")
def release_build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build folder of the app as the script builds it, with the engines that this Python brings."""
    return build(_folder("release", tmp_path_factory), "-DMASKRCNN_WERROR=ON")
