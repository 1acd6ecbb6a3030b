"""Checkpoints and exported models, opened alike: classes, settings, and what a user may override."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.evaluation.oracle import draw_data_set
from tests.inference.test_exported import write_constant_model

from maskrcnn.checkpoint.format import save_checkpoint
from maskrcnn.commands.evaluate import main
from maskrcnn.config import Config, load_config
from maskrcnn.errors import CheckpointError, ConfigError
from maskrcnn.export.metadata import Metadata, ModelFile, describe
from maskrcnn.files import sha256
from maskrcnn.inference.open import model_file, needs_mindspore, open_model, read_checkpoint

ROOT = Path(__file__).resolve().parents[2]
ZOO = str(ROOT / "configs" / "mindspore_zoo.yaml")
NAMES = ("ring", "ellipse", "spare")


def write_export(folder: Path, **keys) -> Path:
    """An ONNX model with a fixed detection, and metadata of the configuration's ``keys``."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "net.onnx"
    write_constant_model(path, 64, 128, 0.75)
    cfg = Config(img_width=128, img_height=64, **keys)
    metadata = describe(cfg, NAMES, (3, 7, 40), path, 13)
    replace(metadata, models=(ModelFile(path.name, 64, 128, 1, sha256(path)),)).write(path.with_suffix(".json"))
    return path


@pytest.mark.parametrize("rule", ["exact", "torchvision", "mindspore_zoo"])
@pytest.mark.parametrize("argv", [[], ["--img_width", "640", "--test_batch_size", "4"]])
def test_an_exported_model_brings_its_settings(tmp_path, rule: str, argv: list[str]) -> None:
    path = write_export(tmp_path, paste=rule, mask_thr_binary=0.25, keep_ratio=False)
    model = open_model(load_config(["--model", str(path), *argv]))
    settings = model.settings
    assert (settings.paste, settings.mask_threshold, settings.keep_ratio) == (rule, 0.25, False)
    assert (settings.img_height, settings.img_width, settings.batch_size) == (64, 128, 1)  # those of its input
    assert not settings.both_canvases and not model.notes
    assert (model.class_names, model.category_ids) == (NAMES, (3, 7, 40))


def test_settings_that_a_user_gives_win_and_are_told(tmp_path) -> None:
    path = write_export(tmp_path, paste="mindspore_zoo")
    model = open_model(load_config(["--model", str(path), "--paste", "exact", "--mask_thr_binary", "0.5"]))
    assert model.settings.paste == "exact"
    assert model.notes == (f"paste is 'exact' (--paste), not 'mindspore_zoo' as in {path}",)


def test_a_model_of_the_zoo_is_pasted_the_same_with_its_configuration_and_without(tmp_path, capsys) -> None:
    """By eval.py, from the command line to segm.json."""
    ann_file = draw_data_set(tmp_path)
    model = write_export(tmp_path / "zoo", paste="mindspore_zoo", inclusive_boxes=True)
    other = write_export(tmp_path / "other")
    masks = {}
    for name, argv in (
        ("alone", ["--model", str(model)]),
        ("with its configuration", ["--model", str(model), "--config_path", ZOO]),
        ("another rule", ["--model", str(other)]),
    ):
        where = ["--ann_file", str(ann_file), "--image_dir", str(tmp_path / "images"), "--eval_pictures", "0"]
        main([*argv, *where, "--eval_output", str(tmp_path / "out")], defaults=ROOT / "default_config.yaml")
        masks[name] = json.loads((tmp_path / "out" / "segm.json").read_text())
    assert len(masks["alone"]) == 7 and "note:" not in capsys.readouterr().out
    assert masks["alone"] == masks["with its configuration"] != masks["another rule"]


def checkpoint(folder: Path, **meta) -> Path:
    save_checkpoint(folder / "net.ckpt", [("weight", np.zeros(3, np.float32))], meta)
    return folder / "net.ckpt"


