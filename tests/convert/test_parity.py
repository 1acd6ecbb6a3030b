"""Converted weights give torchvision's numbers, stage by stage: inference on two photographs.

``tests/data_files/parity_small.npz`` is part of what torchvision itself computed; see ``make_parity_small.py`` there.
"""

from __future__ import annotations

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn
from tests.convert.parity import VARIANTS, load_images, load_reference, reference_network
from tests.inference.bitmaps import paste_bitmaps

from maskrcnn.config import Config
from maskrcnn.inference.detector import Detector
from maskrcnn.inference.results import Detections
from maskrcnn.models.channels_last import CHANNELS_LAST, lay_out
from maskrcnn.models.layers import TENSORS
from maskrcnn.models.mask_rcnn import MaskRCNN
from maskrcnn.ops.reference import level_of, roi_align

CHANNEL_STEP = 16  # of the maps in the file
MAPS = 1e-5  # largest difference, relative to the largest value
HEADS = 1e-4


@pytest.fixture(scope="module")
def reference():
    return load_reference()


@pytest.fixture(scope="module")
def inputs(reference):
    return load_images(reference)


@pytest.fixture(scope="module", params=["fast", "exact"])
def network(request, reference):
    return laid_out(reference_network(reference), request.param == "fast")


def laid_out(network: MaskRCNN, fast: bool) -> MaskRCNN:
    lay_out(network, CHANNELS_LAST if fast else TENSORS)
    return network


def nchw(network: MaskRCNN, value: np.ndarray) -> np.ndarray:
    """A map of the network in torchvision's layout."""
    return value if network.operations is TENSORS else value.transpose(0, 3, 1, 2)


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
        return (*features, *heads, *net.rpn.propose(features, image_shape))


class RoIHeads(nn.Cell):
    """What comes after the proposals: RoI features, box head, detections and the logits of their masks."""

    def __init__(self, net: MaskRCNN, extent: int) -> None:
        super().__init__()
        self.net = net
        self.extent = extent

    def construct(self, features, proposals, proposal_valid, image_shape):
        box_head, mask_head = self.net.box_head, self.net.mask_head
        pyramid = self.net.operations.pyramid(features)
        pooled = box_head.pool(pyramid, proposals)
        logits, deltas = box_head(pooled)
        found = box_head.detect(logits, deltas, proposals, proposal_valid, image_shape, self.extent)
        boxes, scores, labels, valid = found
        masks = mask_head(mask_head.pool(pyramid, boxes), labels.reshape((-1,)))
        masks = masks.reshape((*labels.shape, mask_head.mask_size, mask_head.mask_size))
        return pooled, logits, deltas, boxes, scores, labels, valid, masks


