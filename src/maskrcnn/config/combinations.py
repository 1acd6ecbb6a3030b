"""Which configuration values can work together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maskrcnn.config.limits import PYRAMID_STRIDES, shown
from maskrcnn.config.problems import Problems

if TYPE_CHECKING:
    from maskrcnn.config.schema import Config


def check_combinations(cfg: Config) -> None:
    """Refuses values that are fine alone and impossible together.

    Raises:
        ConfigError: It has a line for each combination, which names all keys involved.
    """
    problems = Problems()

    def require(holds: bool, because: str, *keys: str) -> None:
        if not holds:
            stated = ", ".join(f"{key} is {shown(getattr(cfg, key))}" for key in keys)
            problems.lines.append(f"{stated}: {because}")

    def ordered(smaller: str, larger: str, because: str) -> None:
        require(getattr(cfg, smaller) <= getattr(cfg, larger), because, smaller, larger)

    coarsest, levels = PYRAMID_STRIDES[-1], len(PYRAMID_STRIDES)
    for key in ("img_width", "img_height"):
        require(getattr(cfg, key) % coarsest == 0, f"must be a multiple of {coarsest}", key)

    for name in ("out_size", "mask_out_size"):
        require(cfg.roi_layer[name] > 0, f"{name} must be at least 1", "roi_layer")
    side = cfg.mask_shape[0]
    require(cfg.mask_crop_size >= side, f"masks have {side} pixels a side, their crops no fewer", "mask_crop_size")

    evaluated = not cfg.early_stopping_patience or cfg.eval_interval_epochs > 0
    because = "stopping early needs evaluations while training"
    require(evaluated, because, "early_stopping_patience", "eval_interval_epochs")
    require(cfg.scale_jitter[0] <= cfg.scale_jitter[1], "the smaller size must come first", "scale_jitter")

    ordered("neg_iou_thr", "pos_iou_thr", "negatives must end where positives begin, or before")
    ordered("min_pos_iou", "pos_iou_thr", "the threshold of last resort cannot be the stricter one")
    ordered("neg_iou_thr_stage2", "pos_iou_thr_stage2", "background must end where objects begin, or before")
    ordered("num_expected_pos", "num_expected_neg", "num_expected_neg counts all sampled anchors")
    ordered("num_expected_pos_stage2", "num_expected_total_stage2", "a part cannot exceed the total")
    ordered("mask_roi_num", "num_expected_pos_stage2", "masks are learnt on sampled object proposals only")
    ordered("test_max_per_img", "test_nms_pre", "NMS cannot return more than it is given")
    for before, after, total in (
        ("rpn_proposal_nms_pre", "rpn_proposal_nms_post", "rpn_proposal_max_num"),
        ("rpn_nms_pre", "rpn_nms_post", "rpn_max_num"),
    ):
        ordered(after, before, "NMS cannot return more than it is given")
        enough = getattr(cfg, total) <= levels * getattr(cfg, after)
        require(enough, f"{levels} levels cannot give that many", total, after)
    require(
        cfg.num_expected_total_stage2 <= cfg.rpn_proposal_max_num + cfg.max_instance_count,
        "samples are drawn from proposals and ground truth, which are fewer",
        *("num_expected_total_stage2", "rpn_proposal_max_num", "max_instance_count"),
    )

    steps = cfg.lr_step_fractions
    require(list(steps) == sorted(set(steps)), "each must be later than the one before", "lr_step_fractions")
    placed = cfg.instance_set.count("{}") == 1
    require(placed, "needs {} once, in the place of the split's name", "instance_set")
    for name in cfg.coco_classes:
        if cfg.coco_classes.count(name) > 1 or not name.strip():
            problems.lines.append(f"coco_classes has the name {name!r} {cfg.coco_classes.count(name)} times")
    require(cfg.coco_classes != ("background",), "names no class besides the background", "coco_classes")
    problems.raise_noted()
