"""The arithmetic of MindSpore's model zoo: against float64 numpy, MindSpore's own operators, and as a whole network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn, ops
from tests.graph import Compiled, randomise, to_tensor
from tests.models import oracle, zoo
from tests.models.parts import resnet
from tests.models.test_mask_rcnn import Pyramid, make_batch
from tests.models.test_resnet import forward, random_image, randomise_norms

from maskrcnn.config import Config
from maskrcnn.config.parsing import read_yaml
from maskrcnn.data.batches.targets import AssignSettings, assign_anchors
from maskrcnn.models.build import build_network
from maskrcnn.models.fpn import FPN
from maskrcnn.models.roi_pool import RoIPool
from maskrcnn.models.roi_sampler import RoISampler, SamplerSettings
from maskrcnn.ops import boxes as ops_boxes
from maskrcnn.ops import reference
from maskrcnn.ops.anchors import anchor_grid
from maskrcnn.ops.box_coder import BoxCoder
from maskrcnn.ops.roi_align import RoIAlignSettings, flatten_levels

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "mindspore_zoo.yaml"
STDS = (0.1, 0.1, 0.2, 0.2)
ZEROS = (0.0,) * 4
CODER = BoxCoder(ZEROS, STDS, "inclusive")


def random_boxes(rng: np.random.Generator, n: int, width: float = 128, height: float = 64) -> np.ndarray:
    corner = rng.uniform(0, 0.8, (n, 2)) * [width, height]
    side = rng.uniform(0, 0.6, (n, 2)) ** 2 * [width, height]
    return np.concatenate([corner, np.minimum(corner + side, [width - 1, height - 1])], 1).astype(np.float32)


def test_boxes_and_deltas():
    """Numpy and MindSpore's BoundingBoxEncode and BoundingBoxDecode agree with ours, clamped and clipped boxes too."""
    rng = np.random.default_rng(0)
    truth, rois = random_boxes(rng, 50), random_boxes(rng, 50)
    found = Compiled(CODER.encode)(truth, rois)
    np.testing.assert_allclose(found, zoo.encode(truth, rois, STDS), atol=1e-4)
    theirs = ops.BoundingBoxEncode(ZEROS, STDS)(Tensor(rois), Tensor(truth)).asnumpy()
    np.testing.assert_allclose(found, theirs, atol=1e-4)

    deltas = (rng.normal(0, 3, (50, 4)) * [1, 1, 8, 8]).astype(np.float32)
    decoded = Compiled(CODER.decode)(deltas, rois)
    clipped = Compiled(CODER.clip, height=64.0, width=128.0)(decoded)
    np.testing.assert_allclose(clipped, zoo.decode(deltas, rois, 64, 128, STDS), atol=1e-3)
    theirs = ops.BoundingBoxDecode((64, 128), ZEROS, STDS)(Tensor(rois), Tensor(deltas)).asnumpy()
    # On a CPU the operator lets boxes end a pixel later than on Ascend, where the zoo's networks were trained.
    np.testing.assert_allclose(clipped, np.minimum(theirs, [127, 63, 127, 63]), atol=1e-3)
    assert (np.abs(deltas[:, 2:]) * 0.2 > np.log(62.5)).mean() > 0.1
    assert (clipped == 0).any() and (clipped[:, 2] == 127).any()

    large = Compiled(CODER.large_enough, min_size=3.0)(truth)
    assert (large == ((truth[:, 2:] - truth[:, :2] + 1) > 3).all(1)).all() and 0 < large.mean() < 1


def test_matches():
    rng = np.random.default_rng(1)
    rois, truth = random_boxes(rng, 60), random_boxes(rng, 6)
    rois[:20] = truth[rng.integers(0, 6, 20)] + rng.uniform(-2, 2, (20, 4))
    theirs = ops.IOU()(Tensor(rois), Tensor(truth)).asnumpy().T
    np.testing.assert_allclose(zoo.iou(rois, truth), theirs, atol=1e-5)
    overlap = zoo.iou(rois, truth)
    sampler = RoISampler(SamplerSettings(0.5, 0.5, 0.7, num_positive=66, num_total=66, num_mask=66), CODER)
    keys = np.linspace(1, 0, 66, endpoint=False, dtype=np.float32)  # the first candidates first
    case = rois, np.ones(60, bool), truth, np.ones(6, np.int32), keys
    boxes, labels, valid, found = Compiled(sampler.draw)(*case)
    assert valid.all()
    order = [int(np.flatnonzero((boxes == roi).all(1))[0]) for roi in rois]
    matched, foreground = found[order], labels[order] > 0
    some = overlap.max(1) > 0
    assert (matched[some] == overlap.argmax(1)[some]).all()
    assert (foreground == (overlap.max(1) >= 0.5)).all()
    continuous = np.array([ops_boxes.pairwise_iou(Tensor(rois), Tensor(truth)).asnumpy().max(1) >= 0.5])
    assert (continuous != foreground).any()  # the convention decides on some of them


