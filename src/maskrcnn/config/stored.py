"""The settings that a checkpoint holds, joined with those of a command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from maskrcnn.config.limits import shown
from maskrcnn.config.problems import Problems
from maskrcnn.config.retired import translate_retired
from maskrcnn.config.schema import Config, keys_of_role
from maskrcnn.errors import ConfigError

TO_USE = ("network", "arithmetic", "inference", "training")  # roles of the keys taken to evaluate, predict and export
TO_CONTINUE = (*TO_USE, "data")  # to go on with the run that wrote the checkpoint
TO_START = ("network", "arithmetic")  # to start a run of its own from the checkpoint's weights
BATCH_NORMS = ("frozen_bn", "bn", "fixed_bn", "sync_bn")  # have the same parameters
ROI_SIZES = ("out_size", "mask_out_size")  # entries of roi_layer that decide the shapes of weights
CLASSES = "coco_classes"


def with_stored(
    cfg: Config,
    stored: Mapping[str, Any],
    source: str,
    roles: Sequence[str] = TO_USE,
    class_names: Sequence[str] = (),
) -> tuple[Config, list[str]]:
    """Takes the settings of a checkpoint, except where the user gave others.

    Args:
        cfg: The settings of the command line; ``cfg.given`` are the user's.
        stored: What the checkpoint's metadata says under ``config``, of this version or an older one; perhaps not all
            keys.
        source: What to call the checkpoint in messages.
        roles: Of the keys to take: ``TO_USE``, ``TO_CONTINUE`` or ``TO_START``.
        class_names: Names of the checkpoint's classes, without the background; () leaves ``coco_classes`` as it is.

    Returns:
        The settings, and a line for each given value that is used instead of the checkpoint's.

    Raises:
        ConfigError: A given value contradicts the weights, or the checkpoint has settings that this version lacks.
    """
    try:
        own = Config.from_dict(stored).to_dict()
        said = translate_retired(stored).keys()
    except ConfigError as error:
        lines = (f"{source} has settings that this version does not understand: {line}" for line in error.lines)
        raise ConfigError(*lines) from error
    problems, notes = Problems(), []
    values = cfg.to_dict()
    starting, continuing = tuple(roles) == TO_START, tuple(roles) == TO_CONTINUE
    for key in keys_of_role(*roles):
        if key not in said or (key == CLASSES and not continuing):
            continue
        if key not in cfg.given:
            if not (starting and key == "norm" and not contradict(key, values[key], own[key])):
                values[key] = own[key]
            continue
        given, where = cfg.given[key]
        values[key] = {**own[key], **given} if isinstance(given, dict) else values[key]
        if key in keys_of_role("network") and contradict(key, values[key], own[key]) and not starting:
            problems.lines.append(
                f"{key} is {shown(values[key])} ({where}), but {source} was made with {shown(own[key])}: remove it"
            )
        elif values[key] != own[key] and key != CLASSES:
            notes.append(f"{key} is {shown(values[key])} ({where}), not {shown(own[key])} as in {source}")
    if class_names and not (CLASSES in cfg.given and cfg.coco_classes):
        values[CLASSES] = ["background", *class_names]
    problems.raise_noted()
    return Config.from_given(values, cfg.given), notes


def contradict(key: str, value: Any, own: Any) -> bool:
    """Tells whether weights made with ``own`` cannot be those of a network with ``value``."""
    if key == CLASSES:
        return False  # not the names of the settings count, but those of the data
    if key == "norm":
        return value != own and not {value, own} <= set(BATCH_NORMS)
    if key == "roi_layer":
        return any(value[name] != own[name] for name in ROI_SIZES)
    return value != own
