"""Keys of older versions: what is still understood, and that all else says what replaces it."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from maskrcnn.config import Config, load_config
from maskrcnn.config.retired import FIXED, OBSOLETE_KEYS, RETIRED_KEYS
from maskrcnn.errors import ConfigError

DEFAULTS = Path(__file__).resolve().parents[2] / "default_config.yaml"
TORCHVISION = "paste_integer_boxes: true"
ZOO = "inclusive_boxes: true"
LEGAL = {
    "warmup_mode": "linear",
    "anchor_strides": [4, 8, 16, 32, 64],
    "roi_align_featmap_strides": [4, 8, 16, 32],
    "mask_shape": [28, 28],
}


def refused(*argv: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(argv)
    (line,) = caught.value.lines
    return line


def test_keys_with_one_legal_value_are_accepted_everywhere(tmp_path):
    file = tmp_path / "old.yaml"
    file.write_text("".join(f"{key}: {value}\n" for key, value in LEGAL.items()))
    flags = [part for key, value in LEGAL.items() for part in (f"--{key}", str(value))]
    assert load_config(["--config_path", str(file)]) == load_config(flags) == Config.from_dict(LEGAL) == Config()
    assert not set(LEGAL) & {item.name for item in dataclasses.fields(Config)} and not set(LEGAL) & set(
        Config().to_dict()
    )


@pytest.mark.parametrize(
    ("argv", "parts"),
    [
        (["--warmup_mode", "constant"], ["--warmup_mode is 'constant', expected 'linear'", "remove it"]),
        (["--anchor_strides", "[8, 16, 32, 64, 128]"], ["anchor_strides", "[4, 8, 16, 32, 64]", "remove it"]),
        (["--anchor_strides", "4"], ["anchor_strides", "4", "list of whole numbers"]),
        (["--roi_align_featmap_strides", "[4, 8]"], ["roi_align_featmap_strides is [4, 8]", "[4, 8, 16, 32]"]),
        (["--mask_shape", "[14, 14]"], ["mask_shape is [14, 14]", "mask_out_size: 14", "remove mask_shape"]),
    ],
)
def test_other_values_are_refused(argv, parts):
    line = refused(*argv)
    assert all(part in line for part in parts), line


def test_mask_shape_follows_from_roi_layer_whoever_says_it(tmp_path):
    file = tmp_path / "small.yaml"
    file.write_text("roi_layer: {mask_out_size: 7}\n")
    cfg = load_config(["--config_path", str(file), "--mask_shape", "[14, 14]"])
    assert cfg.mask_shape == (14, 14)
    assert "mask_shape is [28, 28]" in refused("--config_path", str(file), "--mask_shape", "[28, 28]")


@pytest.mark.parametrize("key", sorted(OBSOLETE_KEYS))
def test_obsolete_keys_say_what_replaces_them(key: str):
    line = refused(f"--{key}", "1")
    assert line.startswith(f"{key} (given as '1') is no longer a key: ")


def test_replacements_are_keys_or_explanations():
    names = {item.name for item in dataclasses.fields(Config)}
    assert not names & (set(OBSOLETE_KEYS) | set(RETIRED_KEYS)) and set(FIXED) <= set(RETIRED_KEYS)
    for text in OBSOLETE_KEYS.values():
        mentioned = set(re.findall(r"\b[a-z0-9]+(?:_[a-z0-9]+)+\b(?!\.sh)", text))
        assert mentioned <= names


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
