"""predict.py's own part: what is missing is said before any network is built."""

from __future__ import annotations

import pytest

from maskrcnn.commands.predict import main
from maskrcnn.errors import CheckpointError, ConfigError, DataError


def test_what_is_missing_is_said_first(tmp_path) -> None:
    with pytest.raises(ConfigError, match="needs image files or folders"):
        main([])
    with pytest.raises(DataError, match="no file or folder"):
        main([str(tmp_path / "no.jpg")])
    (tmp_path / "a.jpg").write_bytes(b"x")
    with pytest.raises(CheckpointError, match="--checkpoint_path FILE"):
        main([str(tmp_path / "a.jpg")])
