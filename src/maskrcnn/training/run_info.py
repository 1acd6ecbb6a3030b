"""What a run is: the settings that decide what is learnt, those that have changed, and the versions it ran with."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import mindspore as ms
import numpy as np

from maskrcnn import __version__
from maskrcnn.config import Config
from maskrcnn.config.schema import keys_of_role
from maskrcnn.data.records.info import RecordInfo
from maskrcnn.errors import TrainingError
from maskrcnn.files import whole_file

# Settings that may differ from those of a checkpoint, or between ranks, without changing what is learnt.
NOT_TRAINING = {*keys_of_role("run"), "coco_root", "mindrecord_dir"}


def run_digest(cfg: Config, record: RecordInfo) -> bytes:
    """Returns what must be the same on all ranks: the settings, but for folders, the classes and the images."""
    settings = {key: value for key, value in cfg.to_dict().items() if key not in NOT_TRAINING}
    return json.dumps([settings, record.classes.names, record.sizes.tolist()]).encode()


def changed_settings(before: Mapping[str, Any], cfg: Config) -> list[str]:
    """Returns "key old -> new" for every setting that decides what is learnt and differs from a checkpoint's."""
    return [
        f"{key} {before[key]} -> {value}"
        for key, value in cfg.to_dict().items()
        if key not in NOT_TRAINING and before.get(key, value) != value
    ]


def write_run_info(cfg: Config) -> None:
    """Writes the settings and the versions of the run as run.json into the log folder.

    Raises:
        TrainingError: The file cannot be written.
    """
    info = {
        "versions": {
            "maskrcnn": __version__,
            "mindspore": ms.__version__,
            "numpy": np.__version__,
            "opencv": cv2.__version__,
            "python": platform.python_version(),
            "platform": platform.platform(),
        },
        "config": cfg.to_dict(),
    }
    path = Path(cfg.log_dir) / "run.json"
    try:
        with whole_file(path, "w") as file:
            file.write(json.dumps(info, indent=1) + "\n")
    except OSError as error:
        raise TrainingError(f"cannot write {path}: {error.strerror}") from error
