"""A small network with weights under which activations keep their scale, and a comparison of detections."""

from __future__ import annotations

import math
import zlib

import cv2
import mindspore as ms
import numpy as np
from mindspore import Tensor, nn

from maskrcnn.config import Config
from maskrcnn.inference.results import Detections
from maskrcnn.models.build import build_network
from maskrcnn.models.mask_rcnn import MaskRCNN

SMALL = {
    "backbone": "resnet18", "norm": "frozen_bn", "freeze_at": 0, "fpn_out_channels": 32, "rpn_feat_channels": 32,
    "rcnn_fc_out_channels": 64, "rcnn_mask_num_layers": 1, "rcnn_mask_out_channels": 32, "img_width": 192,
    "img_height": 128, "rpn_nms_pre": 100, "rpn_nms_post": 60, "rpn_max_num": 120, "test_nms_pre": 200,
    "test_max_per_img": 40, "anchor_scales": [4], "roi_align_finest_scale": 28,
    "backbone_width": 16, "rpn_min_bbox_min_size": 1.0,
}  # fmt: skip
CLASSES = 12  # with the background; more than ops/nms.py puts into a row of its grid
# So that features keep their scale, scores are apart and boxes move a little: rounding must not decide who is detected.
GAIN = {
    "fpn.": 0.35, "rpn.cls_logits.weight": 0.5, "rpn.bbox_pred.weight": 0.1, "box_head.bbox_pred.weight": 0.25,
}  # fmt: skip


def small_config(**changes) -> Config:
    return Config.from_dict({**SMALL, **changes})


def small_network(cfg: Config) -> MaskRCNN:
    """In inference mode, with weights that depend on their names and shapes alone."""
    ms.set_context(mode=ms.GRAPH_MODE)
    network = build_network(cfg, CLASSES)
    network.set_train(False)
    set_weights(network)
    return network


def set_weights(network: nn.Cell) -> None:
    for name, parameter in network.parameters_dict().items():
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        shape = parameter.shape
        if name.endswith("moving_variance"):
            value = rng.uniform(0.5, 1.5, shape)
        elif name.endswith("gamma"):  # small on a block's last one, so that residuals do not blow up
            value = rng.uniform(0.8, 1.2, shape) * (0.5 if ".bn2." in name else 1.0)
        elif len(shape) == 1:
            value = rng.normal(0, 0.1, shape)
        else:
            gain = next((factor for part, factor in GAIN.items() if part in name), 1.0)
            value = rng.normal(0, gain * math.sqrt(2 / math.prod(shape[1:])), shape)
        parameter.set_data(Tensor(value.astype(np.float32)))


def pictures(images: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Smooth random pictures of different sizes on one canvas: uint8 [N,H,W,3] and float32 [N,2]."""
    rng = np.random.default_rng(8)
    image = np.zeros((images, height, width, 3), np.uint8)
    image_shape = np.empty((images, 2), np.float32)
    for row in range(images):
        h, w = (height, width - 31) if row % 2 == 0 else (height - 27, width)
        coarse = rng.integers(0, 256, (9, 12, 3), dtype=np.uint8)
        image[row, :h, :w] = cv2.resize(coarse, (w, h), interpolation=cv2.INTER_CUBIC)
        image_shape[row] = h, w
    return image, image_shape


def assert_same_detections(found: Detections, expected: Detections) -> None:
    """Each detection has its partner of the same class; near-equal scores may stand in another order."""
    np.testing.assert_array_equal(found.valid.sum(1), expected.valid.sum(1))
    for one, other in ((found, expected), (expected, found)):
        for row in range(len(one.valid)):
            for slot in np.flatnonzero(one.valid[row]):
                _assert_partner(one, other, row, slot)


def _assert_partner(one: Detections, other: Detections, row: int, slot: int) -> None:
    same_class = other.valid[row] & (other.labels[row] == one.labels[row, slot])
    differences = np.stack([
        np.abs(other.boxes[row] - one.boxes[row, slot]).max(1) / 1e-2,
        np.abs(other.scores[row] - one.scores[row, slot]) / 1e-4,
        np.abs(other.masks[row] - one.masks[row, slot]).max((1, 2)) / 1e-3,
    ])  # fmt: skip
    nearest = np.where(same_class, differences.max(0), np.inf).argmin()
    assert same_class[nearest] and (differences[:, nearest] <= 1).all(), (
        f"image {row}, slot {slot}: box {one.boxes[row, slot]}, score {one.scores[row, slot]} against "
        f"{other.boxes[row, nearest]}, {other.scores[row, nearest]}: {differences[:, nearest]} times the limits"
    )
