"""Converted weights train as torchvision does: losses and gradients of one step with its deterministic sampling.

There as here the samplers take the lowest indices.
"""

from __future__ import annotations

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn
from pycocotools import mask as coco_mask
from tests.convert.parity import HEIGHT, VARIANTS, WIDTH, load_images, load_reference, make_config, reference_network

from maskrcnn.convert.torchvision import rename
from maskrcnn.data.batches.mask_crops import pixel_crop
from maskrcnn.data.batches.targets import AssignSettings, assign_anchors
from maskrcnn.data.batches.views import View
from maskrcnn.ops.anchors import anchor_grid

LOSSES = ("objectness", "rpn_box_reg", "classifier", "box_reg", "mask")  # in our order


@pytest.fixture(scope="module")
def reference():
    return load_reference()


SLOW = [pytest.param(prefix, marks=pytest.mark.slow) for prefix in ("aligned/", "adaptive/")]


@pytest.fixture(scope="module", params=["", *SLOW], ids=["torchvision", "aligned", "adaptive"])
def variant(request):
    return request.param


@pytest.fixture(scope="module")
def network(reference, variant):
    return reference_network(reference, **VARIANTS[variant])


@pytest.fixture(scope="module")
def batch(reference):
    """The arguments of the network in training."""
    cfg = make_config(reference)
    images, sizes = load_images(reference)
    slots = cfg.max_instance_count
    boxes, labels = np.zeros((2, slots, 4), np.float32), np.zeros((2, slots), np.int32)
    crops = np.zeros((2, slots, cfg.mask_crop_size, cfg.mask_crop_size), np.uint8)
    grid = anchor_grid(HEIGHT, WIDTH, cfg.anchor_scales, cfg.anchor_ratios, cfg.anchor_strides, cfg.anchor_rounding)
    settings = AssignSettings.from_config(cfg)
    samples = []
    for i, (height, width) in enumerate(sizes.astype(int)):
        truth = reference[f"target/boxes_{i}"]
        boxes[i, : len(truth)] = truth
        labels[i, : len(truth)] = reference[f"target/labels_{i}"]
        view = View((height, width), (HEIGHT, WIDTH), (height, width), (height, width))
        for k, mask in enumerate(reference[f"target/masks_{i}"]):
            counts = coco_mask.encode(np.asfortranarray(mask))["counts"]
            crops[i, k] = pixel_crop(counts, view, truth[k], cfg.mask_crop_size)
        samples.append(assign_anchors(grid, truth, np.zeros(len(truth), bool), settings, None))
    candidates = cfg.rpn_proposal_max_num + slots
    keys = np.tile(1 - np.arange(candidates, dtype=np.float32) / candidates, (2, 1))  # the first candidates first
    anchors = [np.stack([getattr(s, part) for s in samples]) for part in ("index", "label", "target")]
    return images, sizes, boxes, labels, crops, (labels > 0).astype(np.float32), *anchors, keys


def test_the_same_anchors_are_sampled(batch, reference) -> None:
    index, label = batch[6], batch[7]
    for i in range(2):
        for name, value in (("pos", 1), ("neg", 0)):
            expected = np.flatnonzero(reference[f"train/rpn_sampled_{name}"][i])
            np.testing.assert_array_equal(np.sort(index[i][label[i] == value]), expected)


class Total(nn.Cell):
    def __init__(self, net) -> None:
        super().__init__()
        self.net = net

    def construct(self, *arguments):
        losses = self.net(*arguments)
        return losses[0] + losses[1] + losses[2] + losses[3] + losses[4], losses


class Step(nn.Cell):
    """Losses and gradients with respect to ``weights``."""

    def __init__(self, total: Total, weights) -> None:
        super().__init__()
        self.derive = ms.value_and_grad(total, None, ms.ParameterTuple(weights), has_aux=True)

    def construct(self, *arguments):
        return self.derive(*arguments)


@pytest.fixture(scope="module")
def step(network, batch):
    """The five losses and the gradients by name."""
    names = [name for name, parameter in network.parameters_dict().items() if parameter.requires_grad]
    weights = [network.parameters_dict()[name] for name in names]
    total = Total(network)
    total.set_train(True)
    (_, losses), gradients = Step(total, weights)(*map(Tensor, batch))
    losses = losses[0] if len(losses) == 1 else losses
    total.set_train(False)
    return [float(loss.asnumpy()) for loss in losses], {n: g.asnumpy() for n, g in zip(names, gradients)}


def test_losses(step, variant, reference) -> None:
    losses, _ = step
    expected = [float(reference[f"{variant}train/loss_{name}"][0]) for name in LOSSES]
    np.testing.assert_allclose(losses, expected, rtol=1e-4)


def test_gradients(step, variant, reference) -> None:
    _, gradients = step
    theirs = {
        rename(str(n)).target: norm
        for n, norm in zip(reference["train/grad_names"], reference[f"{variant}train/grad_norms"])
    }
    assert gradients.keys() <= theirs.keys()
    for name, gradient in gradients.items():
        norm = float(np.linalg.norm(gradient.astype(np.float64)))
        assert norm == pytest.approx(float(theirs[name]), rel=1e-2, abs=1e-5), name
    shallow = [name[len("train/grad/") :] for name in reference.files if name.startswith("train/grad/")]
    assert shallow
    for name in shallow:
        ours = gradients[rename(name).target]
        expected = reference[f"{variant}train/grad/{name}"].reshape(ours.shape)
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-3 * np.abs(expected).max(), err_msg=name)
