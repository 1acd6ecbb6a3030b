"""A checkpoint's settings and a user's: which win, which are told, which are refused."""

from __future__ import annotations

import pytest

from maskrcnn.config import Config, load_config
from maskrcnn.config.stored import TO_CONTINUE, TO_START, with_stored
from maskrcnn.errors import ConfigError

MADE = Config(
    backbone="resnet18", norm="bn", img_width=512, test_score_thr=0.3, pixel_std=(1, 1, 1), base_lr=0.1, log_dir="there"
)
MADE = MADE.replace(coco_root="their data", roi_layer={"out_size": 5, "sample_num": 0}, freeze_at=0)


def joined(*argv: str, stored=None, **settings) -> tuple[Config, list[str]]:
    return with_stored(load_config(argv), MADE.to_dict() if stored is None else stored, "net.ckpt", **settings)


def test_nothing_given_takes_what_the_checkpoint_says():
    cfg, notes = joined()
    assert notes == [] and (cfg.log_dir, cfg.coco_root) == (".", "")
    assert cfg.replace(log_dir="there", coco_root="their data") == MADE


def test_given_values_win_where_weights_allow_it():
    cfg, notes = joined("--test_score_thr", "0.05", "--img_width", "512", "--pixel_std", "[2, 2, 2]")
    assert (cfg.test_score_thr, cfg.img_width, cfg.pixel_std, cfg.backbone) == (0.05, 512, (2, 2, 2), "resnet18")
    assert notes == [
        "pixel_std is [2.0, 2.0, 2.0] (--pixel_std), not [1.0, 1.0, 1.0] as in net.ckpt",
        "test_score_thr is 0.05 (--test_score_thr), not 0.3 as in net.ckpt",
    ]
    assert set(cfg.given) == {"test_score_thr", "img_width", "pixel_std"}


def test_a_given_value_that_contradicts_the_weights_is_refused(tmp_path):
    file = tmp_path / "my.yaml"
    file.write_text("backbone: resnet50\nnorm: gn\nroi_layer: {sample_num: 2}\n")
    with pytest.raises(ConfigError) as caught:
        joined("--config_path", str(file), "--anchor_scales", "[4]")
    assert list(caught.value.lines) == [
        "anchor_scales is [4.0] (--anchor_scales), but net.ckpt was made with [8.0]: remove it",
        f"backbone is 'resnet50' ({file}), but net.ckpt was made with 'resnet18': remove it",
        f"norm is 'gn' ({file}), but net.ckpt was made with 'bn': remove it",
    ]


def test_what_has_the_same_weights_is_no_contradiction():
    cfg, notes = joined("--norm", "frozen_bn", "--roi_layer", "{sample_num: 2}")
    assert cfg.norm == "frozen_bn" and cfg.roi_layer == {"out_size": 5, "mask_out_size": 14, "sample_num": 2}
    assert [note.split(" ")[0] for note in notes] == ["norm", "roi_layer"]
    with pytest.raises(ConfigError, match=r"roi_layer is {out_size: 7, .*net\.ckpt was made with {out_size: 5"):
        joined("--roi_layer", "{out_size: 7}")


def test_a_run_that_continues_takes_its_data_and_recipe():
    cfg, notes = joined("--epoch_size", "24", roles=TO_CONTINUE)
    assert (cfg.coco_root, cfg.base_lr, cfg.epoch_size, cfg.log_dir) == ("their data", 0.1, 24, ".")
    assert notes == ["epoch_size is 24 (--epoch_size), not 12 as in net.ckpt"]


def test_a_run_that_starts_from_weights_takes_the_network_alone():
    cfg, _ = joined(roles=TO_START)
    assert (cfg.backbone, cfg.pixel_std) == ("resnet18", (1, 1, 1))
    assert (cfg.img_width, cfg.base_lr, cfg.freeze_at, cfg.test_score_thr) == (1280, 0.02, 2, 0.05)
    assert cfg.norm == "frozen_bn"  # whether norms are trained is the new run's affair
    assert joined(stored={"norm": "gn"}, roles=TO_START)[0].norm == "gn"
    cfg, notes = joined("--backbone", "resnet50", roles=TO_START)  # heads may be taken from another network
    assert cfg.backbone == "resnet50" and len(notes) == 1


def test_classes():
    assert joined(class_names=("cat", "dog"))[0].coco_classes == ("background", "cat", "dog")
    assert joined("--coco_classes", "[]", class_names=("cat",))[0].coco_classes == ("background", "cat")
    assert joined("--coco_classes", "cow", class_names=("cat",))[0].coco_classes == ("cow",)
    assert joined()[0].coco_classes == Config().coco_classes


def test_a_run_that_continues_keeps_its_list_of_classes():
    """The record of its data depends on it."""
    stored = {**MADE.to_dict(), "coco_classes": []}
    assert joined(stored=stored, roles=TO_CONTINUE)[0].coco_classes == ()
    assert joined("--coco_classes", "cat", stored=stored, roles=TO_CONTINUE)[0].coco_classes == ("cat",)


def test_a_part_of_the_settings_is_enough():
    cfg, _ = joined("--img_height", "512", stored={"backbone": "resnet34"})
    assert (cfg.backbone, cfg.img_height, cfg.img_width) == ("resnet34", 512, 1280)


def test_older_and_newer_checkpoints():
    older = {**Config().to_dict(), "mask_shape": [28, 28], "warmup_mode": "linear", "paste_integer_boxes": True}
    del older["paste"]
    assert joined(stored=older)[0].paste == "torchvision"
    with pytest.raises(
        ConfigError, match=r"^net\.ckpt has settings that this version does not understand: unknown key"
    ):
        joined(stored={**Config().to_dict(), "quantum_head": True})
