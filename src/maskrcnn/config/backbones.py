"""Every backbone: the names that the configuration offers, and what each of them stands for.

A new backbone is one file in ``models/`` and one row here; ``models/backbones.py`` says what the file must hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

STRIDES = (4, 8, 16, 32)  # of C2 to C5, as the feature pyramid wants them


@dataclass(frozen=True)
class Backbone:
    """A row of ``BACKBONES``.

    Attributes:
        family: The file in ``models/`` that makes it.
        settings: What makes it this member of the family.
        channels: Of C2 to C5 at full width.
        strides: Pixels per cell of C2 to C5.
    """

    family: str
    settings: Mapping[str, Any]
    channels: tuple[int, int, int, int]
    strides: tuple[int, int, int, int]


BASIC, BOTTLENECK = (64, 128, 256, 512), (256, 512, 1024, 2048)  # He et al., "Deep Residual Learning", table 1
BACKBONES = {
    "resnet18": Backbone("resnet", {"depths": (2, 2, 2, 2), "bottleneck": False}, BASIC, STRIDES),
    "resnet34": Backbone("resnet", {"depths": (3, 4, 6, 3), "bottleneck": False}, BASIC, STRIDES),
    "resnet50": Backbone("resnet", {"depths": (3, 4, 6, 3), "bottleneck": True}, BOTTLENECK, STRIDES),
    "resnet101": Backbone("resnet", {"depths": (3, 4, 23, 3), "bottleneck": True}, BOTTLENECK, STRIDES),
    "resnet152": Backbone("resnet", {"depths": (3, 8, 36, 3), "bottleneck": True}, BOTTLENECK, STRIDES),
}
