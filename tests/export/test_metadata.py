"""The metadata file: what is written is read, and what does not fit is refused in one line."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from maskrcnn.config import Config
from maskrcnn.errors import ExportError
from maskrcnn.export.metadata import Metadata, ModelFile, describe, metadata_path


@pytest.fixture
def metadata(tmp_path) -> Metadata:
    weights = tmp_path / "net.ckpt"
    weights.write_bytes(b"weights")
    cfg = Config(img_width=256, img_height=192, test_batch_size=3, mask_thr_binary=0.4, paste="mindspore_zoo")
    made = describe(cfg, ("ring", "square"), (3, 40), weights, 16)
    return replace(made, models=(ModelFile("net.onnx", 192, 256, 3, "0" * 64),))


def test_round_trip(metadata, tmp_path) -> None:
    metadata.write(tmp_path / "net.json")
    assert Metadata.read(tmp_path / "net.json") == metadata
    values = json.loads((tmp_path / "net.json").read_text())
    assert values["format"] == "maskrcnn-export-2" and values["models"][0]["file"] == "net.onnx"
    # printf weights | sha256sum
    assert values["weights_sha256"] == "9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c"


def test_settings_are_keys_of_the_configuration(metadata) -> None:
    cfg = Config().replace(**metadata.input_settings(), **metadata.pixel_settings())
    assert (cfg.img_height, cfg.img_width, cfg.test_batch_size) == (192, 256, 3)
    assert (cfg.mask_thr_binary, cfg.paste, cfg.keep_ratio) == (0.4, "mindspore_zoo", True)


@pytest.mark.parametrize(("integer_boxes", "rule"), [(False, "exact"), (True, "torchvision")])
def test_older_exports_are_read(metadata, tmp_path, integer_boxes: bool, rule: str) -> None:
    path = tmp_path / "net.json"
    metadata.write(path)
    values = json.loads(path.read_text())
    del values["paste"]
    path.write_text(json.dumps({**values, "format": "maskrcnn-export-1", "paste_integer_boxes": integer_boxes}))
    assert Metadata.read(path) == replace(metadata, paste=rule)


def test_formats_of_one_export_share_a_file(metadata) -> None:
    mindir = replace(metadata, models=(ModelFile("net.mindir", 192, 256, 3, "1" * 64),), opset=0)
    both = mindir.with_others(metadata)
    assert [model.file for model in both.models] == ["net.mindir", "net.onnx"] and both.opset == 16
    assert [model.file for model in both.of_format(".onnx")] == ["net.onnx"]
    newer = replace(metadata, models=(ModelFile("net.onnx", 192, 256, 3, "2" * 64),))
    assert newer.with_others(both).models == (*newer.models, *mindir.models)
    other_weights = replace(mindir, weights_sha256="f" * 64)
    assert other_weights.with_others(metadata) == other_weights
    assert mindir.with_others(None) == mindir


@pytest.mark.parametrize(
    "text, words",
    [
        (None, "is missing: export.py writes it beside the model"),
        ("{", "cannot be read as metadata"),
        ("[" * 100_000, "cannot be read as metadata"),
        ("[]", "is of format None"),
        ('{"format": "maskrcnn-export-9"}', "is of format 'maskrcnn-export-9'"),
        ('{"format": "maskrcnn-export-2", "models": []}', "is incomplete"),
        ('{"format": "maskrcnn-export-2", "models": [{"name": 1}]}', "is incomplete"),
    ],
)
def test_what_is_no_metadata(text, words, tmp_path) -> None:
    path = tmp_path / "net.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ExportError) as caught:
        Metadata.read(path)
    assert words in str(caught.value) and str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_metadata_lies_beside_the_model(tmp_path) -> None:
    assert metadata_path(tmp_path / "mask.rcnn.onnx") == tmp_path / "mask.rcnn.json"
