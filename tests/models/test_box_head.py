"""The box head's layers, losses and final detections against float64 numpy and torchvision."""

from __future__ import annotations

import numpy as np
import pytest
from tests.graph import Compiled, Gradient, randomise
from tests.models import oracle
from tests.models.parts import BOX_CODER, detection, make_box_head, make_pool

from maskrcnn.ops import reference

R, SIZE, IN, CHANNELS, CLASSES = 12, 2, 3, 7, 4
TWIN = reference.BoxCoder(BOX_CODER.means, BOX_CODER.stds, BOX_CODER.convention)


@pytest.fixture(scope="module")
def head():
    return make_box_head(make_pool(SIZE), IN, CHANNELS, 2, CLASSES)


def make_boxes(rng: np.random.Generator, n: int, extent: float = 100.0) -> np.ndarray:
    corner = rng.uniform(0, extent * 0.7, (n, 2))
    return np.concatenate([corner, corner + rng.uniform(5, extent * 0.3, (n, 2))], 1).astype(np.float32)


def test_layers(head):
    point = randomise(head, 0)
    features = np.random.default_rng(1).normal(size=(R, SIZE * SIZE, IN))
    logits, deltas = Compiled(head)(features)
    x = features.reshape(R, -1)
    for i in range(2):
        x = oracle.relu(x @ point[f"fc.{i}.weight"].T + point[f"fc.{i}.bias"])
    np.testing.assert_allclose(logits, x @ point["cls_score.weight"].T + point["cls_score.bias"], atol=1e-4)
    expected = (x @ point["bbox_pred.weight"].T + point["bbox_pred.bias"]).reshape(R, CLASSES, 4)
    np.testing.assert_allclose(deltas, expected, atol=1e-4)


def loss_case(seed: int):
    """RoIs near their ground truth; labels 0 to 3, the last ones' slots empty and full of rubbish."""
    rng = np.random.default_rng(seed)
    boxes = make_boxes(rng, R)
    matched = boxes + rng.normal(0, 2, (R, 4)).astype(np.float32)
    labels = rng.integers(0, CLASSES, R)
    labels[:3] = [0, 1, 3]
    valid = np.arange(R) < R - 3
    boxes[-3:], matched[-3:], labels[-3:] = 0, [[0, 0, 1e6, 1e6], [0, 0, 0, 0], [-5, 3, 1e-7, 9]], [0, 0, 2]
    return rng.normal(size=(R, CLASSES)), rng.normal(size=(R, CLASSES, 4)), boxes, labels, valid, matched


def losses_by_hand(point, case, beta: float) -> tuple[float, float]:
    _, _, boxes, labels, valid, matched = case
    used = np.flatnonzero(valid)
    probability = oracle.softmax(point["logits"])
    classification = -np.log(probability[used, labels[used]]).sum() / len(used)
    regression = 0.0
    for r in used[labels[used] > 0]:
        target = TWIN.encode(matched[r], boxes[r])
        regression += oracle.smooth_l1(point["deltas"][r, labels[r]] - target, beta).sum() / len(used)
    return classification, regression


@pytest.mark.parametrize("beta", [1.0, 1 / 9, 0.0])
def test_losses(beta):
    case = loss_case(2)
    head = make_box_head(make_pool(SIZE), IN, CHANNELS, 1, CLASSES, beta=beta)
    weights = np.array([0.7, 1.3])
    value, (by_logits, by_deltas) = Gradient(head.losses, inputs=2)(
        *case, np.float32(R - 3), cotangents=list(np.float32(weights))
    )
    point = {"logits": case[0], "deltas": case[1]}
    assert value == pytest.approx(weights @ losses_by_hand(point, case, beta), rel=1e-4)

    def weighted(at):
        return weights @ losses_by_hand(at, case, beta)

    gradients = {"logits": by_logits, "deltas": by_deltas}
    oracle.check_gradients(weighted, point, gradients, np.random.default_rng(3))
    assert (by_logits[~case[4]] == 0).all() and (by_deltas[~case[4]] == 0).all()
    assert (by_deltas[case[3] == 0] == 0).all()


def test_losses_without_foreground_and_without_anything(head):
    logits, deltas, boxes, _, valid, matched = loss_case(4)
    run = Compiled(head.losses)
    none = np.zeros(R, np.int32)
    classification, regression = run(logits, deltas, boxes, none, valid, matched, np.float32(R - 3))
    assert classification > 0 and regression == 0
    classification, regression = run(logits, deltas, boxes, none, np.zeros(R, bool), matched, np.float32(1))
    assert classification == 0 and regression == 0


def detect_by_hand(logits, deltas, boxes, valid, image_shape, score_thr, nms_thr, most):
    """Class by class, on all candidates: lists of (score, label, box), best first."""
    probability = oracle.softmax(logits)
    found = []
    for label in range(1, logits.shape[1]):
        own = TWIN.decode(deltas[:, label], boxes)
        own = TWIN.clip(own, *image_shape)
        order = np.argsort(-probability[:, label], kind="stable")
        passed = (probability[order, label] > score_thr) & valid[order]
        keep = reference.nms_mask(own[order], passed, nms_thr)
        found += [(probability[r, label], label, own[r]) for r in order[keep]]
    return sorted(found, key=lambda one: -one[0])[:most]


