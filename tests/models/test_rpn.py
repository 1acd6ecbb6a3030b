"""The region proposal network: its sparse loss against the dense one, its proposals against torchvision and by hand."""

from __future__ import annotations

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn, ops
from tests.graph import Compiled, Gradient, randomise
from tests.models import oracle
from tests.models.parts import RATIOS, STRIDES
from tests.models.parts import make_rpn as rpn_of

from maskrcnn.models.rpn import RPN, ProposalSettings
from maskrcnn.ops import reference
from maskrcnn.ops.anchors import anchor_grid
from maskrcnn.ops.roi_align import flatten_levels

CHANNELS, HIDDEN, A = 3, 5, 3
CANVAS = (64, 128)
TRAIN = ProposalSettings(nms_pre=100, nms_post=60, max_num=150, nms_thr=0.7, min_size=0.0)
TWIN = reference.BoxCoder((0.0,) * 4, (1.0,) * 4, "continuous")
TEST = ProposalSettings(nms_pre=40, nms_post=40, max_num=50, nms_thr=0.5, min_size=6.0)


def make_rpn(train=TRAIN, test=TEST, **settings) -> RPN:
    return rpn_of(CHANNELS, HIDDEN, train, test, **settings)


def shapes_of(canvas=CANVAS) -> tuple[tuple[int, int], ...]:
    return tuple((canvas[0] // s, canvas[1] // s) for s in STRIDES)


def random_features(rng: np.random.Generator, n: int = 2, canvas=CANVAS) -> list[np.ndarray]:
    return [rng.normal(size=(n, CHANNELS, h, w)).astype(np.float32) for h, w in shapes_of(canvas)]


class SparseLoss(nn.Cell):
    """The loss as the network uses it."""

    def __init__(self, rpn: RPN) -> None:
        super().__init__(auto_prefix=False)
        self.rpn = rpn

    def construct(self, p2, p3, p4, p5, p6, index, label, target):
        sampled = ops.maximum((label >= 0).astype(ms.float32).sum(), Tensor(1.0, ms.float32))
        return self.rpn.losses(flatten_levels((p2, p3, p4, p5, p6)), index, label, target, sampled)


class DenseLoss(nn.Cell):
    """The loss as the paper has it: every anchor of every level, of which the sampled ones are picked."""

    def __init__(self, rpn: RPN) -> None:
        super().__init__(auto_prefix=False)
        self.rpn = rpn

    def construct(self, p2, p3, p4, p5, p6, index, label, target):
        logits, deltas = [], []
        for feature in (p2, p3, p4, p5, p6):
            n, _, h, w = feature.shape
            conv, cls, reg = self.rpn.conv, self.rpn.cls_logits, self.rpn.bbox_pred
            hidden = ops.relu(ops.conv2d(feature, conv.weight, conv.bias, pad_mode="pad", padding=1))
            logits.append(ops.conv2d(hidden, cls.weight, cls.bias).transpose((0, 2, 3, 1)).reshape((n, -1)))
            delta = ops.conv2d(hidden, reg.weight, reg.bias).reshape((n, A, 4, h, w))
            deltas.append(delta.transpose((0, 3, 4, 1, 2)).reshape((n, -1, 4)))
        logits = ops.gather_elements(ops.concat(logits, 1), 1, index)
        index = index.expand_dims(-1).broadcast_to((*index.shape, 4))
        deltas = ops.gather_elements(ops.concat(deltas, 1), 1, index)
        sampled, positive = (label >= 0).astype(ms.float32), (label > 0).astype(ms.float32)
        ones = ops.ones_like(logits)
        entropy = ops.binary_cross_entropy_with_logits(logits, positive, ones, ones, reduction="none")
        distance = ops.smooth_l1_loss(deltas, target, beta=self.rpn.beta, reduction="none").sum(-1)
        number = ops.maximum(sampled.sum(), Tensor(1.0, ms.float32))
        return (entropy * sampled).sum() / number, (distance * positive).sum() / number


@pytest.fixture(scope="module")
def loss_pair():
    """Gradients of the sparse and of the dense loss by features and weights."""
    rpn = make_rpn()
    randomise(rpn, 0)
    parameters = rpn.trainable_params()
    assert len(parameters) == 6
    return tuple(Gradient(kind(rpn), inputs=5, weights=parameters) for kind in (SparseLoss, DenseLoss))


def sampled_anchors(rng: np.random.Generator, size: int = 64):
    """Anchors of all levels, the four corners of each level among them; every third positive, the last ones empty."""
    index, first = [], 0
    for h, w in shapes_of():
        corners = np.array([0, w - 1, (h - 1) * w, h * w - 1]) * A + rng.integers(0, A, 4)
        index += [first + corners, first + rng.integers(0, h * w * A, 6)]
        first += h * w * A
    index = np.unique(np.concatenate(index))
    rng.shuffle(index)
    label = np.where(np.arange(size) % 3 == 0, 1, 0)
    label[len(index) :] = -1
    index = np.concatenate([index, np.zeros(size - len(index), int)])
    target = rng.normal(size=(size, 4)) * np.where(label > 0, 1, 1e4)[:, None]
    return index, label, target


@pytest.mark.parametrize("case", ["usual", "one image without positives", "nothing sampled"])
def test_sparse_loss_is_the_dense_loss(loss_pair, case):
    rng = np.random.default_rng(1)
    features = random_features(rng)
    index, label, target = (np.stack(pair) for pair in zip(sampled_anchors(rng), sampled_anchors(rng)))
    assert label.min() == -1 and (label[0] != label[1]).any()
    if case == "one image without positives":
        label[1] = np.minimum(label[1], 0)
    if case == "nothing sampled":
        label[:] = -1
    weights = [np.float32(0.7), np.float32(1.9)]
    sparse, dense = (run(*features, index, label, target, cotangents=weights) for run in loss_pair)
    assert sparse[0] == pytest.approx(dense[0], rel=1e-5)
    assert (sparse[0] == 0) == (case == "nothing sampled")
    for ours, theirs in zip(sparse[1][0] + sparse[1][1], dense[1][0] + dense[1][1]):
        assert (np.abs(theirs).max() > 0) == (case != "nothing sampled")
        np.testing.assert_allclose(ours, theirs, atol=2e-5 * max(1e-3, np.abs(theirs).max()))


def test_padding_counts_for_nothing(loss_pair):
    """Neither the index nor the target of an empty slot changes anything."""
    rng = np.random.default_rng(2)
    features = random_features(rng)
    index, label, target = (np.stack(pair) for pair in zip(sampled_anchors(rng), sampled_anchors(rng)))
    run, weights = loss_pair[0], [np.float32(1), np.float32(1)]
    before = run(*features, index, label, target, cotangents=weights)
    index[label < 0], target[label < 0] = 7, -3.0
    after = run(*features, index, label, target, cotangents=weights)
    assert before[0] == after[0]
    for ours, theirs in zip(before[1][0] + before[1][1], after[1][0] + after[1][1]):
        np.testing.assert_allclose(ours, theirs, atol=1e-7)


def test_head(loss_pair):
    rpn = loss_pair[0].function.rpn
    point = {p.name: p.asnumpy().astype(np.float64) for p in rpn.trainable_params()}
    feature = random_features(np.random.default_rng(3))[1]
    logits, deltas = Compiled(rpn.head)(feature)
    hidden = oracle.relu(oracle.conv2d(feature, point["conv.weight"], point["conv.bias"]))
    np.testing.assert_allclose(
        logits, oracle.conv2d(hidden, point["cls_logits.weight"], point["cls_logits.bias"]), atol=1e-4
    )
    np.testing.assert_allclose(
        deltas, oracle.conv2d(hidden, point["bbox_pred.weight"], point["bbox_pred.bias"]), atol=1e-4
    )


@pytest.mark.parametrize("canvas", [(64, 128), (128, 64)])
@pytest.mark.parametrize("rounding", [False, True])
def test_anchors_are_the_data_pipelines(canvas, rounding):
    rpn = make_rpn(rounding=rounding)
    expected = anchor_grid(*canvas, (8,), RATIOS, STRIDES, rounding).boxes()
    first = 0
    for level, (h, w) in enumerate(shapes_of(canvas)):
        found = Compiled(rpn.anchors_at, level=level, width=w)(np.arange(h * w * A))
        np.testing.assert_allclose(found, expected[first : first + h * w * A], rtol=1e-6)
        first += h * w * A
    assert first == len(expected)


class GivenHead(RPN):
    """A network whose pyramid levels are the head's output already: logits [N,A,H,W] on top of deltas [N,4A,H,W]."""

    def head(self, feature):
        return feature[:, :A], feature[:, A:]


class Propose(nn.Cell):
    """``propose`` with separate arguments."""

    def __init__(self, rpn: RPN, training: bool) -> None:
        super().__init__(auto_prefix=False)
        self.rpn = rpn.set_train(training)

    def construct(self, p2, p3, p4, p5, p6, image_shape):
        return self.rpn.propose((p2, p3, p4, p5, p6), image_shape)


def given_head(train=TRAIN, test=TEST, **settings) -> GivenHead:
    return make_rpn(train, test, kind=GivenHead, **settings)


def proposals_by_hand(maps, image: int, image_shape, settings: ProposalSettings, canvas=CANVAS):
    """Boxes of one image, best first."""
    anchors, first = anchor_grid(*canvas, (8,), RATIOS, STRIDES).boxes(), 0
    boxes, scores = [], []
    for level in maps:
        logits, deltas = level[image, :A], level[image, A:]
        logits = logits.transpose(1, 2, 0).reshape(-1).astype(np.float64)
        deltas = deltas.reshape(A, 4, *deltas.shape[1:]).transpose(2, 3, 0, 1).reshape(-1, 4)
        own = anchors[first : first + len(logits)]
        first += len(logits)
        best = np.argsort(-logits, kind="stable")[: settings.nms_pre]
        decoded = TWIN.clip(TWIN.decode(deltas[best], own[best]), *image_shape)
        large = (decoded[:, 2:] - decoded[:, :2] > settings.min_size).all(1)
        keep = np.flatnonzero(reference.nms_mask(decoded, large, settings.nms_thr))[: settings.nms_post]
        boxes.append(decoded[keep])
        scores.append(oracle.sigmoid(logits[best][keep]))
    boxes, scores = np.concatenate(boxes), np.concatenate(scores)
    return boxes[np.argsort(-scores, kind="stable")[: settings.max_num]]


def random_maps(rng: np.random.Generator, n: int = 2) -> list[np.ndarray]:
    """Logits and deltas in one map a level."""
    maps = [rng.normal(0, 1, (n, 5 * A, h, w)).astype(np.float32) for h, w in shapes_of()]
    for level in maps:
        level[:, A:] *= 0.3
    return maps


IMAGE_SHAPES = np.array([[64.0, 128.0], [50.0, 77.0]], np.float32)


@pytest.fixture(scope="module")
def propose():
    """In training and in inference."""
    return {training: Compiled(Propose(given_head(), training)) for training in (True, False)}


@pytest.mark.parametrize("training", [True, False])
def test_proposals(propose, training):
    settings = TRAIN if training else TEST
    maps = random_maps(np.random.default_rng(4))
    boxes, valid = propose[training](*maps, IMAGE_SHAPES)
    assert boxes.shape == (2, settings.max_num, 4) and valid.shape == (2, settings.max_num)
    for image in range(2):
        expected = proposals_by_hand(maps, image, IMAGE_SHAPES[image], settings)
        n = len(expected)
        assert valid[image].sum() == n and valid[image, :n].all()
        np.testing.assert_allclose(boxes[image, :n], expected, atol=1e-3)
    assert valid[0].sum() > valid[1].sum() or not training  # a smaller image, fewer proposals


def test_proposals_stay_inside_the_image(propose):
    maps = random_maps(np.random.default_rng(5))
    boxes, valid = propose[True](*maps, IMAGE_SHAPES)
    for image, (height, width) in enumerate(IMAGE_SHAPES):
        assert boxes[image].min() >= 0
        assert boxes[image, :, 0::2].max() <= width and boxes[image, :, 1::2].max() <= height
        sides = boxes[image, :, 2:] - boxes[image, :, :2]
        assert (sides[valid[image]] > 0).all()


def test_no_proposals(propose):
    """In an image smaller than the least size of a proposal there are none."""
    maps = random_maps(np.random.default_rng(6))
    boxes, valid = propose[False](*maps, np.full((2, 2), 4.0))
    assert not valid.any() and np.isfinite(boxes).all()


def test_equal_scores(propose):
    """Whichever of equals come first, they are anchors that do not overlap too much."""
    maps = [np.zeros((2, 5 * A, h, w), np.float32) for h, w in shapes_of()]
    boxes, valid = propose[False](*maps, IMAGE_SHAPES)
    anchors = TWIN.clip(anchor_grid(*CANVAS, (8,), RATIOS, STRIDES).boxes(), *IMAGE_SHAPES[0])
    found = boxes[0][valid[0]]
    assert len(found) > 5
    assert (reference.pairwise_iou(found, anchors).max(1) > 0.9999).all()


def test_fewer_candidates_than_proposals_wanted():
    settings = ProposalSettings(nms_pre=5000, nms_post=5000, max_num=5000, nms_thr=0.7, min_size=0.0)
    maps = random_maps(np.random.default_rng(7), n=1)
    boxes, valid = Compiled(Propose(given_head(settings), True))(*maps, IMAGE_SHAPES[:1])
    total = sum(h * w * A for h, w in shapes_of())
    assert boxes.shape == (1, total, 4)
    expected = proposals_by_hand(maps, 0, IMAGE_SHAPES[0], settings)
    assert valid.sum() == len(expected) < total
    np.testing.assert_allclose(boxes[0][valid[0]], expected, atol=1e-3)


def test_no_gradient_through_proposals():
    rpn = make_rpn()
    randomise(rpn, 8)
    rng = np.random.default_rng(8)
    run = Gradient(Propose(rpn, True), inputs=5, weights=rpn.trainable_params())
    cotangents = [np.ones((2, 150, 4)), np.zeros((2, 150))]
    value, (by_input, by_weight) = run(*random_features(rng), IMAGE_SHAPES, cotangents=cotangents)
    assert np.isfinite(value) and value != 0
    assert all((gradient == 0).all() for gradient in by_input + by_weight)


def test_proposals_of_torchvision(parity_file):
    """From its own maps: 300 anchors a level, 80 proposals an image, rounded anchors."""
    fixture = np.load(parity_file)
    settings = ProposalSettings(nms_pre=300, nms_post=300, max_num=80, nms_thr=0.7, min_size=1e-3)
    names = [f"P{level}" for level in (2, 3, 4, 5, 6)]
    maps = [np.concatenate([fixture[f"eval/rpn_{k}_{p}"] for k in ("objectness", "deltas")], 1) for p in names]
    rpn = given_head(settings, settings, rounding=True)
    boxes, valid = Compiled(Propose(rpn, False))(*maps, fixture["input/image_sizes_hw"].astype(np.float32))
    assert valid.all()
    np.testing.assert_allclose(boxes.reshape(-1, 4), fixture["eval/proposals"], atol=2e-3)
