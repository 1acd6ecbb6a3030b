"""Keys of older files, flags and checkpoints: the same meaning in today's keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from maskrcnn.config import Config, load_config
from maskrcnn.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
DEFAULTS = ROOT / "default_config.yaml"
TORCHVISION = "paste_integer_boxes: true"
ZOO = "inclusive_boxes: true"


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "exact"),
        (TORCHVISION, "torchvision"),
        ("paste_integer_boxes: false", "exact"),
        (ZOO, "mindspore_zoo"),
        (f"{ZOO}\n{TORCHVISION}", "mindspore_zoo"),  # as they were when both could be given
        (f"{ZOO}\npaste: exact", "exact"),
        ("inclusive_boxes: false\npaste: torchvision", "torchvision"),
    ],
)
def test_how_older_files_paste(tmp_path: Path, text: str, rule: str) -> None:
    file = tmp_path / "old.yaml"
    file.write_text(text)
    cfg = load_config(["--config_path", str(file)], defaults=DEFAULTS)
    assert cfg.paste == rule and cfg.inclusive_boxes == (ZOO in text)


def test_flags_and_later_files_win(tmp_path: Path) -> None:
    file = tmp_path / "old.yaml"
    file.write_text(TORCHVISION)
    old = ["--config_path", str(file)]
    assert load_config([*old, "--paste", "exact"], defaults=DEFAULTS).paste == "exact"
    assert load_config([*old, "--paste_integer_boxes", "false"], defaults=DEFAULTS).paste == "exact"
    assert load_config(["--paste_integer_boxes"], defaults=DEFAULTS).paste == "torchvision"
    assert load_config([*old, "--inclusive_boxes", "true"], defaults=DEFAULTS).paste == "mindspore_zoo"


def test_how_older_checkpoints_paste() -> None:
    """Their metadata holds every key of their time."""
    values = {key: value for key, value in Config().to_dict().items() if key != "paste"}
    for integer_boxes, inclusive, rule in (
        (False, False, "exact"),
        (True, False, "torchvision"),
        (False, True, "mindspore_zoo"),
        (True, True, "mindspore_zoo"),
    ):
        old = {**values, "paste_integer_boxes": integer_boxes, "inclusive_boxes": inclusive}
        assert Config.from_dict(old).paste == rule
    assert Config(paste="torchvision").replace(seed=3).paste == "torchvision"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"paste": "torchvision", "paste_integer_boxes": True}, "both given: remove paste_integer_boxes"),
        ({"paste_integer_boxes": 1}, "paste_integer_boxes is 1, expected true or false"),
        ({"paste": "zoo"}, "expected one of exact, torchvision, mindspore_zoo"),
    ],
)
def test_what_is_refused(values: dict, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Config.from_dict(values)
    assert words in str(caught.value) and "\n" not in str(caught.value)
