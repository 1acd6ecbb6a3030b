"""Every tensor of a detector by value, against a mapping written down here, without the converter's code.

All tensors of a source hold different values, so any two that are exchanged are noticed.
"""

from __future__ import annotations

import numpy as np
import pytest
from tests.convert import foreign

from maskrcnn.convert import Weights, convert_weights

BLOCKS = {"resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}
NORM = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
PARTS = ("weight", "bias")
# Torchvision's rows of COCO's 80 classes behind the background: the category ids, of which these are not used.
ROWS = [row for row in range(91) if row not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)]


def column_order() -> list[int]:
    """For each column (y, x, channel) of our first fully connected layer that of (channel, y, x) elsewhere."""
    return [c * 49 + y * 7 + x for y in range(7) for x in range(7) for c in range(256)]


def blocks(backbone: str) -> list[tuple[int, int]]:
    """Stage 1..4 and number of every block."""
    return [(stage, i) for stage, depth in enumerate(BLOCKS[backbone], 1) for i in range(depth)]


def torchvision_expected(theirs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    body = {"conv1.weight": "conv1.weight", **{f"bn1.{ours}": f"bn1.{name}" for ours, name in NORM.items()}}
    for stage, i in blocks("resnet50"):
        block = f"layer{stage}.{i}."
        for n in (1, 2, 3):
            body[f"{block}conv{n}.weight"] = f"{block}conv{n}.weight"
            body.update({f"{block}bn{n}.{ours}": f"{block}bn{n}.{name}" for ours, name in NORM.items()})
        if i == 0:
            body[f"{block}down_sample_layer.0.weight"] = f"{block}downsample.0.weight"
            body.update({f"{block}down_sample_layer.1.{o}": f"{block}downsample.1.{name}" for o, name in NORM.items()})
    names = {f"backbone.{ours}": f"backbone.body.{name}" for ours, name in body.items()}
    for part in PARTS:
        for i in range(4):
            names[f"fpn.lateral.{i}.{part}"] = f"backbone.fpn.inner_blocks.{i}.0.{part}"
            names[f"fpn.output.{i}.{part}"] = f"backbone.fpn.layer_blocks.{i}.0.{part}"
            names[f"mask_head.convs.{i}.{part}"] = f"roi_heads.mask_head.{i}.0.{part}"
        names[f"rpn.conv.{part}"] = f"rpn.head.conv.0.0.{part}"
        names[f"rpn.cls_logits.{part}"] = f"rpn.head.cls_logits.{part}"
        names[f"rpn.bbox_pred.{part}"] = f"rpn.head.bbox_pred.{part}"
        names[f"box_head.fc.0.{part}"] = f"roi_heads.box_head.fc6.{part}"
        names[f"box_head.fc.1.{part}"] = f"roi_heads.box_head.fc7.{part}"
        names[f"mask_head.deconv_{part}"] = f"roi_heads.mask_predictor.conv5_mask.{part}"
    expected = {ours: theirs[name] for ours, name in names.items()}
    expected["box_head.fc.0.weight"] = expected["box_head.fc.0.weight"][:, column_order()]
    for part in PARTS:
        predictor = "roi_heads.box_predictor."
        expected[f"box_head.cls_score.{part}"] = theirs[f"{predictor}cls_score.{part}"][ROWS]
        boxes = theirs[f"{predictor}bbox_pred.{part}"]
        expected[f"box_head.bbox_pred.{part}"] = np.concatenate([boxes[4 * row : 4 * row + 4] for row in ROWS])
    logits = "roi_heads.mask_predictor.mask_fcn_logits."
    expected["mask_head.logits_weight"] = theirs[logits + "weight"][ROWS][:, :, 0, 0]
    expected["mask_head.logits_bias"] = theirs[logits + "bias"][ROWS]
    return expected


def detectron2_expected(theirs: dict[str, np.ndarray], backbone: str) -> dict[str, np.ndarray]:
    body = {"conv1.weight": "stem.conv1.weight"}
    body.update({f"bn1.{ours}": f"stem.conv1.norm.{name}" for ours, name in NORM.items()})
    for stage, i in blocks(backbone):
        ours, name = f"layer{stage}.{i}.", f"res{stage + 1}.{i}."
        layers = [(f"conv{n}", f"bn{n}", f"conv{n}") for n in (1, 2, 3)]
        if i == 0:
            layers.append(("down_sample_layer.0", "down_sample_layer.1", "shortcut"))
        for conv, norm, layer in layers:
            body[f"{ours}{conv}.weight"] = f"{name}{layer}.weight"
            body.update({f"{ours}{norm}.{part}": f"{name}{layer}.norm.{theirs_}" for part, theirs_ in NORM.items()})
    names = {f"backbone.{ours}": f"backbone.bottom_up.{name}" for ours, name in body.items()}
    for part in PARTS:
        for i in range(4):
            names[f"fpn.lateral.{i}.{part}"] = f"backbone.fpn_lateral{i + 2}.{part}"
            names[f"fpn.output.{i}.{part}"] = f"backbone.fpn_output{i + 2}.{part}"
            names[f"mask_head.convs.{i}.{part}"] = f"roi_heads.mask_head.mask_fcn{i + 1}.{part}"
        names[f"rpn.conv.{part}"] = f"proposal_generator.rpn_head.conv.{part}"
        names[f"rpn.cls_logits.{part}"] = f"proposal_generator.rpn_head.objectness_logits.{part}"
        names[f"rpn.bbox_pred.{part}"] = f"proposal_generator.rpn_head.anchor_deltas.{part}"
        names[f"box_head.fc.0.{part}"] = f"roi_heads.box_head.fc1.{part}"
        names[f"box_head.fc.1.{part}"] = f"roi_heads.box_head.fc2.{part}"
        names[f"mask_head.deconv_{part}"] = f"roi_heads.mask_head.deconv.{part}"
    expected = {ours: theirs[name] for ours, name in names.items()}
    expected["backbone.conv1.weight"] = expected["backbone.conv1.weight"][:, [2, 1, 0]]
    expected["box_head.fc.0.weight"] = expected["box_head.fc.0.weight"][:, column_order()]
    for part in PARTS:
        scores = theirs[f"roi_heads.box_predictor.cls_score.{part}"]
        expected[f"box_head.cls_score.{part}"] = scores[[80, *range(80)]]
        boxes = theirs[f"roi_heads.box_predictor.bbox_pred.{part}"]
        expected[f"box_head.bbox_pred.{part}"] = np.concatenate([np.zeros_like(boxes[:4]), boxes])
        masks = theirs[f"roi_heads.mask_head.predictor.{part}"].reshape(80, -1).squeeze()
        expected[f"mask_head.logits_{part}"] = np.concatenate([np.zeros_like(masks[:1]), masks])
    return expected


def zoo_expected(theirs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    same = ["conv1.weight", *(f"bn1.{part}" for part in NORM)]
    body = dict(zip(same, same))
    for stage, i in blocks("resnet50"):
        block = f"layer{stage}.{i}."
        for n in (1, 2, 3):
            for name in (f"{block}conv{n}.weight", *(f"{block}bn{n}.{part}" for part in NORM)):
                body[name] = name
        if i == 0:
            body[f"{block}down_sample_layer.0.weight"] = f"{block}conv_down_sample.weight"
            body.update({f"{block}down_sample_layer.1.{part}": f"{block}bn_down_sample.{part}" for part in NORM})
    names = {f"backbone.{ours}": f"backbone.{name}" for ours, name in body.items()}
    for part in PARTS:
        for i in range(4):
            names[f"fpn.lateral.{i}.{part}"] = f"fpn_ncek.lateral_convs_list.{i}.{part}"
            names[f"fpn.output.{i}.{part}"] = f"fpn_ncek.fpn_convs_list.{i}.{part}"
            names[f"mask_head.convs.{i}.{part}"] = f"rcnn_mask.fpn_mask.mask_conv{i + 1}.{part}"
        for ours, name in (("conv", "conv"), ("cls_logits", "cls"), ("bbox_pred", "reg")):
            names[f"rpn.{ours}.{part}"] = f"rpn_with_loss.rpn_convs_list.0.rpn_{name}.{part}"
        for ours, name in (("fc.0", "shared_fc_0"), ("fc.1", "shared_fc_1"), ("cls_score", "cls_scores")):
            names[f"box_head.{ours}.{part}"] = f"rcnn_cls.fpn_cls.{name}.{part}"
        names[f"box_head.bbox_pred.{part}"] = f"rcnn_cls.fpn_cls.reg_scores.{part}"
        names[f"mask_head.deconv_{part}"] = f"rcnn_mask.fpn_mask.mask_deconv5.{part}"
        names[f"mask_head.logits_{part}"] = f"rcnn_mask.fpn_mask.mask_conv6.{part}"
    expected = {ours: theirs[name] for ours, name in names.items()}
    for ours in expected:
        if ours.startswith("box_head.") and ours.endswith(".weight"):
            expected[ours] = expected[ours].T
    expected["box_head.fc.0.weight"] = expected["box_head.fc.0.weight"][:, column_order()]
    expected["mask_head.logits_weight"] = expected["mask_head.logits_weight"][:, :, 0, 0]
    return expected


@pytest.mark.parametrize("source", ["torchvision", "detectron2 resnet50", "detectron2 resnet101", "zoo"])
def test_every_tensor_lands_where_it_should(source) -> None:
    if source == "torchvision":
        theirs = foreign.filled(foreign.torch_detector())
        expected = torchvision_expected(theirs)
    elif source == "zoo":
        theirs = foreign.filled(foreign.zoo_detector())
        expected = zoo_expected(theirs)
    else:
        backbone = source.split()[1]
        theirs = foreign.detectron2_arrays(backbone=backbone)
        expected = detectron2_expected(theirs, backbone)
    found = convert_weights(Weights(theirs, "", {}), "the file").tensors
    assert found.keys() == expected.keys()
    wrong = [name for name in expected if not np.array_equal(found[name].array, expected[name])]
    assert not wrong
