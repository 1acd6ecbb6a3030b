"""Fixtures shared by all tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"


@pytest.fixture(scope="session", autouse=True)
def compiled_graphs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keeps the graphs that tests compile out of the user's cache; processes that tests start share them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def coco_tiny() -> Path:
    """A folder with 80 + 80 real COCO photographs; the tests that want it skip where it is not there."""
    folder = SHARED / "data" / "coco_tiny"
    if not folder.is_dir():
        pytest.skip("needs the 160 COCO photographs of ../shared/data/coco_tiny")
    return folder


@pytest.fixture(scope="session")
def parity_file() -> Path:
    """What torchvision computes, stage by stage; the tests that want it skip where it is not there."""
    file = SHARED / "parity" / "torchvision_r50_fpn.npz"
    if not file.is_file():
        pytest.skip("needs the torchvision fixture ../shared/parity/torchvision_r50_fpn.npz")
    return file
