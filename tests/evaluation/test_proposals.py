"""Recall of proposals against its definition: IoU by hand, all classes taken for one."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tests.evaluation.oracle import Oracle, draw_data_set, settings

from maskrcnn.evaluation.evaluator import EvaluationOptions
from maskrcnn.evaluation.ground_truth import load_ground_truth
from maskrcnn.evaluation.proposals import evaluate_proposals, proposal_recall
from maskrcnn.evaluation.report import proposal_table


@pytest.fixture
def shapes(tmp_path):
    ann_file = draw_data_set(tmp_path)
    truth = load_ground_truth(ann_file)
    return truth, truth.find_classes(truth.class_names), json.loads(ann_file.read_text()), tmp_path / "images"


def objects(truth) -> list[dict]:
    return [entry for entry in truth.annotations if not entry["iscrowd"]]


def test_recall_is_the_share_of_objects_at_each_threshold(shapes) -> None:
    """Object k is proposed with an IoU of 0.5 + 0.04 k or so, which is the ratio of the widths."""
    truth, classes, _, _ = shapes
    ratios, records = [], []
    for k, entry in enumerate(objects(truth)):
        x, y, w, h = entry["bbox"]
        ratios.append(0.5 + 0.04 * (k % 13))
        proposal = {"image_id": entry["image_id"], "bbox": [x, y, w * ratios[-1] + 1e-9, h], "score": 0.5}
        records.append(proposal)
    ids = [image["id"] for image in truth.images]
    stats = proposal_recall(truth, records, classes, ids)
    thresholds = np.linspace(0.5, 0.95, 10)
    assert stats["AR@100"] == stats["AR@1000"] == pytest.approx(np.mean([[r >= t for r in ratios] for t in thresholds]))
    assert list(stats) == ["AR@100", "AR@300", "AR@1000", "ARs@1000", "ARm@1000", "ARl@1000"]
    assert "maxDets= 300 ] =" in proposal_table(stats)


def test_only_the_best_proposals_count(shapes) -> None:
    """Every object is hit by the 201st proposal of its image."""
    truth, classes, _, _ = shapes
    records = []
    for image in truth.images:
        records += [{"image_id": image["id"], "bbox": [200 + n, 300, 1, 1], "score": 1 - n / 1000} for n in range(200)]
    records += [{"image_id": e["image_id"], "bbox": e["bbox"], "score": 0.1} for e in objects(truth)]
    stats = proposal_recall(truth, records, classes, [image["id"] for image in truth.images])
    assert (stats["AR@100"], stats["AR@300"]) == (0, 1)


def test_from_images_to_recall(shapes) -> None:
    """The oracle's boxes as proposals, scaled from the canvas to the images, on both canvases."""
    truth, classes, content, folder = shapes
    oracle = Oracle(content, folder)

    def proposer(image, image_shape):
        found = oracle(image, image_shape)
        return found._replace(labels=np.ones_like(found.labels), masks=np.zeros((*found.valid.shape, 0, 0), np.float32))

    stats = evaluate_proposals(proposer, truth, folder, classes, settings(), EvaluationOptions(progress=False))
    assert stats["AR@100"] == stats["ARs@1000"] == 1
