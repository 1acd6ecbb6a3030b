"""Which configuration values can work: the limits of one value, and the combinations that make sense."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from maskrcnn.config.parsing import nearest
from maskrcnn.errors import ConfigError

if TYPE_CHECKING:
    from maskrcnn.config.schema import Config

PYRAMID_STRIDES = (4, 8, 16, 32, 64)  # of P2 to P6 (FPN, section 4.1)
ROI_LAYER = {"out_size": 7, "mask_out_size": 14, "sample_num": 2}  # Mask R-CNN, figure 4, and section 3


class Limits(NamedTuple):
    """What one value, or each item of a list or mapping, must keep to."""

    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None
    choices: tuple[str, ...] = ()
    length: int | None = None  # of a list
    may_be_empty: bool = False  # a list


def check_limits(key: str, value: Any, limits: Limits) -> None:
    """Raise a ConfigError if ``value``, already of the right type, is outside its limits."""
    if limits.choices and value not in limits.choices:
        words = ", ".join(limits.choices)
        hint = nearest(value, limits.choices)
        raise ConfigError(f"{key} is '{value}', expected one of {words}; did you mean {hint}?")
    items = value.values() if isinstance(value, dict) else value if isinstance(value, tuple) else (value,)
    if limits.length not in (None, len(items)):
        raise ConfigError(f"{key} is {shown(value)}, expected {limits.length} values")
    if not items and not limits.may_be_empty:
        raise ConfigError(f"{key} is {shown(value)}, expected at least one value")
    bounds = []
    for item in items:
        bounds = [
            (limits.least, "at least", limits.least is None or item >= limits.least),
            (limits.above, "above", limits.above is None or item > limits.above),
            (limits.most, "at most", limits.most is None or item <= limits.most),
            (limits.below, "below", limits.below is None or item < limits.below),
        ]
        if not all(holds for _, _, holds in bounds):
            wanted = " and ".join(f"{words} {bound}" for bound, words, _ in bounds if bound is not None)
            raise ConfigError(f"{key} is {shown(value)}, expected {wanted}")


def complete_roi_layer(value: dict[str, int]) -> dict[str, int]:
    """``roi_layer`` with its missing entries filled in, so that a file may change one of them."""
    for name in value:
        if name not in ROI_LAYER:
            raise ConfigError(f"unknown entry {name} of roi_layer; did you mean {nearest(name, ROI_LAYER)}?")
    return {**ROI_LAYER, **value}


def check_combinations(cfg: Config) -> None:
    """Refuse values that are fine alone and impossible together; the ConfigError names all keys involved."""

    def require(holds: bool, because: str, *keys: str) -> None:
        if not holds:
            stated = ", ".join(f"{key} is {shown(getattr(cfg, key))}" for key in keys)
            raise ConfigError(f"{stated}: {because}")

    def ordered(smaller: str, larger: str, because: str) -> None:
        require(getattr(cfg, smaller) <= getattr(cfg, larger), because, smaller, larger)

    coarsest, levels = PYRAMID_STRIDES[-1], len(PYRAMID_STRIDES)
    for key in ("img_width", "img_height"):
        require(getattr(cfg, key) % coarsest == 0, f"must be a multiple of {coarsest}", key)
    for key, strides in (("anchor_strides", levels), ("roi_align_featmap_strides", levels - 1)):
        fixed = PYRAMID_STRIDES[:strides]
        require(getattr(cfg, key) == fixed, f"the network's levels have strides {shown(fixed)}", key)

    for name in ("out_size", "mask_out_size"):
        require(cfg.roi_layer[name] > 0, f"{name} must be at least 1", "roi_layer")
    side = 2 * cfg.roi_layer["mask_out_size"]
    doubling = "the mask head makes masks of twice mask_out_size"
    require(cfg.mask_shape == (side, side), doubling, "mask_shape", "roi_layer")
    require(cfg.mask_crop_size >= side, "the crop must not be the smaller", "mask_crop_size", "mask_shape")

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
            raise ConfigError(f"coco_classes has the name {name!r} {cfg.coco_classes.count(name)} times")
    require(cfg.coco_classes != ("background",), "names no class besides the background", "coco_classes")


def shown(value: Any) -> str:
    """A value as a user would write it in YAML."""
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(shown(item) for item in value)}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{name}: {shown(item)}' for name, item in value.items())}}}"
    return str(value).lower() if isinstance(value, bool) else repr(value)
