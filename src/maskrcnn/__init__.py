"""Mask R-CNN on MindSpore: train, evaluate, export and deploy."""

from __future__ import annotations

import os
from typing import Any

# oneDNN's plain-layout convolutions have fast kernels up to AVX2 only: with AVX-512 it falls back to its reference
# kernel, 20 to 200 times slower. It reads the variable when MindSpore is imported; a user's own value is kept.
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX2")

__version__ = "0.1.0"

_API = ("Model", "Result", "load")


def __getattr__(name: str) -> Any:
    """Returns ``load`` and what belongs to it, which are imported when they are first used."""
    if name in _API:
        from maskrcnn import api

        return getattr(api, name)
    raise AttributeError(f"module 'maskrcnn' has no attribute '{name}'")


def __dir__() -> list[str]:
    """Returns the names that ``__getattr__`` knows, too."""
    return sorted([*globals(), *_API])
