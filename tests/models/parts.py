"""Parts of the network with the paper's settings, of which a test states only what it is about."""

from __future__ import annotations

from mindspore import nn

from maskrcnn.config.backbones import BACKBONES
from maskrcnn.models.box_head import BoxHead, DetectionSettings
from maskrcnn.models.fpn import FPN
from maskrcnn.models.mask_head import MaskHead
from maskrcnn.models.mask_rcnn import MaskRCNN
from maskrcnn.models.resnet import ResNet
from maskrcnn.models.roi_pool import RoIPool
from maskrcnn.models.roi_sampler import RoISampler, SamplerSettings
from maskrcnn.models.rpn import RPN, ProposalSettings
from maskrcnn.ops.anchors import anchor_grid
from maskrcnn.ops.box_coder import BoxCoder
from maskrcnn.ops.roi_align import RoIAlignSettings

STRIDES = (4, 8, 16, 32, 64)
RATIOS = (0.5, 1.0, 2.0)
RPN_CODER = BoxCoder((0.0,) * 4, (1.0,) * 4, "continuous")
BOX_CODER = BoxCoder((0.0,) * 4, (0.1, 0.1, 0.2, 0.2), "continuous")
EQUAL_WEIGHTS = {
    "rpn_cls_loss": 1.0,
    "rpn_reg_loss": 1.0,
    "rcnn_cls_loss": 1.0,
    "rcnn_reg_loss": 1.0,
    "rcnn_mask_loss": 1.0,
}


def resnet(name: str, norm: str = "frozen_bn", freeze_at: int = 2, **changes) -> ResNet:
    settings = {"stride_in_1x1": False, "stem_width": 64, "pool_pads_end": False, **changes}
    return ResNet(**BACKBONES[name].settings, norm=norm, freeze_at=freeze_at, **settings)


def make_rpn(
    in_channels: int,
    channels: int,
    train: ProposalSettings,
    test: ProposalSettings,
    scales=(8,),
    rounding: bool = False,
    kind: type[RPN] = RPN,
) -> RPN:
    return kind(
        in_channels=in_channels,
        channels=channels,
        anchors=anchor_grid(64, 64, scales, RATIOS, STRIDES, rounding),
        coder=RPN_CODER,
        beta=1 / 9,
        train_proposals=train,
        test_proposals=test,
    )


def make_pool(size: int, finest_scale: float = 56.0) -> RoIPool:
    settings = RoIAlignSettings(size, sampling=2, aligned=True, strides=STRIDES[:4], finest_scale=finest_scale)
    return RoIPool(settings, BOX_CODER)


def detection(score_thr: float = 0.05, **changes) -> DetectionSettings:
    settings = {"iou_thr": 0.5, "nms_pre": 2000, "max_per_img": 100, "min_size": 0.0, **changes}
    return DetectionSettings(score_thr=score_thr, **settings)


def make_box_head(pool: RoIPool, in_channels: int, channels: int, num_layers: int, num_classes: int, **changes):
    settings = {"coder": BOX_CODER, "beta": 1.0, "detection": detection(), **changes}
    sizes = {"in_channels": in_channels, "channels": channels, "num_layers": num_layers, "num_classes": num_classes}
    return BoxHead(pool, **sizes, **settings)


def make_mask_head(pool: RoIPool, in_channels: int, channels: int, num_layers: int, num_classes: int) -> MaskHead:
    sizes = {"in_channels": in_channels, "channels": channels, "num_layers": num_layers, "num_classes": num_classes}
    return MaskHead(pool, **sizes, mask_targets="coverage")


def make_sampler(num_positive: int, num_total: int, num_mask: int) -> RoISampler:
    settings = SamplerSettings(0.5, 0.5, 0.7, num_positive, num_total, num_mask)
    return RoISampler(settings, BOX_CODER)


def small_network(
    backbone: nn.Cell, channels: int, proposals: ProposalSettings, chosen: DetectionSettings, classes: int, **changes
) -> MaskRCNN:
    """Narrow heads on a backbone: 8 positives among 32 RoIs, 6 of them with masks; RoIs from 32 pixels on use P3."""
    settings = {
        "pixel_mean": (123.675, 116.28, 103.53),
        "pixel_std": (58.395, 57.12, 57.375),
        "padding_counts": False,
        "loss_weights": EQUAL_WEIGHTS,
        **changes,
    }
    return MaskRCNN(
        backbone=backbone,
        fpn=FPN(backbone.out_channels, channels),
        rpn=make_rpn(channels, channels, proposals, proposals, scales=(4,)),
        roi_sampler=make_sampler(num_positive=8, num_total=32, num_mask=6),
        box_head=make_box_head(make_pool(7, 16.0), channels, 2 * channels, 2, classes, detection=chosen),
        mask_head=make_mask_head(make_pool(14, 16.0), channels, channels, 1, classes),
        **settings,
    )
