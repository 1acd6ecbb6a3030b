"""train.py at a small size, for the tests that run it as a user does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
STEPS = 6  # 3 epochs of 2 batches with 2 images each

SMALL = {
    "img_width": 128,
    "img_height": 64,
    "backbone": "resnet18",
    "backbone_width": 32,
    "norm": "gn",
    "freeze_at": 0,
    "fpn_out_channels": 32,
    "rpn_feat_channels": 32,
    "rcnn_fc_out_channels": 32,
    "rcnn_mask_out_channels": 32,
    "rcnn_mask_num_layers": 1,
    "rpn_proposal_nms_pre": 20,
    "rpn_proposal_nms_post": 20,
    "rpn_proposal_max_num": 20,
    "num_expected_total_stage2": 16,
    "num_expected_pos_stage2": 4,
    "mask_roi_num": 4,
    "max_instance_count": 8,
    "warmup_step": 2,
    "epoch_size": 3,
    "save_checkpoint_steps": 1,
    "keep_checkpoint_max": 3,
    "coco_classes": "[]",
}


def make_data(root: Path) -> None:
    """Four photographs' worth of noise with a bright box each, in COCO format."""
    (root / "train2017").mkdir()
    (root / "annotations").mkdir()
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for i in range(1, 5):
        picture = rng.integers(0, 120, (60, 120, 3), dtype=np.uint8)
        x, y, w, h = 10 * i, 5 * i, 40, 30
        picture[y : y + h, x : x + w] += 100
        cv2.imwrite(str(root / "train2017" / f"{i}.jpg"), picture)
        images.append({"id": i, "file_name": f"{i}.jpg", "width": 120, "height": 60})
        corners = [x, y, x + w, y, x + w, y + h, x, y + h]
        annotation = {"id": i, "image_id": i, "category_id": 3, "iscrowd": 0, "area": w * h}
        annotations.append({**annotation, "bbox": [x, y, w, h], "segmentation": [corners]})
    content = {"images": images, "annotations": annotations, "categories": [{"id": 3, "name": "box"}]}
    (root / "annotations" / "instances_train2017.json").write_text(json.dumps(content))


def arguments(data: Path, folder: Path, **settings: object) -> list[str]:
    """The command line of a run that leaves everything in ``folder``."""
    paths = {"coco_root": data, "save_checkpoint_path": folder / "checkpoint", "log_dir": folder / "log"}
    paths["eval_output"] = folder / "eval"
    return [text for key, value in {**SMALL, **paths, **settings}.items() for text in (f"--{key}", str(value))]


def start(data: Path, folder: Path, **settings: object) -> subprocess.Popen:
    """train.py in another process and folder, both its outputs in one pipe."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    return subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), *arguments(data, folder, **settings)],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen) -> str:
    """What the rest of a run prints; it must end well."""
    output = rest_of(process)
    assert process.returncode == 0, output
    return output


def rest_of(process: subprocess.Popen, limit: float = 900) -> str:
    """What a run prints until it ends; it is killed after ``limit`` seconds, far more than a busy machine needs."""
    try:
        return process.communicate(timeout=limit)[0]
    finally:
        process.kill()