def test_a_checkpoint_knows_its_classes_and_settings(tmp_path) -> None:
    made = Config(backbone="resnet18", img_width=512, paste="torchvision")
    path = checkpoint(tmp_path, class_names=NAMES, category_ids=[3, 7, 40], config=made.to_dict())
    content = read_checkpoint(load_config([]), path)
    assert (content.class_names, content.category_ids, content.notes) == (NAMES, (3, 7, 40), ())
    assert (content.cfg.backbone, content.cfg.img_width, content.cfg.paste) == ("resnet18", 512, "torchvision")
    content = read_checkpoint(load_config(["--paste", "exact", "--coco_classes", "[]"]), path)
    assert content.cfg.paste == "exact" and len(content.notes) == 1 and content.class_names == NAMES
    with pytest.raises(ConfigError, match=r"backbone is 'resnet50' .* was made with 'resnet18': remove it"):
        read_checkpoint(load_config(["--backbone", "resnet50"]), path)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ("[ring, square, spare]", "class 2 is 'ellipse' instead of 'square'"),
        ("[background, ring, ellipse]", "3 classes instead of 2"),
        ("[ellipse, ring, spare]", "class 1 is 'ring' instead of 'ellipse'"),
    ],
)
def test_other_classes_than_the_checkpoint_s_are_refused(tmp_path, names: str, words: str) -> None:
    path = checkpoint(tmp_path, class_names=NAMES)
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(load_config(["--coco_classes", names]), path)
    assert words in str(caught.value) and "leave coco_classes out" in str(caught.value)
    assert "\n" not in str(caught.value)
    exported = write_export(tmp_path / "exported")
    with pytest.raises(CheckpointError, match="leave coco_classes out"):
        open_model(load_config(["--model", str(exported), "--coco_classes", names]))
    same = load_config(["--coco_classes", "[background, ring, ellipse, spare]"])
    assert read_checkpoint(same, path).class_names == NAMES


def test_a_checkpoint_without_class_names(tmp_path) -> None:
    path = checkpoint(tmp_path)
    assert read_checkpoint(load_config(["--coco_classes", "[background, a, b]"]), path).class_names == ("a", "b")
    assert len(read_checkpoint(load_config([]), path).class_names) == 80
    nameless = load_config(["--coco_classes", "[]"])
    content = read_checkpoint(nameless, path, unnamed=("background", "b"))  # categories of a file, both of them classes
    assert content.class_names == ("background", "b") and content.category_ids is None
    with pytest.raises(CheckpointError, match="does not say its class names: name them with --coco_classes"):
        read_checkpoint(nameless, path)


def test_a_class_called_background_is_a_class(tmp_path) -> None:
    path = checkpoint(tmp_path, class_names=["background", "ring"])
    assert read_checkpoint(load_config([]), path).class_names == ("background", "ring")


def test_which_file_is_meant(tmp_path) -> None:
    path = write_export(tmp_path)
    assert model_file(Config(model=str(path))) == path and not needs_mindspore(path)
    assert needs_mindspore(Path("a.ckpt")) and needs_mindspore(Path("a.mindir"))
    with pytest.raises(ConfigError, match="name one of them"):
        model_file(Config(model=str(path), checkpoint_path="a.ckpt"))
    with pytest.raises(CheckpointError, match=r"checkpoint .*none\.ckpt does not exist"):
        model_file(Config(checkpoint_path=str(tmp_path / "none.ckpt")))


def test_metadata_of_an_older_export_is_read(tmp_path) -> None:
    path = write_export(tmp_path, paste="torchvision")
    values = json.loads(path.with_suffix(".json").read_text())
    del values["paste"]
    older = {**values, "format": "maskrcnn-export-1", "paste_integer_boxes": True}
    path.with_suffix(".json").write_text(json.dumps(older))
    assert Metadata.read(path.with_suffix(".json")).paste == "torchvision"
    assert open_model(load_config(["--model", str(path)])).settings.paste == "torchvision"
