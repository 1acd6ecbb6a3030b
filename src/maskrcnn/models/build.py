"""The network of a configuration: the one place where settings become parts."""

from __future__ import annotations

from maskrcnn.config import Config
from maskrcnn.config.backbones import BACKBONES
from maskrcnn.models.backbones import build_backbone
from maskrcnn.models.box_head import BoxHead, DetectionSettings
from maskrcnn.models.fpn import FPN
from maskrcnn.models.mask_head import MaskHead
from maskrcnn.models.mask_rcnn import MaskRCNN
from maskrcnn.models.roi_pool import RoIPool
from maskrcnn.models.roi_sampler import RoISampler, SamplerSettings
from maskrcnn.models.rpn import RPN, ProposalSettings
from maskrcnn.ops.anchors import anchor_grid
from maskrcnn.ops.box_coder import BoxCoder
from maskrcnn.ops.roi_align import RoIAlignSettings


def build_network(cfg: Config, num_classes: int, world_size: int = 1) -> MaskRCNN:
    """Builds the network of a configuration, freshly initialised.

    Args:
        cfg: The configuration.
        num_classes: With the background.
        world_size: Processes that train it together.
    """
    # The order in which parts are made is that in which their weights are drawn: it decides what a seed means.
    backbone = build_backbone(cfg)
    rpn = _rpn(cfg)
    coder = BoxCoder(means=cfg.rcnn_target_means, stds=cfg.rcnn_target_stds, convention=cfg.box_convention)
    box_head = BoxHead(
        _pool(cfg, cfg.roi_layer["out_size"], coder),
        in_channels=cfg.fpn_out_channels,
        channels=cfg.rcnn_fc_out_channels,
        num_layers=cfg.rcnn_num_layers,
        num_classes=num_classes,
        coder=coder,
        beta=cfg.rcnn_smooth_l1_beta,
        detection=DetectionSettings(
            score_thr=cfg.test_score_thr,
            iou_thr=cfg.test_iou_thr,
            nms_pre=cfg.test_nms_pre,
            max_per_img=cfg.test_max_per_img,
            min_size=cfg.test_min_bbox_size,
        ),
    )
    mask_head = MaskHead(
        _pool(cfg, cfg.roi_layer["mask_out_size"], coder),
        in_channels=cfg.fpn_out_channels,
        channels=cfg.rcnn_mask_out_channels,
        num_layers=cfg.rcnn_mask_num_layers,
        num_classes=num_classes,
        mask_targets=cfg.mask_targets,
    )
    fpn = FPN(backbone.out_channels, cfg.fpn_out_channels, bilinear=cfg.fpn_upsampling == "bilinear")
    return MaskRCNN(
        backbone=backbone,
        fpn=fpn,
        rpn=rpn,
        roi_sampler=_roi_sampler(cfg, coder),
        box_head=box_head,
        mask_head=mask_head,
        pixel_mean=cfg.pixel_mean,
        pixel_std=cfg.pixel_std,
        padding_counts=cfg.padding_counts,
        loss_weights={
            "rpn_cls_loss": cfg.rpn_loss_cls_weight,
            "rpn_reg_loss": cfg.rpn_loss_reg_weight,
            "rcnn_cls_loss": cfg.rcnn_loss_cls_weight,
            "rcnn_reg_loss": cfg.rcnn_loss_reg_weight,
            "rcnn_mask_loss": cfg.rcnn_loss_mask_fb_weight,
        },
        world_size=world_size,
    )


def _rpn(cfg: Config) -> RPN:
    strides = BACKBONES[cfg.backbone].strides
    strides = (*strides, 2 * strides[-1])  # P6
    return RPN(
        in_channels=cfg.fpn_out_channels,
        channels=cfg.rpn_feat_channels,
        anchors=anchor_grid(
            strides[-1],
            strides[-1],
            scales=cfg.anchor_scales,
            ratios=cfg.anchor_ratios,
            strides=strides,
            rounding=cfg.anchor_rounding,
            convention=cfg.box_convention,
        ),
        coder=BoxCoder(means=cfg.rpn_target_means, stds=cfg.rpn_target_stds, convention=cfg.box_convention),
        beta=cfg.rpn_smooth_l1_beta,
        train_proposals=ProposalSettings(
            nms_pre=cfg.rpn_proposal_nms_pre,
            nms_post=cfg.rpn_proposal_nms_post,
            max_num=cfg.rpn_proposal_max_num,
            nms_thr=cfg.rpn_proposal_nms_thr,
            min_size=cfg.rpn_proposal_min_bbox_size,
        ),
        test_proposals=ProposalSettings(
            nms_pre=cfg.rpn_nms_pre,
            nms_post=cfg.rpn_nms_post,
            max_num=cfg.rpn_max_num,
            nms_thr=cfg.rpn_nms_thr,
            min_size=cfg.rpn_min_bbox_min_size,
        ),
    )


def _roi_sampler(cfg: Config, coder: BoxCoder) -> RoISampler:
    settings = SamplerSettings(
        positive_iou=cfg.pos_iou_thr_stage2,
        negative_iou=cfg.neg_iou_thr_stage2,
        crowd_ioa=cfg.crowd_iou_thr,
        num_positive=cfg.num_expected_pos_stage2,
        num_total=cfg.num_expected_total_stage2,
        num_mask=cfg.mask_roi_num,
    )
    return RoISampler(settings, coder)


def _pool(cfg: Config, size: int, coder: BoxCoder) -> RoIPool:
    settings = RoIAlignSettings(
        size=size,
        sampling=cfg.roi_layer["sample_num"],
        aligned=cfg.roi_aligned,
        strides=BACKBONES[cfg.backbone].strides,
        finest_scale=cfg.roi_align_finest_scale,
    )
    return RoIPool(settings, coder)