def detect_with(score_thr: float = 0.05, **changes) -> Compiled:
    """Detections of one image with these settings."""
    chosen = detection(score_thr, **{"max_per_img": 15, **changes})
    head = make_box_head(make_pool(SIZE), IN, CHANNELS, 1, CLASSES, detection=chosen)
    return Compiled(head.detect_in_image, extent=128)


@pytest.fixture(scope="module")
def crowd_of_proposals():
    rng = np.random.default_rng(5)
    boxes = make_boxes(rng, 6)[rng.integers(0, 6, 60)] + rng.normal(0, 2, (60, 4)).astype(np.float32)
    logits, deltas = rng.normal(0, 2, (60, CLASSES)), rng.normal(0, 0.5, (60, CLASSES, 4))
    return logits, deltas, boxes, rng.random(60) < 0.9, np.array([80.0, 90.0])


@pytest.mark.parametrize("most", [15, 500])
def test_detections(crowd_of_proposals, most):
    boxes, scores, labels, valid = detect_with(max_per_img=most)(*crowd_of_proposals)
    expected = detect_by_hand(*crowd_of_proposals, 0.05, 0.5, most)
    assert len(boxes) == min(most, 60 * (CLASSES - 1))
    assert valid.sum() == len(expected) and valid[: len(expected)].all()
    assert len(expected) == 15 or (most == 500 and len(expected) > 15)
    n = len(expected)
    np.testing.assert_allclose(scores[:n], [one[0] for one in expected], atol=1e-5)
    assert labels[:n].tolist() == [one[1] for one in expected]
    np.testing.assert_allclose(boxes[:n], [one[2] for one in expected], atol=1e-3)
    assert (scores[n:] == 0).all()
    assert labels.min() >= 1 and labels.max() < CLASSES
    assert boxes.min() >= 0 and boxes[:, 2].max() <= 90 and boxes[:, 3].max() <= 80


def test_no_detections(crowd_of_proposals):
    logits, deltas, boxes, valid, shape = crowd_of_proposals
    assert not detect_with(score_thr=1.0)(logits, deltas, boxes, valid, shape)[3].any()
    found = detect_with()(logits, deltas, boxes, np.zeros_like(valid), shape)
    assert not found[3].any() and (found[1] == 0).all() and np.isfinite(found[0]).all()


def test_few_candidates_enter_suppression(crowd_of_proposals):
    """The best ``nms_pre`` of all classes: what they alone would give."""
    logits, deltas, boxes, valid, shape = crowd_of_proposals
    found = detect_with(nms_pre=10, max_per_img=10)(logits, deltas, boxes, valid, shape)
    probability = np.where(valid[:, None], oracle.softmax(logits)[:, 1:], 0)
    floor = np.sort(probability.ravel())[-11]
    expected = detect_by_hand(logits, deltas, boxes, valid, shape, floor, 0.5, 15)
    assert found[3].sum() == len(expected) < 10
    np.testing.assert_allclose(found[1][: len(expected)], [one[0] for one in expected], atol=1e-5)


def test_detections_of_torchvision(parity_file):
    """From its class logits, box deltas and proposals to its 50 detections an image."""
    fixture = np.load(parity_file)
    head = make_box_head(make_pool(SIZE), IN, CHANNELS, 1, 91, detection=detection(max_per_img=50))
    boxes, scores, labels, valid = Compiled(head.detect, extent=256)(
        fixture["eval/class_logits"],
        fixture["eval/box_deltas"].reshape(160, 91, 4),
        fixture["eval/proposals"].reshape(2, 80, 4),
        np.ones((2, 80), bool),
        fixture["input/image_sizes_hw"].astype(np.float32),
    )
    assert valid.all()
    np.testing.assert_allclose(scores.ravel(), fixture["eval/det_scores"], atol=1e-5)
    assert (labels.ravel() == fixture["eval/det_labels"]).all()
    np.testing.assert_allclose(boxes.reshape(-1, 4), fixture["eval/det_boxes"], atol=1e-3)


def test_losses_of_torchvision(parity_file):
    """From its class logits, box deltas, RoIs and matches of a training step to its two losses."""
    fixture = np.load(parity_file)
    head = make_box_head(make_pool(SIZE), IN, CHANNELS, 1, 91, beta=1 / 9)
    matched = fixture["train/roi_matched_gt"]
    truth = np.concatenate([fixture["target/boxes_0"][matched[:64]], fixture["target/boxes_1"][matched[64:]]])
    classification, regression = Compiled(head.losses)(
        fixture["train/class_logits"],
        fixture["train/box_deltas"].reshape(128, 91, 4),
        fixture["train/rois"],
        fixture["train/roi_labels"],
        np.ones(128, bool),
        truth,
        np.float32(128),
    )
    assert classification == pytest.approx(fixture["train/loss_classifier"][0], rel=1e-5)
    assert regression == pytest.approx(fixture["train/loss_box_reg"][0], rel=1e-4)
