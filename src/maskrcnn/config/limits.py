"""The limits of one configuration value."""

from __future__ import annotations

from typing import Any, NamedTuple

from maskrcnn.config.parsing import hint
from maskrcnn.errors import ConfigError

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
    """Raises a ConfigError if ``value``, already of the right type, is outside its limits."""
    items = value.values() if isinstance(value, dict) else value if isinstance(value, tuple) else (value,)
    if limits.length not in (None, len(items)):
        raise ConfigError(f"{key} is {shown(value)}, expected {limits.length} values")
    if not items and not limits.may_be_empty:
        raise ConfigError(f"{key} is {shown(value)}, expected at least one value")
    for item in items:
        if limits.choices and item not in limits.choices:
            words = ", ".join(limits.choices)
            raise ConfigError(f"{key} is {shown(value)}, expected one of {words}{hint(item, limits.choices)}")
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
    """Returns ``roi_layer`` with its missing entries filled in; ConfigError for an entry that there is not."""
    for name in value:
        if name not in ROI_LAYER:
            raise ConfigError(f"unknown entry {name} of roi_layer{hint(name, ROI_LAYER)}")
    return {**ROI_LAYER, **value}


def shown(value: Any) -> str:
    """Returns a value as a user would write it in YAML."""
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(shown(item) for item in value)}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{name}: {shown(item)}' for name, item in value.items())}}}"
    return str(value).lower() if isinstance(value, bool) else repr(value)