@pytest.mark.parametrize("stride", [4, 8, 16, 32, 64])
def test_anchors(stride):
    level = anchor_grid(64, 64, (8,), (0.5, 1.0, 2.0), (stride,), rounding=True, convention="inclusive").levels[0]
    np.testing.assert_array_equal(level.cells - [0, 0, 1, 1], zoo.anchors(stride, 8, (0.5, 1.0, 2.0)))


def test_anchor_targets():
    """Sampled anchors are labelled by the overlap of pixels, and their targets lead back to the objects."""
    rng = np.random.default_rng(2)
    grid = anchor_grid(64, 128, (4,), (0.5, 1.0, 2.0), (4, 8, 16, 32, 64), rounding=True, convention="inclusive")
    truth = random_boxes(rng, 5)
    settings = replace(
        AssignSettings.from_config(Config()),
        num_pos=64,
        coder=reference.BoxCoder(ZEROS, (1.0,) * 4, "inclusive"),
    )
    index, label, target = assign_anchors(grid, truth, np.zeros(5, bool), settings, rng)
    sampled = grid.boxes()[index] - np.float32([0, 0, 1, 1])
    overlap = zoo.iou(sampled, truth)
    assert (overlap[label == 0].max(1) < 0.3).all() and (label == 1).sum() >= 5
    best = (zoo.iou(grid.boxes() - np.float32([0, 0, 1, 1]), truth)).max(0)
    positive = overlap[label == 1]
    assert ((positive.max(1) >= 0.7) | (positive >= best - 1e-6).any(1)).all()
    found = zoo.decode(target[label == 1], sampled[label == 1], 64, 128)
    assert all(np.abs(truth - box).max(1).min() < 1e-3 for box in found)


def test_levels_of_rois():
    """15.5 + 1 pixels belong to the level that begins at 16; mode 0 of the operator is RoIAlign without the shift."""
    rng = np.random.default_rng(3)
    shapes, strides = ((16, 32), (8, 16), (4, 8), (2, 4)), (4, 8, 16, 32)
    maps = [rng.normal(size=(1, 3, h, w)).astype(np.float32) for h, w in shapes]
    edges = np.array([[5, 5, 20.5, 20.5], [5, 5, 20, 19], [1, 1, 32.2, 32.3], [0, 0, 127, 63]], np.float32)
    rois = np.concatenate([random_boxes(rng, 30), edges])
    pool = RoIPool(RoIAlignSettings(7, 2, aligned=False, strides=strides, finest_scale=8.0), CODER)
    found = Compiled(Pooled(pool))(maps, rois[None])
    levels = zoo.level_of(rois, 8.0, 4)
    twin = reference.roi_align([m[0] for m in maps], strides, rois, levels, 7, 2, False)
    np.testing.assert_allclose(found, twin, atol=1e-4)
    assert set(levels) == {0, 1, 2, 3}
    for level in range(4):
        own = rois[levels == level]
        with_image = np.concatenate([np.zeros((len(own), 1), np.float32), own], 1)
        align = ops.ROIAlign(7, 7, 1 / strides[level], 2, 0)
        expected = align(Tensor(maps[level]), Tensor(with_image)).asnumpy().reshape(len(own), 3, 49)
        np.testing.assert_allclose(found[levels == level], expected.swapaxes(1, 2), atol=1e-4)


class Pooled(nn.Cell):
    """RoI features from the maps of the levels."""

    def __init__(self, pool: RoIPool) -> None:
        super().__init__(auto_prefix=False)
        self.pool = pool

    def construct(self, maps, boxes):
        return self.pool(flatten_levels(maps), boxes)


def test_pooling_of_the_stem(monkeypatch):
    net = resnet("resnet18", "frozen_bn", 0, pool_pads_end=True).set_train(False)
    point = randomise_norms(net, 0)
    point["image"] = random_image(1).astype(np.float64)
    monkeypatch.setattr(oracle, "max_pool", zoo.max_pool)
    for found, expected in zip(Compiled(net)(point["image"]), forward(point, "resnet18", "frozen_bn")):
        np.testing.assert_allclose(found, expected, atol=1e-3 * np.abs(expected).max())


