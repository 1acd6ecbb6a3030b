"""The whole network, small: losses and detections against numpy, odd batches, both canvases, padding, frozen parts."""

from __future__ import annotations

from dataclasses import replace

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn
from tests.graph import Compiled, Gradient, to_tensor
from tests.models.by_hand import ByHand
from tests.models.parts import EQUAL_WEIGHTS, RATIOS, STRIDES, detection, resnet, small_network

from maskrcnn.config import Config
from maskrcnn.data.batches.batch import Batch
from maskrcnn.data.batches.targets import AssignSettings, assign_anchors
from maskrcnn.models.mask_rcnn import MaskRCNN
from maskrcnn.models.rpn import ProposalSettings
from maskrcnn.ops.anchors import anchor_grid

CANVAS = (64, 128)
CLASSES = 4  # with the background
G, KEYS = 5, 65
SCALES = (4,)
PROPOSALS = ProposalSettings(nms_pre=40, nms_post=40, max_num=60, nms_thr=0.7, min_size=0.0)
FEW = ProposalSettings(nms_pre=3, nms_post=3, max_num=60, nms_thr=0.7, min_size=0.0)
DETECTION = detection(nms_pre=200, max_per_img=10)


def build(proposals=PROPOSALS, score_thr=0.05, **settings) -> MaskRCNN:
    """ResNet-18 with group normalisation and narrow heads, freshly initialised."""
    ms.set_seed(1)
    chosen = replace(DETECTION, score_thr=score_thr)
    return small_network(resnet("resnet18", "gn", 2), 8, proposals, chosen, CLASSES, **settings)


def make_batch(seed: int, labels, canvas=CANVAS, valid=1.0) -> Batch:
    """Noise with objects (label > 0), crowds (-1) and empty slots (0), an image a row of ``labels``."""
    rng = np.random.default_rng(seed)
    labels = np.array(labels)
    n, (height, width) = len(labels), canvas
    shape = np.floor(np.array(canvas) * valid)
    boxes = rng.uniform(0, 0.5, (n, G, 4)) * np.tile(shape[::-1], 2)
    boxes[..., 2:] = boxes[..., :2] + rng.uniform(0.15, 0.5, (n, G, 2)) * shape[::-1]
    boxes = np.where(labels[..., None] != 0, boxes, 0).astype(np.float32)
    grid = anchor_grid(height, width, SCALES, RATIOS, STRIDES)
    settings = replace(AssignSettings.from_config(Config()), num_pos=16, num_total=48)
    anchors = [
        assign_anchors(grid, boxes[i][labels[i] != 0], labels[i][labels[i] != 0] < 0, settings, rng) for i in range(n)
    ]
    return Batch(
        rng.integers(0, 256, (n, height, width, 3), dtype=np.uint8),
        np.tile(shape, (n, 1)).astype(np.float32),
        boxes,
        labels.astype(np.int32),
        (rng.random((n, G, 14, 14)) < 0.6).astype(np.uint8),
        (labels > 0).astype(np.float32),
        *(np.stack(arrays) for arrays in zip(*anchors)),
        rng.random((n, KEYS), dtype=np.float32),
        np.arange(n),
    )


BATCHES = {
    "objects": [[1, 2, 3, 1, 1], [3, 0, 0, 0, 0]],
    "objects and crowds": [[1, -1, 2, 0, 0], [2, 2, -1, -1, 0]],
    "one image without objects": [[1, 3, 0, 0, 0], [0] * 5],
    "one image of only crowds": [[2, 0, 0, 0, 0], [-1, -1, 0, 0, 0]],
    "only crowds": [[-1, -1, -1, -1, -1], [-1, 0, 0, 0, 0]],
    "nothing": [[0] * 5, [0] * 5],
}


@pytest.fixture(scope="module")
def training():
    """The fresh network and the gradients of its losses by every weight, for two images."""
    net = build().set_train()
    return net, Gradient(net, inputs=0, weights=net.trainable_params())


def losses_and_gradients(training, batch, weights=(1, 1, 1, 1, 1)):
    return training[1](*batch[:-1], cotangents=[np.float32(weight) for weight in weights])


def five_losses(training, batch) -> np.ndarray:
    return np.array([losses_and_gradients(training, batch, one)[0] for one in np.eye(5)])


