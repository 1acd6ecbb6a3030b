"""torchvision's ``maskrcnn_resnet50_fpn`` and its ImageNet classifiers, there and back.

Names of both generations are read: before torchvision 0.13 the FPN, the RPN and the mask head had flatter ones.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from maskrcnn.convert.adapting import (
    COCO_IDS,
    COCO_NAMES,
    TORCH_NORM,
    Conversion,
    Renamed,
    change,
    count_classes,
    finish,
    fold_eps,
    rename_all,
    rename_torch_resnet,
    require_shape,
    start_detector,
    unpermute_columns,
)
from maskrcnn.convert.layout import backbone_of, heads_of, network_shapes
from maskrcnn.errors import CheckpointError
from maskrcnn.models.backbones import conv_norms
from maskrcnn.models.layers import BATCH_NORM_EPS
from maskrcnn.models.resnet import STEM_WIDTH

COCO_ROWS = 91  # torchvision's labels are COCO's category ids, background at 0
LAYOUT = "torchvision Mask R-CNN"
CONFIG = "configs/torchvision.yaml"
SETTINGS = {  # of that file, what inference depends on
    "img_width": 1344,
    "img_height": 832,
    "anchor_rounding": True,
    "roi_aligned": False,
    "rpn_min_bbox_min_size": 0.001,
    "test_min_bbox_size": 0.01,
    "paste": "torchvision",
}
PARTS = "(weight|bias)"
HEADS = {
    r"rpn\.head\.conv(?:\.0\.0)?": "rpn.conv.",
    r"rpn\.head\.cls_logits": "rpn.cls_logits.",
    r"rpn\.head\.bbox_pred": "rpn.bbox_pred.",
    r"roi_heads\.box_head\.fc6": "box_head.fc.0.",
    r"roi_heads\.box_head\.fc7": "box_head.fc.1.",
    r"roi_heads\.box_predictor\.cls_score": "box_head.cls_score.",
    r"roi_heads\.box_predictor\.bbox_pred": "box_head.bbox_pred.",
    r"roi_heads\.mask_predictor\.conv5_mask": "mask_head.deconv_",
    r"roi_heads\.mask_predictor\.mask_fcn_logits": "mask_head.logits_",
}


def rename(name: str) -> Renamed | None:
    """A tensor of ``maskrcnn_resnet50_fpn`` (any depth) under our name."""
    if name.startswith("backbone.body."):
        return rename_torch_resnet(name[len("backbone.body.") :])
    fpn = re.fullmatch(rf"backbone\.fpn\.(inner|layer)_blocks\.([0-3])(?:\.0)?\.{PARTS}", name)
    if fpn:
        return Renamed(f"fpn.{'lateral' if fpn[1] == 'inner' else 'output'}.{fpn[2]}.{fpn[3]}")
    older = re.fullmatch(rf"roi_heads\.mask_head\.mask_fcn(\d+)\.{PARTS}", name)
    if older:
        return Renamed(f"mask_head.convs.{int(older[1]) - 1}.{older[2]}")
    newer = re.fullmatch(rf"roi_heads\.mask_head\.(\d+)\.0\.{PARTS}", name)
    if newer:
        return Renamed(f"mask_head.convs.{newer[1]}.{newer[2]}")
    for pattern, ours in HEADS.items():
        match = re.fullmatch(rf"{pattern}\.{PARTS}", name)
        if match:
            return Renamed(ours + match[1])
    return None


def convert_detector(
    arrays: Mapping[str, np.ndarray], where: str, norm_eps: float = BATCH_NORM_EPS, all_classes: bool = False
) -> Conversion:
    """A Mask R-CNN of torchvision in our layout.

    Args:
        norm_eps: eps of its batch normalisation; torchvision sets 0 for its own COCO weights.
        all_classes: keep all 91 classes of a COCO model, including the ids that COCO does not use.

    Raises:
        CheckpointError: a tensor that does not match, is missing or misshapen.
    """
    tensors, left_out = start_detector(arrays, rename, where)
    classes = None
    if count_classes(tensors, where) == COCO_ROWS and not all_classes:
        classes = (COCO_NAMES, COCO_IDS)
        chosen = np.array((0, *COCO_IDS))
        for name in [
            n for n in tensors if n.startswith(("box_head.cls_score", "box_head.bbox_pred", "mask_head.logits"))
        ]:
            per_class = 4 if "bbox_pred" in name else 1
            rest = [None] * (tensors[name].array.ndim - 1)
            require_shape(tensors, name, (COCO_ROWS * per_class, *rest), where)
            index = (chosen[:, None] * per_class + np.arange(per_class)).ravel()
            change(tensors, name, "rows of COCO's 80 categories", lambda a, i=index: a[i])
    fold_eps(tensors, norm_eps, where)
    notes = (
        [] if classes is None else [f"its {COCO_ROWS} outputs are taken for COCO's; --all_classes keeps all of them"]
    )
    finished = finish(tensors, where, whole=True)
    return Conversion(LAYOUT, finished, left_out, classes, CONFIG, dict(SETTINGS), notes)


def convert_classifier(arrays: Mapping[str, np.ndarray], where: str, norm_eps: float = BATCH_NORM_EPS) -> Conversion:
    """An ImageNet ResNet of torchvision as a backbone.

    Raises:
        CheckpointError: a tensor that does not match, is missing or misshapen.
    """

    def rename_or_leave(name: str) -> Renamed | None:
        return (
            Renamed(left_out="the ImageNet classifier")
            if name in ("fc.weight", "fc.bias")
            else rename_torch_resnet(name)
        )

    tensors, left_out = rename_all(arrays, rename_or_leave, where)
    fold_eps(tensors, norm_eps, where)
    return Conversion("torchvision ResNet", finish(tensors, where, whole=False), left_out)


def to_torchvision(arrays: Mapping[str, np.ndarray], where: str) -> dict[str, np.ndarray]:
    """Our whole network under torchvision's names and in its layout, values untouched.

    The result loads into ``maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=K+1)``.

    Raises:
        CheckpointError: ``arrays`` is not a whole network of ours, or its backbone is not torchvision's: group
            normalisation, or another width.
    """
    shapes = {name: array.shape for name, array in arrays.items()}
    stem = shapes.get("backbone.conv1.weight", (STEM_WIDTH,))
    if stem[0] != STEM_WIDTH:
        raise CheckpointError(
            f"{where} cannot be exported: its backbone is {stem[0]} channels wide (backbone_width), "
            f"torchvision's {STEM_WIDTH}"
        )
    if "backbone.bn1.gamma" in shapes and "backbone.bn1.moving_variance" not in shapes:
        raise CheckpointError(
            f"{where} cannot be exported: its backbone has group normalisation (norm gn), torchvision's has batch "
            "normalisation"
        )
    backbone = backbone_of(shapes)
    try:
        heads = heads_of(shapes)
        expected = network_shapes(backbone or "", heads)
    except (KeyError, IndexError, ValueError) as error:
        raise CheckpointError(f"{where} is not a whole Mask R-CNN of ours: {error} is missing or misshapen") from error
    for name, shape in expected.items():
        if shapes.get(name) != shape:
            found = list(shapes[name]) if name in shapes else "missing"
            raise CheckpointError(f"{where}: {name} is {found}, torchvision's layout needs {list(shape)}")
    for name in shapes:
        if name not in expected:
            raise CheckpointError(f"{where}: {name} has no place in torchvision's Mask R-CNN")

    result = {}
    ours_of_norm = {part: torch for torch, part in TORCH_NORM.items()}
    for conv, norm, _ in conv_norms(backbone):
        names = [(f"{conv}.weight", f"{conv}.weight")]
        names += [(f"{norm}.{part}", f"{norm}.{torch}") for part, torch in ours_of_norm.items()]
        for ours, theirs in names:
            key = "backbone.body." + theirs.replace("down_sample_layer", "downsample")
            result[key] = arrays[f"backbone.{ours}"]
    layers = {f"fpn.lateral.{i}.": f"backbone.fpn.inner_blocks.{i}.0." for i in range(4)}
    layers.update({f"fpn.output.{i}.": f"backbone.fpn.layer_blocks.{i}.0." for i in range(4)})
    layers["rpn.conv."] = "rpn.head.conv.0.0."
    layers.update({f"rpn.{name}.": f"rpn.head.{name}." for name in ("cls_logits", "bbox_pred")})
    layers.update({f"box_head.fc.{i}.": f"roi_heads.box_head.fc{6 + i}." for i in range(heads.num_fc)})
    layers.update({f"box_head.{name}.": f"roi_heads.box_predictor.{name}." for name in ("cls_score", "bbox_pred")})
    layers.update({f"mask_head.convs.{i}.": f"roi_heads.mask_head.{i}.0." for i in range(heads.num_mask)})
    layers["mask_head.deconv_"] = "roi_heads.mask_predictor.conv5_mask."
    layers["mask_head.logits_"] = "roi_heads.mask_predictor.mask_fcn_logits."
    for ours, theirs in layers.items():
        for part in ("weight", "bias"):
            array = arrays[ours + part]
            if ours + part == "box_head.fc.0.weight":
                array = unpermute_columns(array, heads.fpn, heads.roi_size)
            elif ours + part == "mask_head.logits_weight":
                array = array[:, :, None, None]
            result[theirs + part] = array
    return {name: np.ascontiguousarray(array) for name, array in result.items()}
