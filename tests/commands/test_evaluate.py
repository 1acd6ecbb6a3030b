"""eval.py's own part: what is missing is said before any network is built."""

from __future__ import annotations

import pytest

from maskrcnn.commands.evaluate import main
from maskrcnn.errors import CheckpointError, ConfigError


def test_what_is_missing_is_said_first(tmp_path) -> None:
    with pytest.raises(CheckpointError, match="--checkpoint_path FILE"):
        main([])
    with pytest.raises(CheckpointError, match="does not exist"):
        main(["--checkpoint_path", str(tmp_path / "no.ckpt")])
    with pytest.raises(CheckpointError, match="does not exist"):
        main(["--model", str(tmp_path / "no.onnx")])
    with pytest.raises(ConfigError, match="name one of them"):
        main(["--checkpoint_path", "a.ckpt", "--model", "b.onnx"])