@pytest.mark.parametrize("name", BATCHES)
def test_first_step_is_finite(training, name):
    """Whatever the batch holds, from the first step on, with losses of the size that chance predicts."""
    batch = make_batch(1, BATCHES[name])
    value, gradients = losses_and_gradients(training, batch)
    losses = five_losses(training, batch)
    assert np.isfinite(losses).all() and value == pytest.approx(losses.sum(), rel=1e-4)
    for parameter, gradient in zip(training[0].trainable_params(), gradients):
        assert np.isfinite(gradient).all(), parameter.name
    named = dict(zip(training[0].loss_names, losses))
    assert named["rpn_cls_loss"] == pytest.approx(np.log(2), rel=0.1)
    assert named["rcnn_cls_loss"] == pytest.approx(np.log(CLASSES), rel=0.1)
    objects = (batch.gt_labels > 0).any()
    assert named["rcnn_mask_loss"] == pytest.approx(np.log(2) if objects else 0, rel=0.1)
    assert (named["rpn_reg_loss"] > 0) == (named["rcnn_reg_loss"] > 0) == objects


def test_every_weight_learns(training):
    """Of the ones that are not frozen, each gets a gradient; the rest is exactly the stem and the first stage."""
    net = training[0]
    parameters = net.trainable_params()
    closed = [p for p in parameters if p.name.endswith(".gamma") and not p.asnumpy().any()]
    assert [p.name for p in closed] == [p.name for p in parameters if p.name.endswith(".bn2.gamma")]
    for gamma in closed:  # blocks start as the identity: opened a little, what lies behind the gate learns too
        gamma.set_data(Tensor(np.full(gamma.shape, 0.5, np.float32)))
    _, gradients = losses_and_gradients(training, make_batch(2, BATCHES["objects"]))
    for gamma in closed:
        gamma.set_data(Tensor(np.zeros(gamma.shape, np.float32)))
    for parameter, gradient in zip(parameters, gradients):
        assert np.abs(gradient).max() > 0, parameter.name
    frozen = {p.name for p in net.get_parameters()} - {p.name for p in parameters}
    first = ("backbone.conv1.", "backbone.bn1.", "backbone.layer1.")
    assert frozen == {p.name for p in net.get_parameters() if p.name.startswith(first)}
    assert len(frozen) == 3 + 4 * 3


class Pixels(nn.Cell):
    """A backbone that gives what it is given, four times."""

    out_channels = (3,) * 4

    def construct(self, x):
        return x, x, x, x


class First(nn.Cell):
    """A pyramid that gives the first map."""

    def construct(self, c2, c3, c4, c5):
        return (c2,)


def test_pixels_are_normalised_and_the_padding_is_zero():
    mean, std = (100.0, 110.0, 120.0), (50.0, 60.0, 70.0)
    net = small_network(Pixels(), 8, PROPOSALS, DETECTION, CLASSES, pixel_mean=mean, pixel_std=std)
    net.fpn = First()
    batch = make_batch(13, BATCHES["nothing"])
    shapes = np.array([[64.0, 128.0], [41.0, 77.0]])
    expected = ((batch.image.astype(np.float64) - mean) / std).transpose(0, 3, 1, 2)
    expected[1, :, 41:] = expected[1, :, :, 77:] = 0
    (found,) = Compiled(net.features)(batch.image, shapes)
    np.testing.assert_allclose(found, expected, atol=1e-5)


class Pyramid(nn.Cell):
    """P2..P6 and the proposals."""

    def __init__(self, net: MaskRCNN) -> None:
        super().__init__(auto_prefix=False)
        self.net = net

    def construct(self, image, image_shape):
        features = self.net.features(image, image_shape)
        return features, self.net.rpn.propose(features, image_shape)


@pytest.fixture
def other_heads(training):
    """The network with heads whose output varies, for as long as a test takes."""
    net = training[0]
    rng = np.random.default_rng(3)
    kept = {p.name: p.asnumpy().copy() for p in net.get_parameters()}
    for parameter in net.get_parameters():
        if parameter.name.startswith(("rpn.", "box_head.", "mask_head.")):
            fan_in = max(int(np.prod(parameter.shape[1:])), 4)
            parameter.set_data(to_tensor(rng.normal(0, fan_in**-0.5, parameter.shape)))
    yield net
    for parameter in net.get_parameters():
        parameter.set_data(to_tensor(kept[parameter.name]))


def test_losses_by_hand(training, other_heads):
    pyramid = Compiled(Pyramid(other_heads))
    for seed, name in enumerate(("objects", "objects and crowds", "one image without objects", "only crowds")):
        batch = make_batch(seed, BATCHES[name], valid=0.9)
        batch.gt_has_mask[0, 0] = 0  # a box without a mask
        expected = ByHand(other_heads, *pyramid(batch.image, batch.image_shape)).losses(batch)
        np.testing.assert_allclose(five_losses(training, batch), expected, rtol=2e-3, atol=1e-5, err_msg=name)


