"""What MindSpore Hub calls: ``mindspore_hub.load(...)`` asks ``create_network`` for the network."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent
if importlib.util.find_spec("maskrcnn") is None:
    sys.path.insert(0, str(ROOT / "src"))

import maskrcnn  # noqa: E402

NETWORKS = ("maskrcnn", "maskrcnn_resnet50")


def create_network(name: str, *args: Any, **kwargs: Any) -> Any:
    """Returns a network that is ready to find objects.

    Args:
        name: "maskrcnn" or "maskrcnn_resnet50".
        *args: the checkpoint, for one that is not named by keyword.
        **kwargs: ``checkpoint_path``, and any setting that ``maskrcnn.load`` takes.

    Returns:
        What ``maskrcnn.load`` returns for the checkpoint: call it with a file, bytes or pixels.

    Raises:
        NotImplementedError: there is no such network.
        MaskRCNNError: the checkpoint cannot be used.
    """
    if name not in NETWORKS:
        raise NotImplementedError(f"{name} is not implemented in the repo: there are {' and '.join(NETWORKS)}")
    path = kwargs.pop("checkpoint_path", None) or (args[0] if args else "")
    return maskrcnn.load(path, **kwargs)
