"""Checkpoints of MindSpore's model zoo: ResNet classifiers (and mindcv's), and its trained Mask R-CNN."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from maskrcnn.checkpoint.weights import TRAINING_COUNTERS, TRAINING_STATE, ZOO_CLASSIFIER
from maskrcnn.convert.adapting import (
    COCO_IDS,
    COCO_NAMES,
    Conversion,
    Renamed,
    change,
    count_classes,
    finish,
    fold_eps,
    rename_all,
    require_shape,
    start_detector,
)
from maskrcnn.errors import CheckpointError
from maskrcnn.models.layers import BATCH_NORM_EPS

LEFT_OUT_STATE = Renamed(left_out="state of the optimizer")
ZOO_EPS = 1e-4  # of the batch normalisation in the zoo's ResNet
CLASSIFIERS = (ZOO_CLASSIFIER, "classifier.", "fc.")  # the zoo's, mindcv's, others
NORM = "(gamma|beta|moving_mean|moving_variance)"
RPN_LEVELS = "rpn_with_loss.rpn_convs_list."
RPN = {"rpn_conv": "rpn.conv", "rpn_cls": "rpn.cls_logits", "rpn_reg": "rpn.bbox_pred"}
DENSE = {
    "shared_fc_0": "box_head.fc.0",
    "shared_fc_1": "box_head.fc.1",
    "cls_scores": "box_head.cls_score",
    "reg_scores": "box_head.bbox_pred",
}
LAYOUT = "MindSpore model zoo Mask R-CNN"
CONFIG = "configs/mindspore_zoo.yaml"
SETTINGS = {  # of that file, what inference depends on
    "inclusive_boxes": True,
    "paste": "mindspore_zoo",
    "anchor_rounding": True,
    "roi_aligned": False,
    "max_pool_pads_end": True,
    "fpn_upsampling": "bilinear",
    "padding_counts": True,
}


def rename_resnet(name: str) -> Renamed | None:
    """A tensor of a ResNet of the zoo, of mindcv, or of the zoo's Mask R-CNN (without prefix) under our name."""
    for spelling in ("conv_down_sample.", "down_sample.0."):
        name = name.replace(spelling, "down_sample_layer.0.")
    for spelling in ("bn_down_sample.", "down_sample.1."):
        name = name.replace(spelling, "down_sample_layer.1.")
    block = r"layer[1-4]\.\d+\."
    convs = rf"(conv1|{block}conv[123]|{block}down_sample_layer\.0)\.weight"
    norms = rf"(bn1|{block}bn[123]|{block}down_sample_layer\.1)\.{NORM}"
    return Renamed(f"backbone.{name}") if re.fullmatch(f"{convs}|{norms}", name) else None


def convert_classifier(arrays: Mapping[str, np.ndarray], where: str, norm_eps: float | None = None) -> Conversion:
    """A ResNet classifier as a backbone.

    Args:
        norm_eps: eps of its batch normalisation; None takes the zoo's 1e-4 where its classifier is there, else ours.

    Raises:
        CheckpointError: a tensor that does not match, is missing or misshapen.
    """

    def rename(name: str) -> Renamed | None:
        if name.startswith(TRAINING_STATE) or name in TRAINING_COUNTERS:
            return LEFT_OUT_STATE
        if name.startswith(CLASSIFIERS):
            return Renamed(left_out="the ImageNet classifier")
        return rename_resnet(name)

    tensors, left_out = rename_all(arrays, rename, where)
    if norm_eps is None:
        norm_eps = ZOO_EPS if any(name.startswith(ZOO_CLASSIFIER) for name in arrays) else BATCH_NORM_EPS
    fold_eps(tensors, norm_eps, where)
    return Conversion("MindSpore ResNet", finish(tensors, where, whole=False), left_out)


def rename_detector(name: str) -> Renamed | None:
    """A tensor of the zoo's Mask R-CNN under our name."""
    if name.startswith(TRAINING_STATE) or name in TRAINING_COUNTERS:
        return LEFT_OUT_STATE
    if name.startswith("backbone."):
        return rename_resnet(name[len("backbone.") :])
    fpn = re.fullmatch(r"fpn_n(?:ce|ec)k\.(lateral|fpn)_convs_list\.([0-3])\.(weight|bias)", name)
    if fpn:
        return Renamed(f"fpn.{'lateral' if fpn[1] == 'lateral' else 'output'}.{fpn[2]}.{fpn[3]}")
    rpn = re.fullmatch(rf"{re.escape(RPN_LEVELS)}(\d)\.(rpn_conv|rpn_cls|rpn_reg)\.(weight|bias)", name)
    if rpn:
        return Renamed(f"{RPN[rpn[2]]}.{rpn[3]}") if rpn[1] == "0" else Renamed(left_out="shared with level 0")
    dense = re.fullmatch(r"rcnn_cls\.fpn_cls\.(\w+)\.(weight|bias)", name)
    if dense and dense[1] in DENSE:
        return Renamed(f"{DENSE[dense[1]]}.{dense[2]}")
    mask = re.fullmatch(r"rcnn_mask\.fpn_mask\.mask_(conv[1-4]|deconv5|conv6)\.(weight|bias)", name)
    if mask:
        ours = {"deconv5": "deconv_", "conv6": "logits_"}.get(mask[1], f"convs.{int(mask[1][-1]) - 1}.")
        return Renamed(f"mask_head.{ours}{mask[2]}")
    return None


def convert_detector(arrays: Mapping[str, np.ndarray], where: str) -> Conversion:
    """The zoo's Mask R-CNN in our layout.

    Raises:
        CheckpointError: a tensor that does not match, is missing or misshapen, or RPN levels with weights of their own.
    """
    for name, array in arrays.items():
        match = re.fullmatch(rf"{re.escape(RPN_LEVELS)}[1-4](\..+)", name)
        if match and not np.array_equal(array, arrays.get(f"{RPN_LEVELS}0{match[1]}")):
            raise CheckpointError(
                f"{where}: {name} differs from level 0's; only one RPN for all levels can be converted"
            )
    tensors, left_out = start_detector(arrays, rename_detector, where)
    for ours in DENSE.values():
        require_shape(tensors, ours + ".weight", (None, None), where)
        change(tensors, ours + ".weight", "[in, out] to [out, in]", np.transpose)
    classes = (COCO_NAMES, COCO_IDS) if count_classes(tensors, where) == len(COCO_NAMES) + 1 else None
    finished = finish(tensors, where, whole=True)
    return Conversion(LAYOUT, finished, left_out, classes, CONFIG, dict(SETTINGS))
