"""The network of a configuration: every setting reaches its part, and the paper's network has the paper's size."""

from __future__ import annotations

from dataclasses import replace

import pytest

from maskrcnn.config import Config
from maskrcnn.config.backbones import BACKBONES
from maskrcnn.models.backbones import build_backbone, conv_norms
from maskrcnn.models.box_head import DetectionSettings
from maskrcnn.models.build import build_network
from maskrcnn.models.fpn import BilinearUpsample
from maskrcnn.models.roi_sampler import SamplerSettings
from maskrcnn.models.rpn import ProposalSettings
from maskrcnn.ops.box_coder import BoxCoder
from maskrcnn.ops.roi_align import RoIAlignSettings


def test_size_of_the_papers_network():
    """Convolutions, pyramid and heads have as many weights as torchvision's maskrcnn_resnet50_fpn for 91 classes."""
    net = build_network(Config(), 91)
    norms = ("gamma", "beta", "moving_mean", "moving_variance")
    weights = [p for p in net.get_parameters() if not p.name.endswith(norms)]
    assert sum(p.size for p in weights) == 44_401_393


def test_configuration_reaches_the_parts():
    cfg = Config().replace(
        backbone="resnet18",
        norm="gn",
        freeze_at=3,
        fpn_out_channels=32,
        rpn_feat_channels=16,
        rcnn_fc_out_channels=24,
        rcnn_num_layers=1,
        rcnn_mask_num_layers=3,
        rcnn_mask_out_channels=12,
        anchor_scales=(4.0, 8.0),
        rpn_proposal_nms_pre=901,
        rpn_proposal_nms_post=801,
        rpn_proposal_max_num=701,
        rpn_proposal_nms_thr=0.61,
        rpn_proposal_min_bbox_size=0.1,
        rpn_nms_pre=902,
        rpn_nms_post=802,
        rpn_max_num=702,
        rpn_nms_thr=0.62,
        rpn_min_bbox_min_size=0.2,
        rpn_smooth_l1_beta=0.3,
        rcnn_smooth_l1_beta=0.4,
        roi_align_finest_scale=50,
        roi_aligned=False,
        pos_iou_thr_stage2=0.55,
        neg_iou_thr_stage2=0.45,
        crowd_iou_thr=0.66,
        num_expected_pos_stage2=33,
        num_expected_total_stage2=99,
        mask_roi_num=22,
        mask_targets="torchvision",
        inclusive_boxes=True,
        padding_counts=True,
        max_pool_pads_end=True,
        fpn_upsampling="bilinear",
        test_min_bbox_size=0.3,
        test_score_thr=0.07,
        test_iou_thr=0.51,
        test_nms_pre=333,
        test_max_per_img=44,
        rpn_loss_cls_weight=1.1,
        rpn_loss_reg_weight=1.2,
        rcnn_loss_cls_weight=1.3,
        rcnn_loss_reg_weight=1.4,
        rcnn_loss_mask_fb_weight=1.5,
    )
    net = build_network(cfg, 7)
    box_pool, mask_pool = net.box_head.pool.settings, net.mask_head.pool.settings
    assert box_pool == RoIAlignSettings(size=7, sampling=2, aligned=False, strides=(4, 8, 16, 32), finest_scale=50)
    assert mask_pool == replace(box_pool, size=14) and net.mask_head.mask_size == 28
    assert net.roi_sampler.settings == SamplerSettings(0.55, 0.45, 0.66, num_positive=33, num_total=99, num_mask=22)
    assert net.mask_head.mask_targets == "torchvision"
    coder = BoxCoder((0.0,) * 4, (0.1, 0.1, 0.2, 0.2), "inclusive")
    for part in (net.roi_sampler, net.box_head, net.box_head.pool, net.mask_head.pool):
        assert part.coder == coder
    assert net.rpn.coder == BoxCoder((0.0,) * 4, (1.0,) * 4, "inclusive")
    assert net.rpn.strides == (4, 8, 16, 32, 64) and net.rpn.num_anchors == 6
    assert net.padding_counts and net.backbone.max_pool.pads == (0, 0, 1, 1)
    assert isinstance(net.fpn.upsample, BilinearUpsample)
    assert net.rpn.train_proposals == ProposalSettings(901, 801, 701, nms_thr=0.61, min_size=0.1)
    assert net.rpn.test_proposals == ProposalSettings(902, 802, 702, nms_thr=0.62, min_size=0.2)
    assert net.box_head.detection == DetectionSettings(0.07, 0.51, nms_pre=333, max_per_img=44, min_size=0.3)
    assert net.loss_names == ("rpn_cls_loss", "rpn_reg_loss", "rcnn_cls_loss", "rcnn_reg_loss", "rcnn_mask_loss")
    assert net.loss_weights == (1.1, 1.2, 1.3, 1.4, 1.5)
    assert (net.rpn.beta, net.box_head.beta) == (0.3, 0.4)
    assert not any(p.requires_grad for p in net.backbone.layer2.get_parameters())
    assert all(p.requires_grad for p in net.backbone.layer3.get_parameters())
    shapes = {p.name: tuple(p.shape) for p in net.get_parameters()}
    assert shapes["rpn.conv.weight"] == (16, 32, 3, 3) and shapes["rpn.cls_logits.weight"][0] == 6
    assert shapes["box_head.fc.0.weight"] == (24, 32 * 49) and "box_head.fc.1.weight" not in shapes
    assert shapes["box_head.bbox_pred.weight"] == (28, 24)
    assert shapes["mask_head.convs.2.weight"] == (12, 12, 3, 3) and shapes["mask_head.logits_weight"] == (7, 12)


@pytest.mark.parametrize("name", BACKBONES)
def test_every_row_of_the_table_is_a_backbone(name):
    """The network has the channels of its row and the convolutions that the converters expect."""
    backbone = build_backbone(Config(backbone=name))
    assert tuple(backbone.out_channels) == BACKBONES[name].channels
    expected = {f"{conv}.weight": (out, i, k, k) for conv, _, (out, i, k) in conv_norms(name)}
    found = {p.name: tuple(p.shape) for p in backbone.get_parameters() if p.name.endswith(".weight")}
    assert found == expected
    norms = {f"{norm}.gamma" for _, norm, _ in conv_norms(name)}
    assert norms == {p.name for p in backbone.get_parameters() if p.name.endswith(".gamma")}
