"""Configurations of MindSpore's model zoo: every key told, values as they are meant, ours as the zoo trains."""

from __future__ import annotations

from pathlib import Path

import pytest

from maskrcnn.commands.config import main
from maskrcnn.config import Config, load_config
from maskrcnn.config.zoo import import_zoo, literal
from maskrcnn.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
# Keys and values of the zoo's default_config.yaml, as its documents list them, with lists as YAML and as Python.
ZOO = """\
enable_modelarts: False
data_url: ""
device_target: Ascend
coco_root: "/cache/data"
mindrecord_dir: "./MindRecord_COCO"
img_width: 1024
keep_ratio: True
mask_shape: (28, 28)
feature_shapes: [(192, 320), (96, 160), (48, 80), (24, 40), (12, 20)]
anchor_scales: [8]
anchor_strides: [4, 8, 16, 32, 64]
num_anchors: 3
resnet_block: [3, 4, 6, 3]
fpn_num_outs: 5
rpn_loss_cls_weight: 1
num_bboxes: 245520
roi_layer: dict(type='RoIAlign', out_size=7, mask_out_size=14, sample_num=2)
roi_align_featmap_strides: [4, 8, 16, 32]
roi_sample_num: 640
num_expected_neg_stage2: 512
rcnn_target_stds: [0.1, 0.1, 0.2, 0.2]
rpn_head_use_sigmoid: True
base_lr: 0.02
base_step: 58633
total_epoch: 13
warmup_ratio: 1/3.0
sgd_momentum: 0.9
momentum: 0.91
save_checkpoint_steps: 1562
coco_classes: ('background', 'person', 'hot dog',
                     'teddy bear')
num_classes: 4
run_distribute: False
do_train: True
IMAGE_DIR: "pictures"
learning_rate: 0.002
model_name: maskrcnn
something_new: 3
---
enable_modelarts: 'Whether training on modelarts, default: False'
---
device_target: ['Ascend', 'GPU', 'CPU']
"""


@pytest.fixture
def zoo(tmp_path: Path) -> Path:
    (tmp_path / "zoo.yaml").write_text(ZOO)
    return tmp_path / "zoo.yaml"


def test_every_key_is_told(zoo: Path, capsys):
    out = zoo.with_name("ours.yaml")
    main(["import", str(zoo), str(out)])
    printed = capsys.readouterr().out
    fates = {line.split("  ")[0]: line.split("->")[1].strip() for line in printed.splitlines() if "->" in line}
    keys = [line.split(":")[0] for line in ZOO.split("---")[0].splitlines() if line[:1].isalpha() or line[:1] == "I"]
    assert list(fates) == keys
    assert fates["img_width"] == "taken over" and fates["keep_ratio"] == "the default here, too"
    assert fates["feature_shapes"] == "left out: it is computed from img_width and img_height"
    assert fates["mask_shape"] == "left out: it follows from other settings"
    assert fates["save_checkpoint_steps"] == "left out: the zoo's train.py does not read it"
    assert fates["IMAGE_DIR"] == "renamed image_dir, taken over"
    assert fates["something_new"] == "left out: not a key here"
    assert f"written to {out}; use it with --config_path {out}" in printed
    with pytest.raises(ConfigError, match="is there already"):
        main(["import", str(zoo), str(out)])


def test_the_translation_trains_as_the_zoo_does(zoo: Path):
    out = zoo.with_name("ours.yaml")
    main(["import", str(zoo), str(out)])
    cfg = load_config(["--config_path", str(out)])
    assert cfg == Config(
        device_target="Ascend",
        coco_root="/cache/data",
        mindrecord_dir="/cache/data/MindRecord_COCO",
        img_width=1024,
        momentum=0.91,
        coco_classes=("background", "person", "hot dog", "teddy bear"),
        image_dir="pictures",
        lr_schedule="cosine",
        scale_lr=False,
        norm="fixed_bn",
    )


def test_as_a_configuration_it_is_refused_at_once_with_the_way_out(zoo: Path):
    with pytest.raises(ConfigError) as caught:
        load_config(["--config_path", str(zoo)])
    lines = caught.value.lines
    assert "holds 3 YAML documents" in lines[0]
    assert sum("is no longer a key" in line for line in lines) >= 15
    assert any("unknown key something_new" in line and "did you mean" not in line for line in lines)
    assert lines[-1].endswith(f"python -m maskrcnn.config import {zoo} OUT.yaml writes it in today's keys")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("(28, 28)", [28, 28]),
        ("dict(type='RoIAlign', out_size=7)", {"type": "RoIAlign", "out_size": 7}),
        ("('a', 'hot dog')", ["a", "hot dog"]),
        ("(some words)", "(some words)"),
        ("dict(a=open('x'))", "dict(a=open('x'))"),
        ("plain", "plain"),
        (3, 3),
    ],
)
def test_values_written_as_python(text, value):
    assert literal(text) == value


def test_what_cannot_work_is_told_with_the_file(tmp_path: Path):
    (tmp_path / "zoo.yaml").write_text("img_width: 1000\nflip_ratio: 3\n")
    with pytest.raises(ConfigError, match=r"zoo\.yaml: img_width is 1000: must be a multiple of 64"):
        import_zoo(tmp_path / "zoo.yaml")


def test_the_zoos_recipe_in_configs():
    cfg = load_config(["--config_path", str(ROOT / "configs" / "mindspore_zoo_train.yaml")])
    assert (cfg.lr_schedule, cfg.scale_lr, cfg.base_lr, cfg.momentum) == ("cosine", False, 0.02, 0.91)
    assert (cfg.norm, cfg.num_expected_total_stage2, cfg.mask_roi_num) == ("fixed_bn", 512, 128)
