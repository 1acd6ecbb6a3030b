"""What torchvision computed, and our network with the same weights: shared by the tests of inference and training."""

from __future__ import annotations

import json
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import Tensor
from tests.convert.recipe import weight

from maskrcnn.config import Config
from maskrcnn.config.parsing import read_yaml
from maskrcnn.convert import Weights, convert_weights
from maskrcnn.convert.layout import Heads, network_shapes
from maskrcnn.convert.torchvision import to_torchvision
from maskrcnn.models.build import build_network
from maskrcnn.models.mask_rcnn import MaskRCNN

ROOT = Path(__file__).resolve().parents[2]
HEIGHT, WIDTH = 192, 256

# torchvision's RoIAlign, the default one here, and detectron2's: where their numbers lie in the file, and the settings.
VARIANTS = {
    "": {},
    "aligned/": {"roi_aligned": True},
    "adaptive/": {"roi_aligned": True, "roi_layer": {"sample_num": 0}},
}


def load_reference():
    """The arrays of ``tests/data_files/parity_small.npz``; see ``make_parity_small.py`` there."""
    return np.load(ROOT / "tests" / "data_files" / "parity_small.npz")


def load_images(reference) -> tuple[np.ndarray, np.ndarray]:
    """The two photographs, padded: uint8 [2,H,W,3] and float32 [2,2]."""
    sizes = reference["input/image_sizes_hw"]
    images = np.zeros((len(sizes), HEIGHT, WIDTH, 3), np.uint8)
    for i, (height, width) in enumerate(sizes):
        images[i, :height, :width] = reference[f"input/rgb_{i}"]
    return images, sizes.astype(np.float32)


def make_config(reference, **changes) -> Config:
    """configs/torchvision.yaml at the size and with the counts of the file."""
    made = json.loads(str(reference["config"]))
    values = read_yaml(ROOT / "configs" / "torchvision.yaml")
    before, after = made["pre_nms"], made["post_nms"]
    values.update(img_width=WIDTH, img_height=HEIGHT, test_max_per_img=made["box"]["detections"])
    values.update(rpn_nms_pre=before, rpn_nms_post=after, rpn_max_num=after)
    values.update(rpn_proposal_nms_pre=before, rpn_proposal_nms_post=after, rpn_proposal_max_num=after)
    values.update(num_expected_neg=made["rpn"]["sample"], num_expected_total_stage2=made["box"]["sample"])
    values.update(num_expected_pos=int(made["rpn"]["sample"] * made["rpn"]["positive"]), max_instance_count=20)
    values.update(num_expected_pos_stage2=int(made["box"]["sample"] * made["box"]["positive"]), mask_roi_num=16)
    return Config.from_dict({**values, **changes})


def reference_network(reference, **changes) -> MaskRCNN:
    """The network of ``make_config`` with the recipe's weights."""
    return recipe_network(make_config(reference, **changes), json.loads(str(reference["config"]))["classes"])


def recipe_network(cfg: Config, classes: int) -> MaskRCNN:
    """A ResNet-50 network in inference mode with the recipe's weights, converted from torchvision's names."""
    shapes = network_shapes("resnet50", Heads(classes))
    names = to_torchvision({name: np.zeros(shape) for name, shape in shapes.items()}, "")
    weights = Weights({name: weight(name, array.shape) for name, array in names.items()}, "", {})
    tensors = convert_weights(weights, "the recipe", all_classes=True).tensors
    ms.set_context(mode=ms.GRAPH_MODE)
    net = build_network(cfg, classes)
    net.set_train(False)
    parameters = net.parameters_dict()
    assert parameters.keys() == tensors.keys()
    for name, parameter in parameters.items():
        parameter.set_data(Tensor(tensors[name].array))
    return net
