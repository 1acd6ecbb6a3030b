"""Names and shapes of our network's parameters, computed without building it.

A test holds them against ``MaskRCNN.parameters_dict()``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from maskrcnn.config.backbones import BACKBONES
from maskrcnn.models.backbones import conv_norms

NORM_PARTS = ("gamma", "beta", "moving_mean", "moving_variance")
MISSING = 0.25  # share of a backbone's convolutions that may be missing or too many for it still to be recognised
Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Heads:
    """Sizes of everything behind the backbone.

    classes: with the background. anchors: at each position. roi_size: cells along a side of a box RoI's features.
    """

    classes: int
    fpn: int = 256
    rpn: int = 256
    anchors: int = 3
    roi_size: int = 7
    fc: int = 1024
    num_fc: int = 2
    mask: int = 256
    num_mask: int = 4


def backbone_shapes(backbone: str) -> Shapes:
    """Parameters of a backbone with batch normalisation (frozen or not)."""
    shapes: Shapes = {}
    for conv, norm, (out, channels, kernel) in conv_norms(backbone):
        shapes[f"backbone.{conv}.weight"] = (out, channels, kernel, kernel)
        shapes.update({f"backbone.{norm}.{part}": (out,) for part in NORM_PARTS})
    return shapes


def network_shapes(backbone: str, heads: Heads) -> Shapes:
    """Parameters of the whole network."""
    shapes = backbone_shapes(backbone)
    channels = BACKBONES[backbone].channels

    def layer(name: str, weight: tuple[int, ...], out: int) -> None:
        shapes[name + ".weight"] = weight
        shapes[name + ".bias"] = (out,)

    fpn, rpn, fc, mask = heads.fpn, heads.rpn, heads.fc, heads.mask
    for i, width in enumerate(channels):
        layer(f"fpn.lateral.{i}", (fpn, width, 1, 1), fpn)
    for i in range(len(channels)):
        layer(f"fpn.output.{i}", (fpn, fpn, 3, 3), fpn)
    layer("rpn.conv", (rpn, fpn, 3, 3), rpn)
    layer("rpn.cls_logits", (heads.anchors, rpn, 1, 1), heads.anchors)
    layer("rpn.bbox_pred", (4 * heads.anchors, rpn, 1, 1), 4 * heads.anchors)
    for i in range(heads.num_fc):
        layer(f"box_head.fc.{i}", (fc, fc if i else fpn * heads.roi_size**2), fc)
    layer("box_head.cls_score", (heads.classes, fc), heads.classes)
    layer("box_head.bbox_pred", (4 * heads.classes, fc), 4 * heads.classes)
    for i in range(heads.num_mask):
        layer(f"mask_head.convs.{i}", (mask, mask if i else fpn, 3, 3), mask)
    shapes["mask_head.deconv_weight"] = (mask, mask, 2, 2)
    shapes["mask_head.deconv_bias"] = (mask,)
    shapes["mask_head.logits_weight"] = (heads.classes, mask)
    shapes["mask_head.logits_bias"] = (heads.classes,)
    return shapes


def backbone_of(shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    """Which backbone the parameters (under our names) belong to, by its convolutions' names; None if none of ours.

    A few may be missing or too many, so that an error can say which.
    """
    found = {name for name, shape in shapes.items() if name.startswith("backbone.") and len(shape) == 4}
    closest, share = None, MISSING
    for backbone in BACKBONES:
        names = {f"backbone.{conv}.weight" for conv, _, _ in conv_norms(backbone)}
        if len(names ^ found) / len(names) < share:
            closest, share = backbone, len(names ^ found) / len(names)
    return closest


def heads_of(shapes: Mapping[str, tuple[int, ...]]) -> Heads:
    """Sizes of the heads whose parameters (under our names) have these shapes; KeyError names what is missing."""

    def count(prefix: str) -> int:
        return sum(1 for name in shapes if name.startswith(prefix) and name.endswith(".weight"))

    fpn = shapes["fpn.output.0.weight"][0]
    fc_out, fc_in = shapes["box_head.fc.0.weight"]
    return Heads(
        classes=shapes["box_head.cls_score.weight"][0],
        fpn=fpn,
        rpn=shapes["rpn.conv.weight"][0],
        anchors=shapes["rpn.cls_logits.weight"][0],
        roi_size=round((fc_in / fpn) ** 0.5),
        fc=fc_out,
        num_fc=count("box_head.fc."),
        mask=shapes["mask_head.deconv_weight"][0],
        num_mask=count("mask_head.convs."),
    )


def network_settings(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """Returns what the shapes of a whole network's parameters (under our names) say of its configuration.

    Keys that they do not tell, or that come out as for no network of ours, are left out.
    """
    backbone = backbone_of(shapes)
    try:
        heads = heads_of(shapes)
    except (KeyError, IndexError, ValueError):
        return {} if backbone is None else {"backbone": backbone}
    settings: dict[str, Any] = {
        "fpn_out_channels": heads.fpn,
        "rpn_feat_channels": heads.rpn,
        "roi_layer": {"out_size": heads.roi_size},
        "rcnn_num_layers": heads.num_fc,
        "rcnn_fc_out_channels": heads.fc,
        "rcnn_mask_num_layers": heads.num_mask,
        "rcnn_mask_out_channels": heads.mask,
    }
    if backbone is not None:
        stem, norm, (full_width, _, _) = conv_norms(backbone)[0]
        width = shapes.get(f"backbone.{stem}.weight", (full_width,))[0]
        has_statistics = f"backbone.{norm}.moving_variance" in shapes
        settings.update(backbone=backbone, backbone_width=width, norm="frozen_bn" if has_statistics else "gn")
    return settings
