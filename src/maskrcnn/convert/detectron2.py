"""Mask R-CNN with ResNet-50 or 101 and FPN of detectron2's model zoo.

There the background is the last class and has neither boxes nor masks, images are BGR, and the stride of a stage is in
its first 1x1 convolution.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from maskrcnn.config import Config
from maskrcnn.convert.adapting import (
    COCO_IDS,
    COCO_NAMES,
    TORCH_NORM,
    Conversion,
    Renamed,
    change,
    count_classes,
    finish,
    require_shape,
    start_detector,
)
from maskrcnn.errors import CheckpointError
from maskrcnn.ops.anchors import anchor_grid

LAYOUT = "detectron2 Mask R-CNN"
CONFIG = "configs/detectron2.yaml"
SETTINGS = {  # of that file, what inference depends on
    "img_width": 1344,
    "img_height": 832,
    "pixel_mean": [123.675, 116.28, 103.53],
    "pixel_std": [1.0, 1.0, 1.0],
    "stride_in_1x1": True,
    "roi_layer": {"sample_num": 0},
}
ANCHORS = "proposal_generator.anchor_generator.cell_anchors."
ANCHOR_TOLERANCE = 1e-2  # pixels
PARTS = "(weight|bias)"
HEADS = {
    r"proposal_generator\.rpn_head\.conv": "rpn.conv.",
    r"proposal_generator\.rpn_head\.objectness_logits": "rpn.cls_logits.",
    r"proposal_generator\.rpn_head\.anchor_deltas": "rpn.bbox_pred.",
    r"roi_heads\.box_predictor\.cls_score": "box_head.cls_score.",
    r"roi_heads\.box_predictor\.bbox_pred": "box_head.bbox_pred.",
    r"roi_heads\.mask_head\.deconv": "mask_head.deconv_",
    r"roi_heads\.mask_head\.predictor": "mask_head.logits_",
}


def rename(name: str) -> Renamed | None:
    """A tensor of detectron2 under our name."""
    if name in ("pixel_mean", "pixel_std"):
        return Renamed(left_out="stands in the configuration")
    if name.startswith(ANCHORS):
        return Renamed(left_out="checked: the anchors are ours")
    if name.startswith("backbone.bottom_up."):
        return _rename_backbone(name[len("backbone.bottom_up.") :])
    fpn = re.fullmatch(rf"backbone\.fpn_(lateral|output)([2-5])\.{PARTS}", name)
    if fpn:
        return Renamed(f"fpn.{fpn[1]}.{int(fpn[2]) - 2}.{fpn[3]}")
    numbered = re.fullmatch(rf"roi_heads\.(box_head\.fc|mask_head\.mask_fcn)(\d+)\.{PARTS}", name)
    if numbered:
        ours = "box_head.fc" if numbered[1].startswith("box") else "mask_head.convs"
        return Renamed(f"{ours}.{int(numbered[2]) - 1}.{numbered[3]}")
    for pattern, ours in HEADS.items():
        match = re.fullmatch(rf"{pattern}\.{PARTS}", name)
        if match:
            return Renamed(ours + match[1])
    return None


def _rename_backbone(name: str) -> Renamed | None:
    if name.endswith(".num_batches_tracked"):
        return Renamed(left_out="a counter of training steps")
    match = re.fullmatch(r"(stem|res[2-5]\.\d+)\.(conv[123]|shortcut)\.(norm\.)?(\w+)", name)
    if not match:
        return None
    place, layer, is_norm, part = match.groups()
    if (is_norm and part not in TORCH_NORM) or (not is_norm and part != "weight"):
        return None
    block = "" if place == "stem" else f"layer{int(place[3]) - 1}{place[4:]}."
    if layer == "shortcut":
        ours = "down_sample_layer.1" if is_norm else "down_sample_layer.0"
    else:
        ours = layer.replace("conv", "bn") if is_norm else layer
    return Renamed(f"backbone.{block}{ours}.{TORCH_NORM[part] if is_norm else part}")


def convert_detector(arrays: Mapping[str, np.ndarray], where: str) -> Conversion:
    """A Mask R-CNN of detectron2 in our layout.

    Raises:
        CheckpointError: a tensor that does not match, is missing or misshapen, or other anchors than ours.
    """
    _check_anchors(arrays, where)
    tensors, left_out = start_detector(arrays, rename, where)
    score, foreground = "box_head.cls_score.", max(count_classes(tensors, where) - 1, 0)
    for part, rest in (("weight", (None,)), ("bias", ())):
        require_shape(tensors, score + part, (foreground + 1, *rest), where)
        change(tensors, score + part, "background from last to first", lambda a: np.concatenate([a[-1:], a[:-1]]))
        for name, per_class in ((f"box_head.bbox_pred.{part}", 4), (f"mask_head.logits_{part}", 1)):
            require_shape(tensors, name, (foreground * per_class, *rest), where)
            change(
                tensors,
                name,
                "zeros for the background",
                lambda a, n=per_class: np.concatenate([np.zeros((n, *a.shape[1:]), a.dtype), a]),
            )
    notes, settings = [], dict(SETTINGS)
    mean = np.ravel(arrays["pixel_mean"]) if "pixel_mean" in arrays else np.array(_BGR_MEAN)
    if len(mean) != 3:
        raise CheckpointError(f"{where}: tensor pixel_mean has shape {list(mean.shape)}, expected [3]")
    std = np.ravel(arrays["pixel_std"]) if "pixel_std" in arrays else np.ones(3)
    if mean[0] < mean[2]:  # ImageNet's blue mean is the smallest
        stem = "backbone.conv1.weight"
        require_shape(tensors, stem, (None, 3, None, None), where)
        change(tensors, stem, "input channels from BGR to RGB", lambda a: a[:, ::-1])
        mean, std = mean[::-1], std[::-1]
    if not (np.allclose(mean, _BGR_MEAN[::-1], atol=1e-2) and np.allclose(std, 1, atol=1e-3)):
        settings["pixel_mean"], settings["pixel_std"] = ([round(float(v), 3) for v in values] for values in (mean, std))
        notes.append(
            f"its pixels are not those of {CONFIG}: --pixel_mean '{settings['pixel_mean']}' --pixel_std "
            f"'{settings['pixel_std']}'; with a backbone from torchvision it needs --stride_in_1x1 false, too"
        )
    classes = (COCO_NAMES, COCO_IDS) if foreground == len(COCO_NAMES) else None
    finished = finish(tensors, where, whole=True)
    return Conversion(LAYOUT, finished, left_out, classes, CONFIG, settings, notes)


_BGR_MEAN = (103.53, 116.28, 123.675)


def _check_anchors(arrays: Mapping[str, np.ndarray], where: str) -> None:
    """Where the file tells its anchors, they must be ours, in our order: the RPN's channels follow it."""
    cfg = Config()
    coarsest = cfg.anchor_strides[-1]
    grid = anchor_grid(coarsest, coarsest, cfg.anchor_scales, cfg.anchor_ratios, cfg.anchor_strides)
    for i, level in enumerate(grid.levels):
        found = arrays.get(f"{ANCHORS}{i}")
        if found is None:
            continue
        if found.shape != level.cells.shape or not np.allclose(found, level.cells, atol=ANCHOR_TOLERANCE):
            raise CheckpointError(
                f"{where}: {ANCHORS}{i} are other anchors than anchor_scales {list(cfg.anchor_scales)} and "
                f"anchor_ratios {list(cfg.anchor_ratios)} give; only a model with these can be converted"
            )
