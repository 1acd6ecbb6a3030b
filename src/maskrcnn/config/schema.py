"""The configuration: one typed, frozen, validated ``Config``. Whatever cannot work is refused in one line."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, get_type_hints

from maskrcnn.config.limits import (
    PYRAMID_STRIDES,
    ROI_LAYER,
    Limits,
    check_combinations,
    check_limits,
    complete_roi_layer,
)
from maskrcnn.config.names import COCO_CLASSES, OBSOLETE_KEYS
from maskrcnn.config.parsing import convert, nearest
from maskrcnn.config.retired import translate_retired
from maskrcnn.errors import ConfigError


def _key(default: Any, meaning: str, **limits: Any) -> Any:
    """A configuration key: its default, its meaning, and the ``Limits`` of its value."""
    return field(default=default, metadata=_metadata(meaning, **limits))


def _metadata(meaning: str, **limits: Any) -> dict[str, Any]:
    return {"meaning": meaning, "limits": Limits(**limits)}


@dataclass(frozen=True)
class Config:
    """Every setting of a run. Lists are tuples; the meaning and limits of a key are stated with it."""

    # Device
    device_target: str = _key("CPU", "where to run", choices=("CPU", "GPU", "Ascend"))
    device_id: int = _key(0, "number of the card to use", least=0)
    wait_timeout: int = _key(7200, "seconds that processes wait for rank 0 to convert data or evaluate", least=1)
    seed: int = _key(1, "seed of weights, data order, augmentation and sampling", least=0, most=2**31 - 1)
    # Images
    img_width: int = _key(1280, "network input width of a landscape image, a multiple of 64", least=64)
    img_height: int = _key(768, "network input height of a landscape image; upright images swap both", least=64)
    keep_ratio: bool = _key(True, "resize without distorting, pad with zeros; false stretches to the full input")
    flip_ratio: float = _key(0.5, "probability of a left-right flip in training", least=0, most=1)
    photo_ratio: float = _key(0.0, "probability of colour jitter in training", least=0, most=1)
    expand_ratio: float = _key(1.0, "largest random zoom-out in training; 1 = off", least=1)
    multi_scale: tuple[float, ...] = _key(
        (1.0,), "sizes as fractions of the input, one drawn per image", above=0, most=1
    )
    pixel_mean: tuple[float, ...] = _key((123.675, 116.28, 103.53), "subtracted from R, G, B", length=3)
    pixel_std: tuple[float, ...] = _key((58.395, 57.12, 57.375), "divides R, G, B", above=0, length=3)
    padding_counts: bool = _key(False, "padding is black pixels of the image, where boxes may lie (MindSpore's zoo)")
    max_instance_count: int = _key(128, "most objects of an image used in training", least=1)
    mask_shape: tuple[int, ...] = _key((28, 28), "size of a predicted mask, twice mask_out_size", least=2, length=2)
    mask_crop_size: int = _key(112, "size of the stored ground-truth mask crop, at least that of mask_shape", least=2)
    mask_targets: str = _key(
        "coverage",
        "coverage = half of a cell or more is covered; torchvision = soft, interpolated",
        choices=("coverage", "torchvision"),
    )
    # Anchors
    anchor_scales: tuple[float, ...] = _key((8.0,), "anchor size in strides of its level", above=0)
    anchor_ratios: tuple[float, ...] = _key((0.5, 1.0, 2.0), "anchor height / width", above=0)
    anchor_strides: tuple[int, ...] = _key(PYRAMID_STRIDES, "pixels per cell of P2 to P6; fixed by the network")
    anchor_rounding: bool = _key(False, "round anchor corners to whole pixels, as torchvision does")
    inclusive_boxes: bool = _key(
        False, "boxes end with their last pixel: width = x2 - x1 + 1, as in MindSpore's model zoo"
    )
    # Backbone and feature pyramid
    backbone: str = _key(
        "resnet50", "residual network", choices=("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
    )
    backbone_width: int = _key(64, "channels of its stem, from which all others follow; 64 in the paper", least=1)
    norm: str = _key(
        "frozen_bn", "backbone normalisation; from scratch use gn or bn", choices=("frozen_bn", "bn", "gn")
    )
    freeze_at: int = _key(
        2, "stages not trained: 0 = none, 1 = stem, 2 = stem and first stage, ... 5 = all", least=0, most=5
    )
    stride_in_1x1: bool = _key(False, "stride in the first 1x1 of a bottleneck (Caffe weights), not in its 3x3")
    max_pool_pads_end: bool = _key(
        False, "pad the stem's max pooling on the right and below only, as in MindSpore's model zoo"
    )
    fpn_out_channels: int = _key(256, "channels of P2 to P6", least=1)
    fpn_upsampling: str = _key(
        "nearest", "between its levels; bilinear as in MindSpore's model zoo", choices=("nearest", "bilinear")
    )
    # Region proposal network
    rpn_feat_channels: int = _key(256, "channels of the hidden layer", least=1)
    rpn_loss_cls_weight: float = _key(1.0, "weight of the objectness loss", least=0)
    rpn_loss_reg_weight: float = _key(1.0, "weight of the anchor box loss", least=0)
    rpn_smooth_l1_beta: float = _key(1 / 9, "where smooth L1 turns from square to straight; 0 = L1", least=0)
    rpn_target_means: tuple[float, ...] = _key((0.0,) * 4, "subtracted from encoded anchor boxes", length=4)
    rpn_target_stds: tuple[float, ...] = _key((1.0,) * 4, "divides encoded anchor boxes", above=0, length=4)
    neg_iou_thr: float = _key(0.3, "anchors below this overlap with every object are negative", least=0, most=1)
    pos_iou_thr: float = _key(0.7, "anchors from this overlap on are positive", least=0, most=1)
    min_pos_iou: float = _key(0.3, "an object's best anchors are positive from this overlap on", least=0, most=1)
    num_expected_pos: int = _key(128, "most positive anchors sampled per image", least=1)
    num_expected_neg: int = _key(256, "anchors sampled per image in total", least=1)
    crowd_iou_thr: float = _key(0.7, "anchors with more of their area in a crowd region are ignored", least=0, most=1)
    # Proposals in training
    rpn_proposal_nms_pre: int = _key(2000, "best boxes per level before NMS", least=1)
    rpn_proposal_nms_post: int = _key(2000, "most boxes per level after NMS", least=1)
    rpn_proposal_max_num: int = _key(2000, "proposals per image", least=1)
    rpn_proposal_nms_thr: float = _key(0.7, "overlap from which NMS drops a box", least=0, most=1)
    rpn_proposal_min_bbox_size: float = _key(0.0, "smallest side of a proposal in pixels", least=0)
    # Proposals in evaluation
    rpn_nms_pre: int = _key(1000, "best boxes per level before NMS", least=1)
    rpn_nms_post: int = _key(1000, "most boxes per level after NMS", least=1)
    rpn_max_num: int = _key(1000, "proposals per image", least=1)
    rpn_nms_thr: float = _key(0.7, "overlap from which NMS drops a box", least=0, most=1)
    rpn_min_bbox_min_size: float = _key(0.0, "smallest side of a proposal in pixels", least=0)
    # RoIAlign
    roi_layer: dict[str, int] = field(
        default_factory=ROI_LAYER.copy,
        metadata=_metadata("cells for boxes, for masks; samples along a cell, 0 = adaptive", least=0),
    )
    roi_align_featmap_strides: tuple[int, ...] = _key(
        PYRAMID_STRIDES[:4], "pixels per cell of P2 to P5; fixed by the network"
    )
    roi_align_finest_scale: int = _key(56, "boxes of a side below twice this use P2", least=1)
    roi_aligned: bool = _key(True, "half-pixel correct sampling; false is the older RoIAlign")
    # Sampling for the heads
    neg_iou_thr_stage2: float = _key(0.5, "proposals below this overlap are background", least=0, most=1)
    pos_iou_thr_stage2: float = _key(0.5, "proposals from this overlap on are objects", least=0, most=1)
    num_expected_pos_stage2: int = _key(128, "most object proposals sampled per image", least=1)
    num_expected_total_stage2: int = _key(512, "proposals sampled per image in total", least=1)
    mask_roi_num: int = _key(48, "mask-head slots per image, filled with its positives", least=1)
    # Heads
    rcnn_num_layers: int = _key(2, "fully connected layers of the box head", least=1)
    rcnn_fc_out_channels: int = _key(1024, "width of those layers", least=1)
    rcnn_mask_num_layers: int = _key(4, "3x3 convolutions of the mask head", least=1)
    rcnn_mask_out_channels: int = _key(256, "channels of those convolutions", least=1)
    rcnn_loss_cls_weight: float = _key(1.0, "weight of the classification loss", least=0)
    rcnn_loss_reg_weight: float = _key(1.0, "weight of the box loss", least=0)
    rcnn_loss_mask_fb_weight: float = _key(1.0, "weight of the mask loss", least=0)
    rcnn_smooth_l1_beta: float = _key(1.0, "where smooth L1 turns from square to straight; 0 = L1", least=0)
    rcnn_target_means: tuple[float, ...] = _key((0.0,) * 4, "subtracted from encoded boxes", length=4)
    rcnn_target_stds: tuple[float, ...] = _key((0.1, 0.1, 0.2, 0.2), "divides encoded boxes", above=0, length=4)
    # Detections
    test_score_thr: float = _key(0.05, "lowest score of a detection", least=0, most=1)
    test_iou_thr: float = _key(0.5, "overlap from which NMS drops a detection of the same class", least=0, most=1)
    test_min_bbox_size: float = _key(0.0, "smallest side of a detection in pixels", least=0)
    test_max_per_img: int = _key(100, "most detections per image", least=1)
    test_nms_pre: int = _key(2000, "best candidates per image before NMS", least=1)
    test_batch_size: int = _key(1, "images per evaluation step", least=1)
    mask_thr_binary: float = _key(0.5, "mask probability from which a pixel belongs to the object", least=0, most=1)
    paste: str = _key(
        "exact",
        "how masks are pasted: at exact coordinates, or as torchvision or MindSpore's model zoo does",
        choices=("exact", "torchvision", "mindspore_zoo"),
    )
    # Optimisation
    base_lr: float = _key(0.02, "learning rate for 16 images a step", above=0)
    scale_lr: bool = _key(True, "scale base_lr by (images a step) / 16")
    lr_schedule: str = _key("step", "how the learning rate falls", choices=("step", "cosine"))
    lr_step_fractions: tuple[float, ...] = _key(
        (0.6667, 0.9167), "where it steps, as fractions of the run", above=0, below=1, may_be_empty=True
    )
    lr_gamma: float = _key(0.1, "factor of each step", above=0, most=1)
    warmup_step: int = _key(500, "steps of warm-up; 0 = none", least=0)
    warmup_mode: str = _key("linear", "shape of the warm-up", choices=("linear",))
    warmup_ratio: float = _key(1 / 3, "learning rate at the first step, as a fraction", above=0, most=1)
    batch_size: int = _key(2, "images per step and device", least=1)
    epoch_size: int = _key(12, "epochs of the run", least=1)
    max_steps: int = _key(0, "stop after so many steps in all; 0 = the whole run", least=0)
    optimizer: str = _key("momentum", "momentum (SGD), or adamw to train from scratch", choices=("momentum", "adamw"))
    momentum: float = _key(0.9, "momentum of SGD, beta1 of AdamW", least=0, below=1)
    weight_decay: float = _key(1e-4, "weight decay", least=0)
    weight_decay_norm_bias: bool = _key(True, "apply weight decay to biases and normalisation too")
    clip_grad_norm: float = _key(0.0, "largest norm of the whole gradient; 0 = off", least=0)
    loss_scale: float = _key(1.0, "factor on the loss in backward; 0 = found while training", least=0)
    mixed_precision: str = _key("O0", "O0 = float32; O2, O3 = float16, for Ascend and GPU", choices=("O0", "O2", "O3"))
    # Checkpoints and logs
    pre_trained: str = _key("", "checkpoint of a backbone or of a whole network to start from")
    resume: str = _key("", "checkpoint to continue; auto = the newest in save_checkpoint_path")
    save_checkpoint: bool = _key(True, "save checkpoints")
    save_checkpoint_epochs: float = _key(1.0, "epochs between checkpoints", above=0)
    save_checkpoint_steps: int = _key(0, "steps between checkpoints, instead of epochs; 0 = off", least=0)
    keep_checkpoint_max: int = _key(12, "newest checkpoints kept", least=1)
    save_checkpoint_path: str = _key("./checkpoint", "folder of the checkpoints")
    log_dir: str = _key(".", "folder of loss_{rank}.log, metrics.jsonl and TensorBoard events")
    log_interval: int = _key(1, "steps between log lines", least=1)
    eval_interval_epochs: int = _key(0, "epochs between evaluations while training; 0 = off", least=0)
    # Data
    dataset: str = _key("coco", "coco, or other for the TXT format", choices=("coco", "other"))
    coco_root: str = _key("", "folder of a COCO-format data set")
    mindrecord_dir: str = _key("", "folder of the converted training data")
    train_data_type: str = _key("train2017", "name of the training split and of its image folder")
    val_data_type: str = _key("val2017", "name of the evaluation split and of its image folder")
    instance_set: str = _key("annotations/instances_{}.json", "annotation file in coco_root; {} is the split")
    image_dir: str = _key("", "folder of the images of anno_path (dataset other), or of those in ann_file")
    anno_path: str = _key("", "TXT annotation file (dataset other)")
    coco_classes: tuple[str, ...] = _key(
        COCO_CLASSES, "class names, background first; [] = from the annotation file", may_be_empty=True
    )
    only_create_dataset: bool = _key(False, "stop after converting the data")
    strict: bool = _key(False, "stop at the first bad image or annotation instead of skipping and counting it")
    num_parallel_workers: int = _key(2, "threads that prepare data", least=1)
    # Evaluation and prediction
    checkpoint_path: str = _key("", "checkpoint to evaluate or predict with")
    model: str = _key("", "exported model (.onnx, .mindir) to evaluate or predict with, instead of a checkpoint")
    ann_file: str = _key("", "annotation file to evaluate on; by default that of val_data_type")
    eval_output: str = _key("eval", "folder of bbox.json, segm.json, metrics.json and pictures")
    eval_pictures: int = _key(8, "pictures drawn by an evaluation", least=0)
    eval_images: int = _key(0, "evaluate only so many images; 0 = all", least=0)
    metric_engine: str = _key(
        "auto",
        "what computes AP: auto = hotcoco, which is compiled, or else pycocotools, the reference",
        choices=("auto", "hotcoco", "pycocotools"),
    )
    metric_protocol: str = _key("coco", "rules of the metric; lvis for LVIS annotation files", choices=("coco", "lvis"))
    metric_boundary: bool = _key(False, "boundary AP of masks too (Cheng et al. 2021)")
    picture_score_thr: float = _key(0.5, "lowest score drawn in pictures", least=0, most=1)
    predict_output: str = _key("predictions", "folder of the pictures and JSON of predict.py")
    predict_exif: bool = _key(True, "turn photographs as their EXIF orientation says in predict.py")
    # Export
    ckpt_file: str = _key("", "checkpoint to export")
    file_name: str = _key("maskrcnn", "path of the exported model, without its suffix")
    file_format: str = _key("MINDIR", "what to export", choices=("MINDIR", "ONNX", "AIR"))
    both_canvases: bool = _key(False, "export a second model, NAME_upright, for upright images")

    def __post_init__(self) -> None:
        for name, expected in key_types().items():
            value = convert(name, getattr(self, name), expected)
            if name == "roi_layer":
                value = complete_roi_layer(value)
            check_limits(name, value, key_limits()[name])
            object.__setattr__(self, name, value)
        check_combinations(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Config:
        """A Config of ``values`` and defaults for the rest; ConfigError for an unknown key or a bad value."""
        values = translate_retired(values)
        for key, value in values.items():
            check_known(key, value)
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, dicts and scalars, fit for JSON, YAML and ``from_dict``."""
        plain = {tuple: list, dict: dict}
        values = {name: getattr(self, name) for name in key_types()}
        return {name: plain.get(type(value), lambda v: v)(value) for name, value in values.items()}

    def replace(self, **values: Any) -> Config:
        """A copy with other values, validated like any Config."""
        return Config.from_dict({**self.to_dict(), **translate_retired(values)})


@cache
def key_types() -> dict[str, Any]:
    """Every key with its type, in the order of the class."""
    return get_type_hints(Config)


@cache
def key_limits() -> dict[str, Limits]:
    return {item.name: item.metadata["limits"] for item in dataclasses.fields(Config)}


def check_known(key: str, value: Any, extra: tuple[str, ...] = ()) -> None:
    if key in OBSOLETE_KEYS:
        raise ConfigError(f"{key} (given as {value!r}) is no longer a key: {OBSOLETE_KEYS[key]}")
    if key not in key_types():
        raise ConfigError(
            f"unknown key {key} (given as {value!r}); did you mean {nearest(key, (*key_types(), *extra))}?"
        )