def test_padding_is_not_seen_in_training(training):
    batch = make_batch(4, BATCHES["objects"], valid=0.8)
    before = losses_and_gradients(training, batch)
    for image, (height, width) in zip(batch.image, batch.image_shape.astype(int)):
        image[height:] = 255
        image[:, width:] = 255
    after = losses_and_gradients(training, batch)
    assert before[0] == after[0]
    for ours, theirs in zip(before[1], after[1]):
        np.testing.assert_array_equal(ours, theirs)


def test_same_batch_same_losses(training):
    batch = make_batch(5, BATCHES["objects"])
    first, again = losses_and_gradients(training, batch), losses_and_gradients(training, batch)
    assert first[0] == again[0]


def test_keys_choose_the_regions(training, other_heads):
    """Other keys draw other regions; the RPN's losses do not depend on them."""
    batch = make_batch(6, BATCHES["objects"])
    other = batch._replace(roi_key=1 - batch.roi_key)
    first, second = five_losses(training, batch), five_losses(training, other)
    assert (first[:2] == second[:2]).all()
    assert first[2] != second[2]


def test_one_upright_image_with_few_proposals():
    """The other canvas; 15 proposals where 60 are wanted, so 20 candidates for 32 slots; every loss has its weight."""
    weights = (1.0, 2.0, 3.0, 4.0, 5.0)
    net = build(FEW, loss_weights=dict(zip(EQUAL_WEIGHTS, weights))).set_train()
    run, pyramid = Compiled(net), Compiled(Pyramid(net))
    for labels in ([1, 2, 3, 1, 1], [0] * 5):
        batch = make_batch(7, [labels], canvas=CANVAS[::-1])
        features, proposals = pyramid(batch.image, batch.image_shape)
        assert proposals[0].shape == (1, 15, 4)
        losses = ByHand(net, features, proposals).losses(batch)
        assert (np.array(losses) > 0).tolist() == [True, any(labels), True, any(labels), any(labels)]
        np.testing.assert_allclose(run(*batch[:-1]), np.multiply(losses, weights), rtol=2e-3, atol=1e-6)


@pytest.fixture(scope="module")
def inference():
    """The network with varied heads, its detections and its pyramid."""
    net = build().set_train(False)
    rng = np.random.default_rng(8)
    for parameter in net.get_parameters():
        if parameter.name.startswith(("rpn.", "box_head.", "mask_head.")):
            fan_in = max(int(np.prod(parameter.shape[1:])), 4)
            parameter.set_data(to_tensor(rng.normal(0, fan_in**-0.5, parameter.shape)))
    return net, Compiled(net)


def test_detections_by_hand(inference):
    net, detect = inference
    batch = make_batch(9, BATCHES["nothing"], valid=0.9)
    boxes, scores, labels, valid, masks = detect(batch.image, batch.image_shape)
    assert boxes.shape == (2, 10, 4) and masks.shape == (2, 10, 28, 28)
    assert labels.dtype == np.int32 and valid.dtype == bool
    by_hand = ByHand(net, *Compiled(Pyramid(net))(batch.image, batch.image_shape))
    for image in range(2):
        expected = by_hand.detections(image, batch.image_shape[image])
        n = len(expected[0])
        assert valid[image].sum() == n > 5
        np.testing.assert_allclose(scores[image, :n], expected[0], atol=1e-4)
        assert labels[image, :n].tolist() == expected[1].tolist()
        np.testing.assert_allclose(boxes[image, :n], expected[2], atol=5e-3)
        np.testing.assert_allclose(masks[image, :n], expected[3], atol=2e-3)


def test_padding_is_not_seen_in_inference(inference):
    batch = make_batch(10, BATCHES["nothing"], valid=0.7)
    before = inference[1](batch.image, batch.image_shape)
    for image, (height, width) in zip(batch.image, batch.image_shape.astype(int)):
        image[height:] = 77
        image[:, width:] = 77
    for ours, theirs in zip(before, inference[1](batch.image, batch.image_shape)):
        np.testing.assert_array_equal(ours, theirs)
    height, width = batch.image_shape[0]
    assert before[0][..., 0::2].max() <= width and before[0][..., 1::2].max() <= height


def test_images_of_a_batch_do_not_meet(inference):
    batch = make_batch(11, BATCHES["nothing"])
    first = inference[1](batch.image, batch.image_shape)
    swapped = inference[1](batch.image[::-1], batch.image_shape[::-1])
    for ours, theirs in zip(first, swapped):
        np.testing.assert_allclose(ours, theirs[::-1], atol=1e-4)


def test_no_detections_in_an_upright_image():
    net = build(FEW, score_thr=1.0).set_train(False)
    batch = make_batch(12, [[0] * 5], canvas=CANVAS[::-1])
    boxes, scores, _, valid, masks = Compiled(net)(batch.image, batch.image_shape)
    assert not valid.any() and (scores == 0).all()
    assert np.isfinite(boxes).all() and np.isfinite(masks).all()
