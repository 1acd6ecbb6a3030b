"""Names the configuration needs: COCO's classes, and the keys of older versions with what replaces them."""

from __future__ import annotations

# fmt: off
COCO_CLASSES = (
    "background", "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat",
    "traffic light", "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog",
    "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag",
    "tie", "suitcase", "frisbee", "skis", "snowboard", "sports ball", "kite", "baseball bat",
    "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle", "wine glass", "cup", "fork",
    "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange", "broccoli", "carrot", "hot dog",
    "pizza", "donut", "cake", "chair", "couch", "potted plant", "bed", "dining table", "toilet", "tv",
    "laptop", "mouse", "remote", "keyboard", "cell phone", "microwave", "oven", "toaster", "sink",
    "refrigerator", "book", "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush",
)
# fmt: on

_COMPUTED = "it is computed from {}; remove it"
_SAMPLED = "sampling takes {}; remove it"

OBSOLETE_KEYS = {
    "feature_shapes": _COMPUTED.format("img_width and img_height"),
    "num_anchors": _COMPUTED.format("anchor_scales and anchor_ratios"),
    "num_bboxes": _COMPUTED.format("img_width, img_height and the anchors"),
    "num_gts": "max_instance_count says it; remove it",
    "num_classes": _COMPUTED.format("coco_classes or the annotation file"),
    "resnet_block": "backbone names the network (resnet18 to resnet152); remove it",
    "resnet_in_channels": _COMPUTED.format("backbone"),
    "resnet_out_channels": _COMPUTED.format("backbone"),
    "fpn_in_channels": _COMPUTED.format("backbone"),
    "fpn_num_outs": "the pyramid has the five levels P2 to P6; remove it",
    "rpn_in_channels": _COMPUTED.format("fpn_out_channels"),
    "rpn_cls_out_channels": "the objectness of an anchor is one sigmoid; remove it",
    "activate_num_classes": "the objectness of an anchor is one sigmoid; remove it",
    "use_sigmoid_cls": "the objectness of an anchor is one sigmoid; remove it",
    "rpn_head_use_sigmoid": "the objectness of an anchor is one sigmoid; remove it",
    "rpn_head_loss_type": "the objectness loss is sigmoid cross-entropy; remove it",
    "rpn_head_weight": "rpn_loss_cls_weight and rpn_loss_reg_weight replace it",
    "rpn_proposal_nms_across_levels": "NMS runs per level; remove it",
    "rpn_nms_across_levels": "NMS runs per level; remove it",
    "roi_align_out_channels": _COMPUTED.format("fpn_out_channels"),
    "rcnn_in_channels": _COMPUTED.format("fpn_out_channels"),
    "roi_sample_num": "num_expected_total_stage2 and mask_roi_num replace it",
    "num_bboxes_stage2": "rpn_proposal_max_num says it; remove it",
    "min_pos_iou_stage2": "pos_iou_thr_stage2 alone decides which proposals are objects; remove it",
    "num_expected_neg_stage2": _SAMPLED.format("num_expected_total_stage2 and num_expected_pos_stage2"),
    "base_step": _COMPUTED.format("the data set, batch_size and epoch_size"),
    "total_epoch": "epoch_size replaces it",
    "pretrain_epoch_size": "resume continues a run; pre_trained starts a new one from its weights",
    "sgd_momentum": "momentum replaces it",
}
