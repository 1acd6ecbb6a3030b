"""eval.py on two processes: each has the real network and evaluates its own images."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.distributed.test_training import free_port
from tests.e2e.test_eval_cli import NAMES, ROOT, flags
from tests.evaluation.oracle import draw_data_set

from maskrcnn.checkpoint.format import save_checkpoint
from maskrcnn.config import load_config
from maskrcnn.evaluation.ground_truth import load_ground_truth
from maskrcnn.evaluation.metrics import compute_metrics
from maskrcnn.models.build import build_network


def evaluate(made: Path, annotations: Path, out: Path, *launcher: str) -> dict:
    """metrics.json of a run; the files are in ``out``."""
    settings = {"ann_file": annotations, "image_dir": made / "images", "checkpoint_path": made / "net.ckpt"}
    command = [sys.executable, *launcher, str(ROOT / "eval.py"), *flags(**settings, eval_output=out, eval_pictures=0)]
    done = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((out / "metrics.json").read_text())


def annotate(found: Path, annotations: Path, made: Path) -> None:
    """Annotations of which the network finds some: every third of its own objects, a little off, as truth."""
    content = json.loads((made / "annotations.json").read_text())
    boxes, masks = (json.loads((found / f"{kind}.json").read_text()) for kind in ("bbox", "segm"))
    content["annotations"] = []
    for number, (record, mask) in enumerate(zip(boxes, masks), start=1):
        x, y, w, h = record["bbox"]
        if number % 3 == 0 and w >= 4 and h >= 4:
            truth = {"id": number, "iscrowd": 0, "bbox": [x, y, 0.9 * w, 0.9 * h], "area": 0.8 * w * h}
            same = {key: record[key] for key in ("image_id", "category_id")}
            content["annotations"].append({**truth, **same, "segmentation": mask["segmentation"]})
    annotations.write_text(json.dumps(content))


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Seven images and an untrained network."""
    folder = tmp_path_factory.mktemp("evaluation")
    draw_data_set(folder)
    net = build_network(load_config(flags()), len(NAMES) + 1)
    parameters = [(name, parameter.asnumpy()) for name, parameter in net.parameters_and_names()]
    save_checkpoint(folder / "net.ckpt", parameters, {"class_names": NAMES, "category_ids": [3, 7, 40]})
    return folder


def test_two_processes_have_the_ap_of_one(made, tmp_path):
    """To the last digit, and with the same files."""
    one, two, annotations = tmp_path / "one", tmp_path / "two", tmp_path / "annotations.json"
    alone = evaluate(made, made / "annotations.json", one)
    annotate(one, annotations, made)
    truth = load_ground_truth(annotations)
    records = {kind: json.loads((one / f"{kind}.json").read_text()) for kind in ("bbox", "segm")}
    image_ids = [image["id"] for image in truth.images]
    expected = compute_metrics(truth, records, truth.find_classes(NAMES).category_ids, image_ids)
    options = ["--workers", "2", "--master_port", str(free_port()), "--log_dir", str(tmp_path / "logs")]
    found = evaluate(made, annotations, two, "-m", "maskrcnn.launch", *options)
    for kind, metrics in expected.items():
        assert found[kind] == metrics.with_aliases() and 0.01 < metrics.stats["AP"] < 0.99
    assert (found["images"], found["skipped"]) == (alone["images"], alone["skipped"]) == (7, [])
    for name in ("bbox.json", "segm.json"):
        assert (two / name).read_bytes() == (one / name).read_bytes()
    shares = [(tmp_path / "logs" / f"worker_{rank}.log").read_text().count("Average Precision") for rank in (0, 1)]
    assert shares[0] > 0 == shares[1]  # rank 0 alone scores