@pytest.fixture(scope="module")
def stages(network, inputs):
    """The outputs of ``Stages`` as arrays, in groups."""
    out = [value.asnumpy() for value in Stages(network)(*map(Tensor, inputs))]
    out[:15] = [nchw(network, value) for value in out[:15]]
    return {
        "features": out[:5],
        "objectness": out[5:15:2],
        "deltas": out[6:15:2],
        "proposals": out[15:17],
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
    pixels = (images - np.float32(cfg.pixel_mean)) / np.float32(cfg.pixel_std)
    for pixel, (height, width) in zip(pixels, sizes.astype(int)):
        pixel[height:] = 0
        pixel[:, width:] = 0
    if network.operations is TENSORS:
        pixels = pixels.transpose(0, 3, 1, 2)
    for name, level in zip(("C2", "C3", "C4", "C5"), network.backbone(Tensor(pixels, ms.float32))):
        level = nchw(network, level.asnumpy())
        assert difference(level[:, ::CHANNEL_STEP], reference[f"eval/{name}"]) < MAPS, name


def test_pyramid_and_rpn_maps(stages, reference) -> None:
    for i, name in enumerate(("P2", "P3", "P4", "P5", "P6")):
        assert difference(stages["features"][i][:, ::CHANNEL_STEP], reference[f"eval/{name}"]) < MAPS, name
        assert difference(stages["objectness"][i], reference[f"eval/rpn_objectness_{name}"]) < MAPS, name
        assert difference(stages["deltas"][i], reference[f"eval/rpn_deltas_{name}"]) < MAPS, name


def test_proposals(stages, reference) -> None:
    boxes, valid = stages["proposals"]
    assert list(valid.sum(1)) == list(reference["eval/proposals_count"])
    assert difference(boxes[valid], reference["eval/proposals"]) < HEADS


def check_detections(found, reference, sizes: np.ndarray) -> None:
    valid = found.valid
    assert list(valid.sum(1)) == list(reference["eval/det_boxes_count"])
    np.testing.assert_array_equal(found.labels[valid], reference["eval/det_labels"])
    np.testing.assert_allclose(found.boxes[valid], reference["eval/det_boxes"], rtol=0, atol=1e-2)
    np.testing.assert_allclose(found.scores[valid], reference["eval/det_scores"], rtol=0, atol=1e-4)
    probabilities = 1 / (1 + np.exp(-reference["eval/mask_logits_of_label"]))
    np.testing.assert_allclose(found.masks[valid], probabilities, rtol=0, atol=1e-4)
    for i, (height, width) in enumerate(sizes.astype(int)):
        pasted = paste_bitmaps(found.masks[i], found.boxes[i], height, width, rule="torchvision")
        expected = np.unpackbits(reference[f"eval/pasted_mask_{i}"], axis=-1)[..., :width]
        assert (pasted != expected).mean() <= 5e-4
        # The share of the masks' own pixels says more: most of an image is empty.
        assert (pasted != expected).sum() <= 1e-3 * expected.sum()


def test_detections(detections, reference, inputs) -> None:
    check_detections(detections, reference, inputs[1])


@pytest.fixture(scope="module", params=VARIANTS, ids=["torchvision", "aligned", "adaptive"])
def roi_heads(request, network, stages, reference, inputs):
    """What the heads make of the features and proposals, which do not depend on RoIAlign: the numbers, and theirs."""
    exact = network.operations is TENSORS
    net = laid_out(reference_network(reference, **VARIANTS[request.param]), not exact)
    boxes, valid = stages["proposals"]
    order = (0, 1, 2, 3) if exact else (0, 2, 3, 1)
    features = tuple(Tensor(np.ascontiguousarray(level.transpose(order))) for level in stages["features"][:4])
    run = RoIHeads(net, max(inputs[0].shape[1:3]))
    out = [value.asnumpy() for value in run(features, Tensor(boxes), Tensor(valid), Tensor(inputs[1]))]
    found = dict(zip(("pooled", "logits", "deltas", "boxes", "scores", "labels", "valid", "masks"), out))
    return net.box_head.pool.settings, found, {name: reference[request.param + name] for name in of_rois(reference)}


def of_rois(reference) -> list[str]:
    """The arrays that the file holds for every kind of RoIAlign."""
    return [name.removeprefix("aligned/") for name in reference.files if name.startswith("aligned/")]


def test_roi_features(roi_heads, stages, reference):
    """Of torchvision all channels of a few RoIs; of float64 RoIAlign on its maps some channels of an image's RoIs."""
    chosen, found, expected = roi_heads
    pooled = found["pooled"]
    few = expected["eval/box_roi_features"]
    assert difference(pooled.swapaxes(1, 2).reshape(-1, 256, 7, 7), few) < HEADS
    maps = [reference[f"eval/{name}"][0] for name in ("P2", "P3", "P4", "P5")]
    boxes = reference["eval/proposals"][: reference["eval/proposals_count"][0]]
    levels = level_of(boxes, chosen.finest_scale, 4)
    exact = roi_align(maps, chosen.strides, boxes, levels, 7, chosen.sampling, chosen.aligned)
    assert difference(pooled[: len(boxes), :, ::CHANNEL_STEP], exact) < HEADS


def test_heads(roi_heads):
    _, found, expected = roi_heads
    assert difference(found["logits"].reshape(160, -1), expected["eval/class_logits"]) < HEADS
    assert difference(found["deltas"].reshape(160, -1), expected["eval/box_deltas"]) < HEADS
    logits = found["masks"][found["valid"]]
    assert difference(logits, expected["eval/mask_logits_of_label"]) < HEADS


def test_detections_of_the_heads(roi_heads, inputs):
    _, found, expected = roi_heads
    masks = 1 / (1 + np.exp(-found["masks"].astype(np.float64)))
    arrays = (found[name] for name in ("boxes", "scores", "labels", "valid"))
    check_detections(Detections(*arrays, masks.astype(np.float32)), expected, inputs[1])
