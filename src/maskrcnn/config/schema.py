"""The configuration: one typed, frozen, validated ``Config``. Whatever cannot work is refused in one line."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any, NamedTuple, get_type_hints

from maskrcnn.config.backbones import BACKBONES
from maskrcnn.config.combinations import check_combinations
from maskrcnn.config.limits import PYRAMID_STRIDES, ROI_LAYER, Limits, check_limits, complete_roi_layer
from maskrcnn.config.names import COCO_CLASSES
from maskrcnn.config.parsing import coerce, hint
from maskrcnn.config.problems import Problems
from maskrcnn.config.retired import OBSOLETE_KEYS, check_derived, translate_retired

PARTS = ("backbone", "fpn", "rpn", "box_head", "mask_head")  # of the network, as its parameters are called
ROLES = ("network", "arithmetic", "inference", "training", "data", "run")


def _metadata(meaning: str, role: str, **limits: Any) -> dict[str, Any]:
    return {"meaning": meaning, "role": role, "limits": Limits(**limits)}


def _key(default: Any, meaning: str, role: str = "run", **limits: Any) -> Any:
    """Returns a configuration key: its default, its meaning, what it belongs to, and the ``Limits`` of its value.

    The role says what becomes of a key that the user does not give where there is a checkpoint that holds it:

    - "network": which weights there are; taken from the checkpoint, and must not be given otherwise.
    - "arithmetic": what the weights were trained for, such as the pixels' mean; taken from the checkpoint.
    - "inference": sizes and thresholds; taken from the checkpoint, but for training that starts from its weights.
    - "training" and "data": taken from the checkpoint by a run that continues it.
    - "run": devices, folders and reports; never taken.
    """
    return field(default=default, metadata=_metadata(meaning, role, **limits))


_network = partial(_key, role="network")
_arithmetic = partial(_key, role="arithmetic")
_inference = partial(_key, role="inference")
_training = partial(_key, role="training")
_data = partial(_key, role="data")


class Given(NamedTuple):
    """A value that a user gave, as it was given, and where it stands: "my.yaml" or "--img_width"."""

    value: Any
    where: str


@dataclass(frozen=True)
class Config:
    """Every setting of a run. Lists are tuples; the meaning, role and limits of a key are stated with it."""

    # Device
    device_target: str = _key(
        "auto",
        "where to run; auto = Ascend, else GPU, else CPU, whichever there is",
        choices=("auto", "Ascend", "GPU", "CPU"),
    )
    device_id: int = _key(0, "number of the card to use; by default that in the environment's DEVICE_ID", least=0)
    compile_cache: str = _key("auto", "folder of compiled graphs; auto = in the user's cache folder, '' = none")
    convolution: str = _key(
        "exact",
        "in inference on a CPU: exact = direct sums; fast = Winograd's algorithm, within 1e-5 of the maps' values",
        choices=("exact", "fast"),
    )
    wait_timeout: int = _key(7200, "seconds that processes wait for rank 0 to convert data or evaluate", least=1)
    seed: int = _training(1, "seed of weights, data order, augmentation and sampling", least=0, most=2**31 - 1)
    # Images
    img_width: int = _inference(1280, "network input width of a landscape image, a multiple of 64", least=64)
    img_height: int = _inference(768, "network input height of a landscape image; upright images swap both", least=64)
    keep_ratio: bool = _inference(True, "resize without distorting, pad with zeros; false stretches to the full input")
    flip_ratio: float = _training(0.5, "probability of a left-right flip in training", least=0, most=1)
    vertical_flip_ratio: float = _training(0.0, "probability of a top-bottom flip in training", least=0, most=1)
    rotate_ratio: float = _training(
        0.0, "probability of a rotation by 90, 180 or 270 degrees in training", least=0, most=1
    )
    photo_ratio: float = _training(0.0, "probability of colour jitter in training", least=0, most=1)
    expand_ratio: float = _training(1.0, "largest random zoom-out in training; 1 = off", least=1)
    multi_scale: tuple[float, ...] = _training(
        (1.0,), "sizes as multiples of the input, one drawn per image; above 1 it is cropped", above=0, most=4
    )
    scale_jitter: tuple[float, ...] = _training(
        (1.0, 1.0),
        "range of a random size beside multi_scale; [0.1, 2.0] = large-scale jitter",
        above=0,
        most=4,
        length=2,
    )
    copy_paste_ratio: float = _training(
        0.0, "probability that objects of another image are pasted into one in training", least=0, most=1
    )
    pixel_mean: tuple[float, ...] = _arithmetic((123.675, 116.28, 103.53), "subtracted from R, G, B", length=3)
    pixel_std: tuple[float, ...] = _arithmetic((58.395, 57.12, 57.375), "divides R, G, B", above=0, length=3)
    padding_counts: bool = _arithmetic(
        False, "padding is black pixels of the image, where boxes may lie (MindSpore's zoo)"
    )
    max_instance_count: int = _training(128, "most objects of an image in a training step, others are ignored", least=2)
    mask_crop_size: int = _training(
        112, "size of the stored ground-truth mask crop, twice mask_out_size or more", least=2
    )
    mask_targets: str = _training(
        "coverage",
        "coverage = half of a cell or more is covered; torchvision = soft, interpolated",
        choices=("coverage", "torchvision"),
    )
    # Anchors
    anchor_scales: tuple[float, ...] = _network((8.0,), "anchor size in strides of its level", above=0)
    anchor_ratios: tuple[float, ...] = _network((0.5, 1.0, 2.0), "anchor height / width", above=0)
    anchor_rounding: bool = _arithmetic(False, "round anchor corners to whole pixels, as torchvision does")
    inclusive_boxes: bool = _arithmetic(
        False, "boxes end with their last pixel: width = x2 - x1 + 1, as in MindSpore's model zoo"
    )
    # Backbone and feature pyramid
    backbone: str = _network("resnet50", "network that gives C2 to C5", choices=tuple(BACKBONES))
    backbone_width: int = _network(64, "channels of its stem, from which all others follow; 64 in the paper", least=1)
    norm: str = _network(
        "frozen_bn",
        "backbone normalisation; fixed_bn trains its scale alone; from scratch gn, bn, or sync_bn over all processes",
        choices=("frozen_bn", "fixed_bn", "bn", "sync_bn", "gn"),
    )
    freeze_at: int = _training(
        2, "stages not trained: 0 = none, 1 = stem, 2 = stem and first stage, ... 5 = all", least=0, most=5
    )
    stride_in_1x1: bool = _arithmetic(False, "stride in the first 1x1 of a bottleneck (Caffe weights), not in its 3x3")
    max_pool_pads_end: bool = _arithmetic(
        False, "pad the stem's max pooling on the right and below only, as in MindSpore's model zoo"
    )
    fpn_out_channels: int = _network(256, "channels of P2 to P6", least=1)
    fpn_upsampling: str = _arithmetic(
        "nearest", "between its levels; bilinear as in MindSpore's model zoo", choices=("nearest", "bilinear")
    )
    # Region proposal network
    rpn_feat_channels: int = _network(256, "channels of the hidden layer", least=1)
    rpn_loss_cls_weight: float = _training(1.0, "weight of the objectness loss", least=0)
    rpn_loss_reg_weight: float = _training(1.0, "weight of the anchor box loss", least=0)
    rpn_smooth_l1_beta: float = _training(1 / 9, "where smooth L1 turns from square to straight; 0 = L1", least=0)
    rpn_target_means: tuple[float, ...] = _arithmetic((0.0,) * 4, "subtracted from encoded anchor boxes", length=4)
    rpn_target_stds: tuple[float, ...] = _arithmetic((1.0,) * 4, "divides encoded anchor boxes", above=0, length=4)
    neg_iou_thr: float = _training(0.3, "anchors below this overlap with every object are negative", least=0, most=1)
    pos_iou_thr: float = _training(0.7, "anchors from this overlap on are positive", least=0, most=1)
    min_pos_iou: float = _training(0.3, "an object's best anchors are positive from this overlap on", least=0, most=1)
    num_expected_pos: int = _training(128, "most positive anchors sampled per image", least=1)
    # Two names of the original implementation say something else: num_expected_neg is the size of the whole sample, of
    # which negatives fill what the positives leave; crowd_iou_thr is an intersection over the box's own area instead of
    # the union, and holds for RoIs as for anchors.
    num_expected_neg: int = _training(256, "anchors sampled per image in total, positives included", least=1)
    crowd_iou_thr: float = _training(
        0.7, "share of its own area in a crowd region above which an anchor or RoI is no negative", least=0, most=1
    )
    # Proposals in training
    rpn_proposal_nms_pre: int = _training(2000, "best boxes per level before NMS", least=1)
    rpn_proposal_nms_post: int = _training(2000, "most boxes per level after NMS", least=1)
    rpn_proposal_max_num: int = _training(2000, "proposals per image", least=1)
    rpn_proposal_nms_thr: float = _training(0.7, "overlap from which NMS drops a box", least=0, most=1)
    rpn_proposal_min_bbox_size: float = _training(0.0, "smallest side of a proposal in pixels", least=0)
    # Proposals in evaluation
    rpn_nms_pre: int = _inference(1000, "best boxes per level before NMS", least=1)
    rpn_nms_post: int = _inference(1000, "most boxes per level after NMS", least=1)
    rpn_max_num: int = _inference(1000, "proposals per image", least=1)
    rpn_nms_thr: float = _inference(0.7, "overlap from which NMS drops a box", least=0, most=1)
    rpn_min_bbox_min_size: float = _inference(0.0, "smallest side of a proposal in pixels", least=0)
    # RoIAlign
    roi_layer: dict[str, int] = field(
        default_factory=ROI_LAYER.copy,
        metadata=_metadata("cells for boxes, for masks; samples along a cell, 0 = adaptive", "network", least=0),
    )
    roi_align_finest_scale: int = _arithmetic(56, "boxes of a side below twice this use P2", least=1)
    roi_aligned: bool = _arithmetic(True, "half-pixel correct sampling; false is the older RoIAlign")
    # Sampling for the heads
    neg_iou_thr_stage2: float = _training(0.5, "proposals below this overlap are background", least=0, most=1)
    pos_iou_thr_stage2: float = _training(0.5, "proposals from this overlap on are objects", least=0, most=1)
    num_expected_pos_stage2: int = _training(128, "most object proposals sampled per image", least=1)
    num_expected_total_stage2: int = _training(512, "proposals sampled per image in total", least=1)
    mask_roi_num: int = _training(128, "mask-head slots per image, filled with its positives", least=1)
    # Heads
    rcnn_num_layers: int = _network(2, "fully connected layers of the box head", least=1)
    rcnn_fc_out_channels: int = _network(1024, "width of those layers", least=1)
    rcnn_mask_num_layers: int = _network(4, "3x3 convolutions of the mask head", least=1)
    rcnn_mask_out_channels: int = _network(256, "channels of those convolutions", least=1)
    rcnn_loss_cls_weight: float = _training(1.0, "weight of the classification loss", least=0)
    rcnn_loss_reg_weight: float = _training(1.0, "weight of the box loss", least=0)
    rcnn_loss_mask_fb_weight: float = _training(1.0, "weight of the mask loss", least=0)
    rcnn_smooth_l1_beta: float = _training(1.0, "where smooth L1 turns from square to straight; 0 = L1", least=0)
    rcnn_target_means: tuple[float, ...] = _arithmetic((0.0,) * 4, "subtracted from encoded boxes", length=4)
    rcnn_target_stds: tuple[float, ...] = _arithmetic((0.1, 0.1, 0.2, 0.2), "divides encoded boxes", above=0, length=4)
    # Detections
    test_score_thr: float = _inference(0.05, "lowest score of a detection", least=0, most=1)
    test_iou_thr: float = _inference(0.5, "overlap from which NMS drops a detection of the same class", least=0, most=1)
    test_min_bbox_size: float = _inference(0.0, "smallest side of a detection in pixels", least=0)
    test_max_per_img: int = _inference(100, "most detections per image", least=1)
    test_nms_pre: int = _inference(2000, "best candidates per image before NMS", least=1)
    test_batch_size: int = _inference(1, "images per evaluation step", least=1)
    mask_thr_binary: float = _inference(
        0.5, "mask probability from which a pixel belongs to the object", least=0, most=1
    )
    paste: str = _inference(
        "exact",
        "how masks are pasted: at exact coordinates, or as torchvision or MindSpore's model zoo does",
        choices=("exact", "torchvision", "mindspore_zoo"),
    )
    # Optimisation
    base_lr: float = _training(0.02, "learning rate for 16 images a step", above=0)
    scale_lr: bool = _training(True, "scale base_lr by (images a step) / 16")
    lr_schedule: str = _training("step", "how the learning rate falls", choices=("step", "cosine"))
    lr_step_fractions: tuple[float, ...] = _training(
        (0.6667, 0.9167), "where it steps, as fractions of the run", above=0, below=1, may_be_empty=True
    )
    lr_gamma: float = _training(0.1, "factor of each step", above=0, most=1)
    warmup_step: int = _training(500, "steps of warm-up; 0 = none", least=0)
    warmup_ratio: float = _training(1 / 3, "learning rate at the first step, as a fraction", above=0, most=1)
    batch_size: int = _training(2, "images per step and device", least=1)
    accumulate_steps: int = _training(
        1, "batches whose gradients are summed up for a step, as if they were one", least=1
    )
    epoch_size: int = _training(12, "epochs of the run", least=1)
    dry_run: bool = _key(False, "show settings, data, and expected time and memory of a training, then stop")
    max_steps: int = _key(0, "stop after so many steps in all; 0 = the whole run", least=0)
    optimizer: str = _training(
        "momentum", "momentum (SGD), or adamw to train from scratch", choices=("momentum", "adamw")
    )
    momentum: float = _training(0.9, "momentum of SGD, beta1 of AdamW", least=0, below=1)
    weight_decay: float = _training(1e-4, "weight decay", least=0)
    weight_decay_norm_bias: bool = _training(True, "apply weight decay to biases and normalisation too")
    clip_grad_norm: float = _training(0.0, "largest norm of the whole gradient; 0 = off", least=0)
    ema_decay: float = _training(
        0.0, "decay of a moving average of the weights, used in their place, such as 0.999; 0 = off", least=0, below=1
    )
    loss_scale: float = _training(1.0, "factor on the loss in backward; 0 = found while training", least=0)
    mixed_precision: str = _training(
        "O0", "O0 = float32; O2, O3 = float16, for Ascend and GPU", choices=("O0", "O2", "O3")
    )
    # Checkpoints and logs
    pre_trained: str = _key("", "weights to start from: a backbone or a whole network, ours or from elsewhere")
    load_parts: tuple[str, ...] = _key(
        (), "which of its parts to take, for instance backbone,fpn; [] = all", choices=PARTS, may_be_empty=True
    )
    allow_partial: bool = _key(False, "start although pre_trained lacks some of the backbone")
    resume: str = _key("", "checkpoint to continue; auto = the newest in save_checkpoint_path")
    save_checkpoint: bool = _training(True, "save checkpoints")
    save_checkpoint_epochs: float = _training(1.0, "epochs between checkpoints", above=0)
    save_checkpoint_steps: int = _training(0, "steps between checkpoints, instead of epochs; 0 = off", least=0)
    keep_checkpoint_max: int = _training(12, "newest checkpoints kept", least=1)
    save_checkpoint_path: str = _key("./checkpoint", "folder of the checkpoints")
    log_dir: str = _key(".", "folder of loss_{rank}.log, metrics.jsonl and TensorBoard events")
    log_interval: int = _training(1, "steps between log lines", least=1)
    eval_interval_epochs: int = _training(0, "epochs between evaluations while training; 0 = off", least=0)
    early_stopping_patience: int = _training(
        0, "stop after so many evaluations without a higher AP; 0 = train to the end", least=0
    )
    # Data
    dataset: str = _data("coco", "coco, or other for the TXT format", choices=("coco", "other"))
    coco_root: str = _data("", "folder of a COCO-format data set")
    mindrecord_dir: str = _data("", "folder of the converted training data")
    train_data_type: str = _data("train2017", "name of the training split and of its image folder")
    val_data_type: str = _data("val2017", "name of the evaluation split and of its image folder")
    instance_set: str = _data("annotations/instances_{}.json", "annotation file in coco_root; {} is the split")
    image_dir: str = _data("", "folder of the images of anno_path (dataset other), or of those in ann_file")
    anno_path: str = _data("", "TXT annotation file (dataset other)")
    coco_classes: tuple[str, ...] = _network(
        COCO_CLASSES, "class names, background first; [] = from the annotation file", may_be_empty=True
    )
    keep_empty: bool = _data(False, "train on images without objects, too, as background")
    exif: str = _data(
        "apply",
        "apply = images as EXIF lets viewers show them, ignore = as stored; where listed sizes tell, they decide",
        choices=("apply", "ignore"),
    )
    repeat_threshold: float = _training(
        0.0,
        "show images of classes in a smaller share of the images more often (LVIS: 0.001); 0 = off",
        least=0,
        most=1,
    )
    train_images: int = _data(0, "train on the first so many images only; 0 = all", least=0)
    only_create_dataset: bool = _key(False, "stop after converting the data")
    strict: bool = _data(False, "stop at the first bad image or annotation instead of skipping and counting it")
    num_parallel_workers: int = _key(2, "threads that prepare data", least=1)
    # Evaluation and prediction
    checkpoint_path: str = _key("", "checkpoint to evaluate or predict with")
    model: str = _key("", "exported model (.onnx, .mindir) to evaluate or predict with, instead of a checkpoint")
    ann_file: str = _key("", "annotation file to evaluate on; by default that of val_data_type")
    eval_output: str = _key("eval", "folder of bbox.json, segm.json, metrics.json and pictures")
    eval_pictures: int = _key(8, "pictures drawn by an evaluation", least=0)
    report: bool = _key(False, "write report.html too: curves, error types, a gallery")
    eval_images: int = _key(0, "evaluate only so many images; 0 = all", least=0)
    metric_engine: str = _key(
        "auto",
        "what computes AP: auto = hotcoco, which is compiled, or else pycocotools, the reference",
        choices=("auto", "hotcoco", "pycocotools"),
    )
    metric_protocol: str = _key("coco", "rules of the metric; lvis for LVIS annotation files", choices=("coco", "lvis"))
    metric_boundary: bool = _key(False, "boundary AP of masks too (Cheng et al. 2021)")
    max_detections: int = _key(
        0, "most detections of an image that are scored; 0 = 100, or 300 with lvis; more for crowded images", least=0
    )
    single_result: bool = _key(False, "AP of every image for itself, too, in metrics.json")
    proposal_recall: bool = _key(False, "recall of the proposals, too: AR@100, AR@300 and AR@1000, see rpn_max_num")
    tile: int = _key(
        0, "cut larger images into tiles of so many pixels and merge what is found there; 0 = off", least=0
    )
    overlap: float = _key(0.2, "share of a tile that neighbouring tiles have in common", least=0, most=0.9)
    picture_score_thr: float = _key(0.5, "lowest score drawn in pictures", least=0, most=1)
    predict_output: str = _key("predictions", "folder of the pictures and JSON of predict.py")
    redraw: str = _key("", "predictions.json to draw again, with another picture_score_thr, without a network")
    predict_labelme: bool = _key(False, "write a LabelMe file of each image, too, to correct and to train on")
    predict_masks: bool = _key(False, "write a mask PNG of each detection, too")
    predict_exif: bool = _key(True, "rotate photographs as their EXIF orientation says in predict.py")
    # Export
    ckpt_file: str = _key("", "checkpoint to export")
    file_name: str = _key("maskrcnn", "path of the exported model, without its suffix")
    file_format: str = _key("MINDIR", "what to export", choices=("MINDIR", "ONNX", "AIR"))
    both_canvases: bool = _key(False, "export a second model, NAME_upright, for upright images")

    def __post_init__(self) -> None:
        problems = Problems()
        for name, expected in key_types().items():
            with problems.noted():
                value = coerce(name, getattr(self, name), expected)
                if name == "roi_layer":
                    value = complete_roi_layer(value)
                check_limits(name, value, key_limits()[name])
                object.__setattr__(self, name, value)
        problems.raise_noted()
        defaults = type(self)
        if self.mask_roi_num == defaults.mask_roi_num:  # which means all sampled objects, however few they are
            slots = min(self.mask_roi_num, self.num_expected_pos_stage2)
            object.__setattr__(self, "mask_roi_num", slots)
        check_combinations(self)

    @property
    def given(self) -> Mapping[str, Given]:
        """The keys that a user set, in a file or a flag; none for a Config made otherwise."""
        return self.__dict__.get("_given", {})

    @property
    def mask_shape(self) -> tuple[int, int]:
        """Height and width of a predicted mask: the mask head doubles the RoI's cells (Mask R-CNN, figure 4)."""
        side = 2 * self.roi_layer["mask_out_size"]
        return side, side

    @property
    def box_convention(self) -> str:
        """What x2 and y2 of a box mean, see ``ops/box_coder.py``: "continuous", or "inclusive" in the model zoo."""
        return "inclusive" if self.inclusive_boxes else "continuous"

    @property
    def anchor_strides(self) -> tuple[int, ...]:
        """Pixels per cell of P2 to P6."""
        return PYRAMID_STRIDES

    @property
    def roi_align_featmap_strides(self) -> tuple[int, ...]:
        """Pixels per cell of P2 to P5, from which RoIs are pooled."""
        return PYRAMID_STRIDES[:-1]

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Config:
        """Returns a Config of ``values``, which may be of an older version, and defaults for the rest.

        Raises:
            ConfigError: An unknown key, or values that cannot work.
        """
        translated = translate_retired(values)
        check_known(translated)
        cfg = cls(**translated)
        check_derived(values, cfg)
        return cfg

    @classmethod
    def from_given(cls, values: Mapping[str, Any], given: Mapping[str, Given]) -> Config:
        """Returns a Config of ``values`` that knows which of its keys a user set."""
        cfg = cls.from_dict(values)
        object.__setattr__(cfg, "_given", dict(given))
        return cfg

    def to_dict(self) -> dict[str, Any]:
        """Returns plain lists, dicts and scalars, fit for JSON, YAML and ``from_dict``."""
        plain = {tuple: list, dict: dict}
        values = {name: getattr(self, name) for name in key_types()}
        return {name: plain.get(type(value), lambda v: v)(value) for name, value in values.items()}

    def replace(self, **values: Any) -> Config:
        """Returns a copy with other values, validated like any Config."""
        return Config.from_given({**self.to_dict(), **translate_retired(values)}, self.given)


@cache
def key_types() -> dict[str, Any]:
    """Returns every key with its type, in the order of the class."""
    hints = get_type_hints(Config)
    return {item.name: hints[item.name] for item in dataclasses.fields(Config)}


@cache
def key_limits() -> dict[str, Limits]:
    """Returns every key with its limits."""
    return {item.name: item.metadata["limits"] for item in dataclasses.fields(Config)}


@cache
def keys_of_role(*roles: str) -> tuple[str, ...]:
    """Returns the keys with one of these roles, in the order of the class."""
    return tuple(item.name for item in dataclasses.fields(Config) if item.metadata["role"] in roles)


def check_known(values: Mapping[str, Any], extra: Iterable[str] = ()) -> None:
    """Refuses keys that do not exist.

    Raises:
        ConfigError: It has a line for each, with what replaces it or the key that must be meant.
    """
    problems = Problems()
    for key, value in values.items():
        if key in OBSOLETE_KEYS:
            problems.lines.append(f"{key} (given as {value!r}) is no longer a key: {OBSOLETE_KEYS[key]}")
        elif key not in key_types():
            problems.lines.append(f"unknown key {key} (given as {value!r}){hint(key, (*key_types(), *extra))}")
    problems.raise_noted()