def test_upsampling_of_the_pyramid():
    fpn = FPN((3, 4, 5, 6), 4, bilinear=True)
    point = randomise(fpn, 0)
    rng = np.random.default_rng(4)
    shapes = ((16, 24), (8, 12), (4, 6), (2, 3))
    inputs = [rng.normal(size=(2, c, h, w)) for c, (h, w) in zip((3, 4, 5, 6), shapes)]
    found = Compiled(fpn)(*inputs)
    merged = 0.0
    for i in (3, 2, 1, 0):
        lateral = oracle.conv2d(inputs[i], point[f"lateral.{i}.weight"], point[f"lateral.{i}.bias"])
        merged = lateral + (zoo.upsample(merged) if i < 3 else 0.0)
        expected = oracle.conv2d(merged, point[f"output.{i}.weight"], point[f"output.{i}.bias"])
        np.testing.assert_allclose(found[i], expected, atol=1e-4)


@pytest.fixture(scope="module")
def network():
    """A small network with configs/mindspore_zoo.yaml and heads whose output varies."""
    small = {"backbone": "resnet18", "norm": "gn", "fpn_out_channels": 8, "rpn_feat_channels": 8, "anchor_scales": [4]}
    small |= {"rcnn_fc_out_channels": 16, "rcnn_mask_out_channels": 8, "rcnn_mask_num_layers": 1}
    small |= {"img_width": 128, "img_height": 64, "roi_align_finest_scale": 16, "mask_crop_size": 28}
    for mode in ("rpn_proposal", "rpn"):
        small |= {f"{mode}_nms_pre": 40, f"{mode}_nms_post": 40, f"{mode}_max_num": 60}
    small |= {"num_expected_pos_stage2": 8, "num_expected_total_stage2": 32, "mask_roi_num": 6, "max_instance_count": 5}
    small |= {"test_nms_pre": 200, "test_max_per_img": 10}
    ms.set_seed(1)
    net = build_network(Config.from_dict({**read_yaml(CONFIG), **small}), 4)
    rng = np.random.default_rng(5)
    for parameter in net.get_parameters():
        if parameter.name.startswith(("rpn.", "box_head.", "mask_head.")):
            fan_in = max(int(np.prod(parameter.shape[1:])), 4)
            parameter.set_data(to_tensor(rng.normal(0, fan_in**-0.5, parameter.shape)))
    return net


def test_detections(network):
    """The padding is part of the image: whatever size is given, all of the canvas is looked at."""
    network.set_train(False)
    batch = make_batch(6, [[0] * 5, [0] * 5], valid=0.7)
    canvas = np.array([[64, 128], [64, 128]], np.float32)
    found = Compiled(network)(batch.image, batch.image_shape)
    features, proposals = Compiled(Pyramid(network))(batch.image, canvas)
    by_hand = zoo.ZooByHand(network, features, proposals)
    for image in range(2):
        boxes = by_hand.proposals(image, canvas[image])
        assert proposals[1][image].sum() == len(boxes) > 20
        np.testing.assert_allclose(proposals[0][image][: len(boxes)], boxes, atol=1e-3)
        scores, labels, boxes, masks = by_hand.detections(image, canvas[image])
        n = len(scores)
        assert found[3][image].sum() == n > 5
        np.testing.assert_allclose(found[1][image, :n], scores, atol=1e-4)
        assert found[2][image, :n].tolist() == labels.tolist()
        np.testing.assert_allclose(found[0][image, :n], boxes, atol=5e-3)
        np.testing.assert_allclose(found[4][image, :n], masks, atol=2e-3)
    assert (found[0][..., 2] > 0.7 * 128).any()


def test_losses(network):
    network.set_train(True)
    batch = make_batch(7, [[1, 2, 3, 1, 1], [3, 2, 0, 0, 0]])
    crops = np.repeat(np.repeat(batch.gt_masks, 2, 2), 2, 3)
    batch = batch._replace(gt_masks=crops)
    losses = np.array(Compiled(network)(*batch[:-1]))
    by_hand = zoo.ZooByHand(network, *Compiled(Pyramid(network))(batch.image, batch.image_shape))
    np.testing.assert_allclose(losses, by_hand.losses(batch), rtol=2e-3)
    network.set_train(False)
