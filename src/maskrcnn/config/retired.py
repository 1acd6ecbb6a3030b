"""Keys of older versions and of MindSpore's model zoo: those that still say something, and those that do not.

Two kinds are accepted from files, flags and checkpoints without being settings any more. A translated key is written in
today's keys. A fixed key has one legal value, or one that follows from other keys, and is dropped. All others are
refused with a line that says what replaces them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from maskrcnn.config.limits import PYRAMID_STRIDES, shown
from maskrcnn.config.parsing import coerce
from maskrcnn.config.problems import Problems
from maskrcnn.errors import ConfigError

if TYPE_CHECKING:
    from maskrcnn.config.schema import Config

FIXED = {
    "warmup_mode": ("linear", "warm-up is linear"),
    "anchor_strides": (PYRAMID_STRIDES, "the network's levels have these strides"),
    "roi_align_featmap_strides": (PYRAMID_STRIDES[:-1], "RoIs are pooled from the levels with these strides"),
}
DERIVED = {"mask_shape": ("roi_layer", "the mask head makes masks of twice mask_out_size")}
RETIRED_KEYS: dict[str, Any] = {
    "warmup_mode": str,
    "anchor_strides": tuple[int, ...],
    "roi_align_featmap_strides": tuple[int, ...],
    "mask_shape": tuple[int, ...],
    "paste_integer_boxes": bool,
}


def translate_retired(values: Mapping[str, Any]) -> dict[str, Any]:
    """Translates one source of values, a file or a command line, that may be older than today's keys.

    ``paste_integer_boxes`` and ``inclusive_boxes`` decided how masks are pasted before ``paste`` did. A source that
    does not name ``paste`` still means that: boxes of the model zoo are pasted as there.

    Args:
        values: What the source says.

    Returns:
        The values in today's keys.

    Raises:
        ConfigError: A retired key has another value than the legal one, or stands beside the one that replaces it.
    """
    translated = {key: value for key, value in values.items() if key not in RETIRED_KEYS}
    problems = Problems()
    for key in [key for key in values if key in RETIRED_KEYS]:
        with problems.noted():
            value = coerce(key, values[key], RETIRED_KEYS[key])
            if key in FIXED and value != FIXED[key][0]:
                legal, because = FIXED[key]
                raise ConfigError(f"{key} is {shown(value)}, expected {shown(legal)}: {because}; remove it")
            if key == "paste_integer_boxes":
                if "paste" in values:
                    raise ConfigError(f"paste and {key} are both given: remove {key}")
                translated["paste"] = "torchvision" if value else "exact"
    if values.get("inclusive_boxes") is True and "paste" not in values:
        translated["paste"] = "mindspore_zoo"
    problems.raise_noted()
    return translated


def check_derived(values: Mapping[str, Any], cfg: Config) -> None:
    """Refuses a retired key that contradicts the keys from which its value follows now.

    Raises:
        ConfigError: It names both.
    """
    problems = Problems()
    for key, (origin, because) in DERIVED.items():
        if key in values:
            with problems.noted():
                value = coerce(key, values[key], RETIRED_KEYS[key])
                if value != getattr(cfg, key):
                    stated = f"{key} is {shown(value)}, {origin} is {shown(getattr(cfg, origin))}"
                    raise ConfigError(f"{stated}: {because}; remove {key}")
    problems.raise_noted()


_COMPUTED = "it is computed from {}; remove it"
_LAUNCHED = "run_distribute_train.sh or maskrcnn launch starts the processes; remove it"
_FED = "steps are fed one by one on every device; remove it"
_CLOUD = "it belongs to ModelArts; coco_root and save_checkpoint_path name local folders; remove it"
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
    "lr": "base_lr replaces it",
    "learning_rate": "base_lr replaces it",
    "do_train": "train.py trains, eval.py evaluates; remove it",
    "do_eval": "train.py trains, eval.py evaluates; remove it",
    "run_distribute": _LAUNCHED,
    "distribute": _LAUNCHED,
    "device_num": _LAUNCHED,
    "rank_id": _LAUNCHED,
    "dataset_sink_mode": _FED,
    "dataset_sink_mode_flag": _FED,
    "sink_size": _FED,
    "buffer_size": "num_parallel_workers says how many threads prepare data; remove it",
    "checkpoint_file": "checkpoint_path names the checkpoint to evaluate, pre_trained the one to start from",
    "ckpt_path": "checkpoint_path names the checkpoint to evaluate, pre_trained the one to start from",
    "ckpt_file_local": "ckpt_file names the checkpoint to export",
    "mindrecord_file": "mindrecord_dir names the folder of the converted data",
    "img_path": "run_infer_310.sh and postprocess.py take result files as arguments; remove it",
    "result_path": "run_infer_310.sh and postprocess.py take result files as arguments; remove it",
    "model_name": "nothing reads it; remove it",
    "not_mask": "there is one form of PointRend, which runs everywhere; remove it",
    "enable_profiling": "there is no profiling; remove it",
    "enable_modelarts": _CLOUD,
    "data_url": _CLOUD,
    "train_url": _CLOUD,
    "checkpoint_url": _CLOUD,
    "data_path": "coco_root names the folder of the data set",
    "output_path": "save_checkpoint_path and log_dir name the folders of what is written",
    "load_path": "pre_trained names the weights to start from",
    "modelarts_dataset_unzip_name": _CLOUD,
    "need_modelarts_dataset_unzip": _CLOUD,
}
