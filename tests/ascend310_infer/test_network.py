"""A real, small network through the app: MindSpore in Python record by record, OpenVINO detection by detection."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from tests.ascend310_infer.samples import records_of_python
from tests.evaluation.oracle import draw_data_set
from tests.export.networks import SMALL, set_weights, small_config

from maskrcnn.convert.reading import read_weights
from maskrcnn.export.exporter import export_weights

pytestmark = pytest.mark.slow
NAMES = ["ring", "ellipse", "spare"]


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a data set and with net.onnx and net.mindir for both canvases."""
    from maskrcnn.checkpoint.format import save_checkpoint
    from maskrcnn.models.build import build_network

    folder = tmp_path_factory.mktemp("network")
    draw_data_set(folder)
    network = build_network(small_config(), len(NAMES) + 1)
    set_weights(network)
    params = [(name, parameter.asnumpy()) for name, parameter in network.parameters_and_names()]
    save_checkpoint(folder / "net.ckpt", params, {"class_names": NAMES, "category_ids": [3, 7, 40]})
    settings = {**SMALL, "ckpt_file": str(folder / "net.ckpt"), "file_name": str(folder / "net"), "both_canvases": True}
    for file_format in ("ONNX", "MINDIR"):
        cfg = type(small_config()).from_dict({**settings, "file_format": file_format})
        export_weights(read_weights(folder / "net.ckpt"), cfg, NAMES, [3, 7, 40])
    return folder


def in_python(model: Path, images: int, output: Path) -> dict[str, list[dict[str, Any]]]:
    return records_of_python(model, model.parent / "annotations.json", model.parent / "images", output, images)


def in_the_app(build: Path, model: Path, images: int, output: Path) -> dict[str, list[dict[str, Any]]]:
    command = [build / "maskrcnn_infer", "--model", model, "--image_dir", model.parent / "images"]
    command += ["--ann_file", model.parent / "annotations.json", "--output", output, "--eval_images", str(images)]
    result = subprocess.run(command, capture_output=True, text=True)
    if "this build has no engine" in result.stderr:
        pytest.skip(result.stderr.strip())
    assert result.returncode == 0, result.stderr
    return {kind: json.loads((output / f"{kind}.json").read_text()) for kind in ("bbox", "segm")}


def test_mindspore_in_the_app_gives_exactly_pythons_records(exports: Path, release_build: Path, tmp_path: Path) -> None:
    found = in_the_app(release_build, exports / "net.mindir", 4, tmp_path)
    assert len(found["bbox"]) > 40
    assert found == in_python(exports / "net.mindir", 4, tmp_path / "python")


def test_openvino_finds_every_detection_of_mindspore(exports: Path, release_build: Path, tmp_path: Path) -> None:
    found = in_the_app(release_build, exports / "net.onnx", 0, tmp_path)
    expected = in_python(exports / "net.mindir", 0, tmp_path / "python")
    assert len(found["bbox"]) == len(expected["bbox"]) > 100
    for box, mask in zip(expected["bbox"], expected["segm"]):
        same = [
            index
            for index, other in enumerate(found["bbox"])
            if (other["image_id"], other["category_id"]) == (box["image_id"], box["category_id"])
        ]
        boxes = np.array([found["bbox"][index]["bbox"] for index in same])
        overlaps = coco_mask.iou(np.array([box["bbox"]]), boxes, [0] * len(same))[0]
        nearest = same[int(overlaps.argmax())]
        assert overlaps.max() >= 0.99, box
        assert found["bbox"][nearest]["score"] == pytest.approx(box["score"], abs=1e-4)
        masks = [mask["segmentation"], found["segm"][nearest]["segmentation"]]
        areas = coco_mask.area(masks)
        assert areas.max() < 20 or coco_mask.iou(masks[:1], masks[1:], [0])[0, 0] >= 0.99
