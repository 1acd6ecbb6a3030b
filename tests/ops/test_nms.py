"""Suppression against the float64 twins, hand-made cases and torchvision's proposals."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.graph import Compiled

from maskrcnn.ops import nms, reference

THRESHOLD = 0.5
N = 120

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def suppress():
    return Compiled(nms.nms_mask, iou_threshold=THRESHOLD)


@pytest.fixture(scope="module")
def suppress_classes():
    return Compiled(nms.class_aware_nms_mask, iou_threshold=THRESHOLD, extent=200)


def crowded_boxes(seed: int, n: int = N) -> np.ndarray:
    """Boxes within [0, 200] around a few centres, so that most of them have rivals."""
    rng = np.random.default_rng(seed)
    centre = rng.uniform(40, 160, (8, 2))[rng.integers(0, 8, n)] + rng.normal(0, 4, (n, 2))
    half = rng.uniform(8, 20, (n, 2))
    return np.clip(np.concatenate([centre - half, centre + half], 1), 0, 200).astype(np.float32)


@pytest.mark.parametrize("seed", range(3))
def test_equals_the_twin(suppress, seed):
    boxes = crowded_boxes(seed)
    valid = np.random.default_rng(seed).random(N) < 0.8
    found = suppress(boxes, valid)
    assert found.dtype == bool
    assert (found == reference.nms_mask(boxes, valid, THRESHOLD)).all()
    assert 5 < found.sum() < valid.sum()


def test_first_comes_first(suppress):
    """The order is the argument's, so equal boxes (ties of any kind) leave the first valid one."""
    boxes = np.tile(np.array([[10, 10, 50, 60]], np.float32), (N, 1))
    valid = np.ones(N, bool)
    valid[:3] = False
    found = suppress(boxes, valid)
    assert np.flatnonzero(found).tolist() == [3]


def test_nothing_valid(suppress):
    assert not suppress(crowded_boxes(0), np.zeros(N, bool)).any()


def test_invalid_boxes_do_not_suppress(suppress):
    boxes = crowded_boxes(1)
    valid = np.arange(N) >= N // 2
    boxes[: N // 2] = boxes[N // 2 :]
    found = suppress(boxes, valid)
    assert found.any()
    assert (found == reference.nms_mask(boxes, valid, THRESHOLD)).all()
    boxes[: N // 2] = np.nan  # what an invalid slot holds does not matter
    assert (suppress(boxes, valid) == found).all()


def test_empty_boxes_survive_and_suppress_nothing(suppress):
    boxes = np.zeros((N, 4), np.float32)
    boxes[1::2] = [3, 4, 3, 20]
    boxes[-1] = [0, 0, 30, 30]
    assert suppress(boxes, np.ones(N, bool)).all()
    assert reference.nms_mask(boxes, np.ones(N, bool), THRESHOLD).all()


def test_survivors_alone_suppress():
    """b falls to a; c overlaps b alone, and stays. Equality with the threshold is no reason to fall."""
    boxes = np.array([[0, 0, 10, 10], [0, 4, 10, 14], [0, 8, 10, 18], [20, 0, 30, 10], [20, 0, 30, 5]], np.float32)
    valid = np.ones(5, bool)
    found = Compiled(nms.nms_mask, iou_threshold=0.4)(boxes, valid)
    assert found.tolist() == [True, False, True, True, False]
    assert reference.nms_mask(boxes, valid, 0.4).tolist() == found.tolist()
    exact = Compiled(nms.nms_mask, iou_threshold=0.5)(boxes, valid)
    assert exact.tolist() == [True] * 5
    assert reference.nms_mask(boxes, valid, 0.5).tolist() == exact.tolist()


@pytest.mark.parametrize("classes", [1, 3, 90])
def test_classes_do_not_meet(suppress_classes, classes):
    boxes = crowded_boxes(4)
    rng = np.random.default_rng(classes)
    labels = rng.integers(1, classes + 1, N)
    valid = rng.random(N) < 0.9
    found = suppress_classes(boxes, labels, valid)
    assert (found == reference.class_aware_nms_mask(boxes, labels, valid, THRESHOLD)).all()
    for label in np.unique(labels):
        own = labels == label
        assert (found[own] == reference.nms_mask(boxes[own], valid[own], THRESHOLD)).all()


def test_same_box_in_every_class(suppress_classes):
    """The box as large as the image is the one that comes closest to those of other classes."""
    boxes = np.tile(np.array([[0, 0, 200, 200]], np.float32), (N, 1))
    labels = np.arange(N)
    assert suppress_classes(boxes, labels, np.ones(N, bool)).all()
    assert suppress_classes(boxes, labels % 60, np.ones(N, bool)).sum() == 60


def test_proposals_of_torchvision(parity_file):
    """300 anchors a level, threshold 0.7, 80 survivors of the whole image: boxes taken from its own maps."""
    fixture = np.load(parity_file)
    anchors, starts = fixture["eval/anchors"], np.cumsum(fixture["eval/anchors_per_level"])[:-1]
    coder = reference.BoxCoder((0.0,) * 4, (1.0,) * 4, "continuous")
    run = {}
    for image, part in ((0, slice(0, 80)), (1, slice(80, 160))):
        height, width = fixture["input/image_sizes_hw"][image]
        boxes, scores = [], []
        for level, base in enumerate(np.split(anchors, starts)):
            logits = fixture[f"eval/rpn_objectness_P{level + 2}"][image].transpose(1, 2, 0).reshape(-1)
            deltas = fixture[f"eval/rpn_deltas_P{level + 2}"][image]
            deltas = deltas.reshape(3, 4, *deltas.shape[1:]).transpose(2, 3, 0, 1).reshape(-1, 4)
            best = np.argsort(-logits, kind="stable")[:300]
            decoded = coder.clip(coder.decode(deltas[best], base[best]), height, width)
            valid = (decoded[:, 2:] - decoded[:, :2] >= 1e-3).all(1)
            keep = reference.nms_mask(decoded, valid, 0.7)
            run.setdefault(len(best), Compiled(nms.nms_mask, iou_threshold=0.7))
            assert (run[len(best)](decoded, valid) == keep).all()
            boxes.append(decoded[keep])
            scores.append(1 / (1 + np.exp(-logits[best][keep].astype(np.float64))))
        order = np.argsort(-np.concatenate(scores), kind="stable")[:80]
        np.testing.assert_allclose(np.concatenate(scores)[order], fixture["eval/proposal_scores"][part], atol=1e-5)
        np.testing.assert_allclose(np.concatenate(boxes)[order], fixture["eval/proposals"][part], atol=1e-3)


def test_compiles_without_a_warning_of_lost_side_effects(tmp_path):
    """MindSpore takes outputs that are unpacked and not used for side effects "eliminated by mistake"."""
    code = """
import numpy as np, mindspore as ms
from maskrcnn.ops.nms import nms_mask
ms.set_context(mode=ms.GRAPH_MODE)
class Net(ms.nn.Cell):
    def construct(self, boxes, valid):
        return nms_mask(boxes, valid, 0.5)
print(Net()(ms.Tensor(np.float32([[0, 0, 2, 2], [0, 0, 2, 2]])), ms.Tensor([True, True])))
"""
    environment = {**os.environ, "GLOG_v": "2", "PYTHONPATH": str(ROOT / "src")}
    (tmp_path / "program.py").write_text(code)  # MindSpore compiles from source files
    command = [sys.executable, str(tmp_path / "program.py")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert "[ True False]" in done.stdout and "eliminated by mistake" not in done.stdout + done.stderr
