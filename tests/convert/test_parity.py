"""Converted weights give torchvision's numbers, stage by stage: inference on two photographs.

``tests/data_files/parity_small.npz`` is part of what torchvision itself computed; see ``make_parity_small.py`` there.
"""

from __future__ import annotations

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn
from tests.convert.parity import build_network, load_images, load_reference

from maskrcnn.config import Config
from maskrcnn.evaluation.detector import Detector
from maskrcnn.evaluation.paste import paste_masks
from maskrcnn.models.mask_rcnn import MaskRCNN
from maskrcnn.ops.roi_align import feature_tables

CHANNEL_STEP = 16  # of the maps in the file
MAPS = 1e-5  # largest difference, relative to the largest value
HEADS = 1e-4


@pytest.fixture(scope="module")
def reference():
    return load_reference()


@pytest.fixture(scope="module")
def inputs(reference):
    return load_images(reference)


@pytest.fixture(scope="module")
def network(reference):
    return build_network(reference)


class Stages(nn.Cell):
    """What the network computes on its way to the detections."""

    def __init__(self, net: MaskRCNN) -> None:
        super().__init__()
        self.net = net

    def construct(self, images, image_shape):
        net = self.net
        features = net.features(images, image_shape)
        heads = ()
        for feature in features:
            heads += net.rpn.head(feature)
        boxes, scores, valid = net.rpn.propose(features, image_shape)
        shapes = [(f.shape[2], f.shape[3]) for f in features]
        tables = feature_tables(features[:4])
        found = ()
        for i in range(images.shape[0]):
            pooled = net.pool(tables[i], shapes, boxes[i], 7)
            found += (pooled, *net.box_head(pooled))
        return (*features, *heads, boxes, scores, valid, *found)


class Masks(nn.Cell):
    """Mask logits of given boxes and labels."""

    def __init__(self, net: MaskRCNN) -> None:
        super().__init__()
        self.net = net

    def construct(self, features, boxes, labels):
        shapes = [(f.shape[2], f.shape[3]) for f in features]
        tables = feature_tables(features)
        logits = ()
        for i in range(len(tables)):
            logits += (self.net.mask_head(self.net.pool(tables[i], shapes, boxes[i], 14), labels[i]),)
        return logits


@pytest.fixture(scope="module")
def stages(network, inputs):
    """The outputs of ``Stages`` as arrays, in groups."""
    out = [value.asnumpy() for value in Stages(network)(*map(Tensor, inputs))]
    return {
        "features": out[:5],
        "objectness": out[5:15:2],
        "deltas": out[6:15:2],
        "proposals": out[15:18],
        "box_head": [np.concatenate(pair) for pair in zip(out[18:21], out[21:24])],
    }


@pytest.fixture(scope="module")
def detections(network, inputs):
    return Detector(network)(*inputs)


def difference(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference, as a fraction of the largest expected value, in the rows that ``expected`` has."""
    assert found.shape[1:] == expected.shape[1:]
    return float(np.abs(found[: len(expected)] - expected).max() / np.abs(expected).max())


def test_backbone(network, inputs, reference) -> None:
    images, sizes = inputs
    cfg = Config()
    pixels = ((images - np.float32(cfg.pixel_mean)) / np.float32(cfg.pixel_std)).transpose(0, 3, 1, 2)
    for pixel, (height, width) in zip(pixels, sizes.astype(int)):
        pixel[:, height:] = 0
        pixel[:, :, width:] = 0
    for name, level in zip(("C2", "C3", "C4", "C5"), network.backbone(Tensor(pixels, ms.float32))):
        assert difference(level.asnumpy()[:, ::CHANNEL_STEP], reference[f"eval/{name}"]) < MAPS, name


def test_pyramid_and_rpn_maps(stages, reference) -> None:
    for i, name in enumerate(("P2", "P3", "P4", "P5", "P6")):
        assert difference(stages["features"][i][:, ::CHANNEL_STEP], reference[f"eval/{name}"]) < MAPS, name
        assert difference(stages["objectness"][i], reference[f"eval/rpn_objectness_{name}"]) < MAPS, name
        assert difference(stages["deltas"][i], reference[f"eval/rpn_deltas_{name}"]) < MAPS, name


def test_proposals(stages, reference) -> None:
    boxes, scores, valid = stages["proposals"]
    assert list(valid.sum(1)) == list(reference["eval/proposals_count"])
    assert difference(boxes[valid], reference["eval/proposals"]) < HEADS
    assert difference(scores[valid], reference["eval/proposal_scores"]) < HEADS


def test_box_head(stages, reference) -> None:
    pooled, logits, deltas = stages["box_head"]
    pooled = pooled.swapaxes(1, 2).reshape(len(pooled), -1, 7, 7)
    assert difference(pooled, reference["eval/box_roi_features"]) < HEADS
    assert difference(logits, reference["eval/class_logits"]) < HEADS
    assert difference(deltas.reshape(len(deltas), -1), reference["eval/box_deltas"]) < HEADS


def check_detections(found, reference, kind: str, sizes: np.ndarray) -> None:
    valid = found.valid
    assert list(valid.sum(1)) == list(reference[f"{kind}/det_boxes_count"])
    np.testing.assert_array_equal(found.labels[valid], reference[f"{kind}/det_labels"])
    np.testing.assert_allclose(found.boxes[valid], reference[f"{kind}/det_boxes"], rtol=0, atol=1e-2)
    np.testing.assert_allclose(found.scores[valid], reference[f"{kind}/det_scores"], rtol=0, atol=1e-4)
    probabilities = 1 / (1 + np.exp(-reference[f"{kind}/mask_logits_of_label"]))
    np.testing.assert_allclose(found.masks[valid], probabilities, rtol=0, atol=1e-4)
    for i, (height, width) in enumerate(sizes.astype(int)):
        pasted = paste_masks(found.masks[i], found.boxes[i], height, width, 0.5, integer_boxes=True)
        expected = np.unpackbits(reference[f"{kind}/pasted_mask_{i}"], axis=-1)[..., :width]
        assert (pasted != expected).mean() <= 5e-4
        # The share of the masks' own pixels says more: most of an image is empty.
        assert (pasted != expected).sum() <= 1e-3 * expected.sum()


def test_detections(detections, reference, inputs) -> None:
    check_detections(detections, reference, "eval", inputs[1])


def test_detections_with_aligned_rois(reference, inputs) -> None:
    """The default RoIAlign, against torchvision with its own half-pixel option."""
    found = Detector(build_network(reference, roi_aligned=True))(*inputs)
    check_detections(found, reference, "aligned", inputs[1])


def test_mask_logits(network, stages, detections, reference) -> None:
    features = tuple(Tensor(feature) for feature in stages["features"][:4])
    logits = Masks(network)(features, Tensor(detections.boxes), Tensor(detections.labels))
    logits = np.concatenate([value.asnumpy() for value in logits])
    assert difference(logits, reference["eval/mask_logits_of_label"]) < HEADS
