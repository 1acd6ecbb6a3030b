"""The configuration: defaults, sources, flags, and that whatever cannot work is refused in one clear line."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest
import yaml

from maskrcnn.config import Config, load_arguments, load_config
from maskrcnn.config.names import COCO_CLASSES
from maskrcnn.config.schema import ROLES
from maskrcnn.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
DEFAULTS = ROOT / "default_config.yaml"


def refused(*argv: str) -> str:
    """The one line with which the arguments are refused."""
    with pytest.raises(ConfigError) as caught:
        load_config(argv)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def written(folder: Path, text: str) -> str:
    file = folder / "some.yaml"
    file.write_text(text, encoding="utf-8")
    return str(file)


def test_default_file_holds_the_defaults_of_the_class():
    values = yaml.safe_load(DEFAULTS.read_text(encoding="utf-8"))
    assert list(values) == [item.name for item in dataclasses.fields(Config)]
    assert load_config([], defaults=DEFAULTS) == Config()


def test_default_file_states_the_meanings_of_the_class():
    pattern = re.compile(r"^(\w+):.*?  # (.*)$", re.MULTILINE)
    stated = dict(pattern.findall(DEFAULTS.read_text(encoding="utf-8")))
    assert stated == {item.name: item.metadata["meaning"] for item in dataclasses.fields(Config)}


def test_class_list_is_that_of_coco(coco_tiny: Path):
    annotations = json.loads((coco_tiny / "annotations" / "instances_val2017.json").read_text())
    names = [item["name"] for item in sorted(annotations["categories"], key=lambda item: item["id"])]
    assert ["background", *names] == list(COCO_CLASSES)


@pytest.mark.parametrize("file", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda file: file.stem)
def test_every_file_in_configs_works_and_changes_something(file: Path):
    assert load_config(["--config_path", str(file)], defaults=DEFAULTS) != Config()


def test_later_source_wins(tmp_path: Path):
    file = written(tmp_path, "img_width: 512\nbatch_size: 4\n")
    cfg = load_config(["--batch_size", "8", "--config_path", file], defaults=DEFAULTS)
    assert (cfg.img_width, cfg.batch_size, cfg.img_height) == (512, 8, 768)


@pytest.mark.parametrize(
    ("argv", "key", "value"),
    [
        (["--img_width", "512"], "img_width", 512),
        (["--img_width=512"], "img_width", 512),
        (["--keep_ratio", "false"], "keep_ratio", False),
        (["--strict"], "strict", True),
        (["--strict", "--seed", "3"], "strict", True),
        (["--multi_scale", "[0.8, 1.0]"], "multi_scale", (0.8, 1.0)),
        (["--base_lr", "1"], "base_lr", 1.0),
        (["--weight_decay", "5e-4"], "weight_decay", 5e-4),
        (["--warmup_ratio", "1/4.0"], "warmup_ratio", 0.25),
        (["--log_dir", "1"], "log_dir", "1"),
        (["--coco_root", "a: [b"], "coco_root", "a: [b"),
        (["--coco_classes", "[]"], "coco_classes", ()),
        (["--coco_classes", "background, hot dog,cat"], "coco_classes", ("background", "hot dog", "cat")),
        (["--load_parts", "backbone"], "load_parts", ("backbone",)),
        (["--lr_step_fractions", "[]"], "lr_step_fractions", ()),
        (
            ["--roi_layer", "{sample_num: 1}"],
            "roi_layer",
            {"out_size": 7, "mask_out_size": 14, "sample_num": 1},
        ),
    ],
)
def test_flags(argv: list[str], key: str, value: object):
    got = getattr(load_config(argv), key)
    assert got == value
    assert type(got) is type(value)


def test_plain_arguments_are_for_who_asks():
    cfg, arguments = load_arguments(["a.jpg", "--strict", "b.jpg", "--seed", "5", "--", "--c.jpg"])
    assert arguments == ["a.jpg", "b.jpg", "--c.jpg"]
    assert cfg.strict and cfg.seed == 5
    assert "a.jpg" in refused("a.jpg")


def printed_help(capsys: pytest.CaptureFixture[str], flag: str) -> str:
    with pytest.raises(SystemExit) as caught:
        load_config([flag, "--img_widht", "1"], description="Trains a network.", everyday=("coco_root", "batch_size"))
    assert caught.value.code == 0
    return capsys.readouterr().out


def test_help_shows_the_everyday_keys(capsys: pytest.CaptureFixture[str]):
    text = printed_help(capsys, "--help")
    assert "Trains a network." in text and "--coco_root  folder of" in text and "--help_all" in text
    assert re.findall(r"^  --(\w+)", text, re.MULTILINE) == ["coco_root", "batch_size", "config_path"]
    assert text == printed_help(capsys, "-h")


def test_help_all_lists_every_key_with_its_meaning(capsys: pytest.CaptureFixture[str]):
    text = printed_help(capsys, "--help_all")
    assert "Trains a network." in text
    for item in dataclasses.fields(Config):
        assert f"--{item.name}  {item.metadata['meaning']}" in text


def test_every_key_has_a_role():
    assert {item.metadata["role"] for item in dataclasses.fields(Config)} == set(ROLES)


def test_masks_for_all_positives_unless_said_otherwise():
    assert Config(num_expected_pos_stage2=64).mask_roi_num == 64
    assert Config(num_expected_pos_stage2=64, mask_roi_num=16).mask_roi_num == 16


@pytest.mark.parametrize(
    ("argv", "parts"),
    [
        (["--img_widht", "512"], ["img_widht", "512", "img_width"]),
        (["--config", "x.yaml"], ["unknown key config", "config_path"]),
        (["--img_width"], ["--img_width needs a value"]),
        (["--img_width", "--strict"], ["--img_width needs a value"]),
        (["--img_width", "x"], ["img_width", "'x'", "whole number"]),
        (["--img_width", "512.0"], ["img_width", "512.0", "whole number"]),
        (["--batch_size", "true"], ["batch_size", "True", "whole number"]),
        (["--flip_ratio", "true"], ["flip_ratio", "True", "a number"]),
        (["--flip_ratio", ".nan"], ["flip_ratio", "nan", "a number"]),
        (["--base_lr", "1/0"], ["base_lr", "1/0", "a number"]),
        (["--keep_ratio=1"], ["keep_ratio", "1", "true or false"]),
        (["--keep_ratio", "1"], ["keep_ratio", "1", "true or false"]),
        (["--keep_ratio", "y"], ["keep_ratio", "y", "true or false"]),
        (["--multi_scale", "0.8"], ["multi_scale", "0.8", "list of numbers"]),
        (["--multi_scale", "[0.8, x]"], ["multi_scale", "'x'", "list of numbers"]),
        (["--multi_scale", "[]"], ["multi_scale", "at least one"]),
        (["--multi_scale", "[0.8"], ["--multi_scale", "not valid YAML"]),
        (["--pixel_std", "[1, 2]"], ["pixel_std", "3 values"]),
        (["--pixel_std", "[1, 0, 2]"], ["pixel_std", "above 0"]),
        (["--roi_layer", "{sample_nun: 1}"], ["sample_nun", "sample_num"]),
        (["--roi_layer", "[7]"], ["roi_layer", "mapping"]),
        (["--roi_layer", "{sample_num: -1}"], ["roi_layer", "-1", "at least 0"]),
        (["--roi_layer", "{out_size: 0}"], ["roi_layer", "out_size must be at least 1"]),
        (["--backbone", "resnet51"], ["backbone", "resnet51", "resnet50"]),
        (["--img_width", "500"], ["img_width", "500", "multiple of 64"]),
        (["--test_score_thr", "1.5"], ["test_score_thr", "1.5", "at least 0", "at most 1"]),
        (["--momentum", "1"], ["momentum", "below 1"]),
        (["--warmup_ratio", "0"], ["warmup_ratio", "above 0"]),
        (["--warmup_step", "-1"], ["warmup_step", "-1", "at least 0"]),
        (["--neg_iou_thr", "0.9"], ["neg_iou_thr is 0.9", "pos_iou_thr is 0.7"]),
        (["--min_pos_iou", "0.8"], ["min_pos_iou is 0.8", "pos_iou_thr is 0.7"]),
        (["--neg_iou_thr_stage2", "0.6"], ["neg_iou_thr_stage2", "pos_iou_thr_stage2"]),
        (["--num_expected_pos", "300"], ["num_expected_pos is 300", "num_expected_neg is 256"]),
        (["--num_expected_pos_stage2", "600"], ["num_expected_pos_stage2", "num_expected_total_stage2"]),
        (["--mask_roi_num", "200"], ["mask_roi_num is 200", "num_expected_pos_stage2 is 128"]),
        (["--rpn_proposal_nms_pre", "100"], ["rpn_proposal_nms_post", "rpn_proposal_nms_pre is 100"]),
        (["--rpn_nms_post", "100"], ["rpn_max_num is 1000", "rpn_nms_post is 100"]),
        (["--rpn_proposal_max_num", "100"], ["num_expected_total_stage2", "rpn_proposal_max_num is 100"]),
        (["--test_nms_pre", "50"], ["test_max_per_img", "test_nms_pre is 50"]),
        (["--mask_crop_size", "20"], ["mask_crop_size is 20", "28 pixels a side"]),
        (["--load_parts", "backbone,neck"], ["load_parts is ['backbone', 'neck']", "box_head"]),
        (["--base", "x.yaml"], ["unknown key base"]),
        (["--lr_step_fractions", "[0.9, 0.5]"], ["lr_step_fractions is [0.9, 0.5]"]),
        (["--instance_set", "a.json"], ["instance_set is 'a.json'", "{}"]),
        (["--coco_classes", "[cat, dog, cat]"], ["coco_classes", "'cat'"]),
        (["--coco_classes", "[background]"], ["coco_classes", "no class"]),
    ],
)
def test_refusals_name_key_and_value(argv: list[str], parts: list[str]):
    line = refused(*argv)
    assert all(part in line for part in parts), line


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("img_width: 512\nimg_width: 640\n", [":2", "img_width", "twice"]),
        ("roi_layer: {out_size: 7, out_size: 8}\n", [":1", "out_size", "twice"]),
        ("seed: 1\nmulti_scale: [1.0\nbatch_size: 2\n", ["some.yaml:3", "not valid YAML"]),
        ("seed: !!python/object:os.system {}\n", [":1", "not valid YAML"]),
        ("just words", ["key: value", "str"]),
        ("- 1\n- 2\n", ["key: value", "list"]),
        ("seed: \x00", ["not valid YAML"]),
        (f"seed: {'[' * 100_000}", ["not valid YAML", "nested too deeply"]),
        ("img_widht: 512\n", ["img_widht", "512", "img_width"]),
        ("img_width: '512'\n", ["img_width", "'512'", "whole number"]),
        ("pre_trained:\n", ["pre_trained", "None", "a text"]),
        ("num_classes: 81\n", ["num_classes", "81", "coco_classes"]),
        ("7: 1\n", ["unknown key 7"]),
    ],
)
def test_bad_files_are_named(tmp_path: Path, text: str, parts: list[str]):
    line = refused("--config_path", written(tmp_path, text))
    assert all(part in line for part in ["some.yaml", *parts]), line


def test_files_that_cannot_be_read(tmp_path: Path):
    assert "does not exist" in refused("--config_path", str(tmp_path / "none.yaml"))
    assert str(tmp_path) in refused("--config_path", str(tmp_path))
    (tmp_path / "latin.yaml").write_bytes(b"log_dir: \xe9\n")
    assert "UTF-8" in refused("--config_path", str(tmp_path / "latin.yaml"))
    assert load_config(["--config_path", written(tmp_path, "# nothing\n")]) == Config()


def test_round_trip_and_replace():
    cfg = Config(img_width=512, multi_scale=[0.5, 1], norm="gn")
    plain = json.loads(json.dumps(cfg.to_dict()))
    assert Config.from_dict(plain) == cfg
    assert cfg.replace(seed=9).seed == 9 and cfg.seed == 1
    with pytest.raises(ConfigError, match="img_width"):
        cfg.replace(img_width=10)
    with pytest.raises(ConfigError, match="seed"):
        cfg.replace(sede=10)
    with pytest.raises(dataclasses.FrozenInstanceError):
        cfg.seed = 2
