"""eval.py, predict.py and postprocess.py as a user runs them, on an untrained network."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
from tests.evaluation.oracle import draw_data_set

ROOT = Path(__file__).resolve().parents[2]
NAMES = ["ring", "ellipse", "spare"]  # the categories of the data set, by id
TINY = {
    "backbone": "resnet18", "norm": "gn", "freeze_at": 0, "fpn_out_channels": 32, "rpn_feat_channels": 32,
    "rcnn_fc_out_channels": 64, "rcnn_mask_num_layers": 1, "rcnn_mask_out_channels": 32, "img_width": 192,
    "img_height": 128, "coco_classes": "[]", "rpn_nms_pre": 50, "rpn_nms_post": 50, "rpn_max_num": 50,
    "test_nms_pre": 50, "test_max_per_img": 20, "test_score_thr": 0.0, "test_batch_size": 2,
    "picture_score_thr": 0.0, "eval_pictures": 2,
}  # fmt: skip


def flags(**values) -> list[str]:
    return [text for key, value in {**TINY, **values}.items() for text in (f"--{key}", str(value))]


def call(script: str, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / script), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A folder with a data set and the checkpoint of an untrained network."""
    from maskrcnn.checkpoint.format import save_checkpoint
    from maskrcnn.config import load_config
    from maskrcnn.models.build import build_network

    folder = tmp_path_factory.mktemp("cli")
    draw_data_set(folder)
    net = build_network(load_config(flags()), len(NAMES) + 1)
    params = [(name, parameter.asnumpy()) for name, parameter in net.parameters_and_names()]
    save_checkpoint(folder / "net.ckpt", params, {"class_names": NAMES, "category_ids": [3, 7, 40]})
    return folder


def test_evaluate_then_postprocess(made, tmp_path) -> None:
    where = {"ann_file": made / "annotations.json", "image_dir": made / "images"}
    out = tmp_path / "eval"
    done = call("eval.py", *flags(**where, checkpoint_path=made / "net.ckpt", eval_output=out))
    assert done.returncode == 0, done.stderr
    assert "Evaluate annotation type *bbox*" in done.stdout and "Speed: network" in done.stdout
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["images"] == 7 and len(metrics["segm"]) == 24
    bbox, segm = (json.loads((out / f"{kind}.json").read_text()) for kind in ("bbox", "segm"))
    assert len(bbox) == len(segm) > 0
    assert {record["category_id"] for record in bbox} <= {3, 7, 40}
    assert len(list((out / "pictures").iterdir())) == 2

    again = call(
        "postprocess.py", str(out / "bbox.json"), str(out / "segm.json"),
        *flags(ann_file=where["ann_file"], log_dir=tmp_path),
    )  # fmt: skip
    assert again.returncode == 0, again.stderr
    assert again.stdout.rstrip() in done.stdout and (tmp_path / "acc.log").is_file()


def test_predict(made, tmp_path) -> None:
    out = tmp_path / "predictions"
    done = call("predict.py", str(made / "images"), *flags(checkpoint_path=made / "net.ckpt", predict_output=out))
    assert done.returncode == 0, done.stderr
    images = json.loads((out / "predictions.json").read_text())["images"]
    assert len(images) == 7 and f"in 7 images, written to {out}" in done.stdout
    assert {d["class"] for image in images for d in image["detections"]} <= set(NAMES)
    assert all(cv2.imread(str(out / image["picture"])) is not None for image in images)


def test_errors_are_one_line(made, tmp_path) -> None:
    where = {"ann_file": made / "annotations.json", "image_dir": made / "images"}
    done = call("eval.py", *flags(**where, checkpoint_path=made / "net.ckpt", coco_classes="[ring, square, spare]"))
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert "class 2 is 'ellipse' instead of 'square'" in done.stderr and "Traceback" not in done.stderr
    done = call("eval.py", *flags(checkpoint_path=made / "net.ckpt", coco_root=tmp_path))
    assert done.returncode == 2 and "no image folder" in done.stderr
