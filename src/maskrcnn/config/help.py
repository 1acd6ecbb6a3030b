"""What ``--help`` prints."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from maskrcnn.config.limits import ROI_LAYER, shown
from maskrcnn.config.parsing import describe_type
from maskrcnn.config.schema import Config, key_types

SHOWN_DEFAULTS = {"coco_classes": "background and COCO's 80", "roi_layer": shown(ROI_LAYER)}


def help_text(description: str, usage: str, everyday: Sequence[str] = ()) -> str:
    """Returns the help of a program: its description, its usage and its keys.

    Args:
        description: What the program does.
        usage: The program and its plain arguments.
        everyday: The keys to show; all if there are none.
    """
    fields = {item.name: item for item in dataclasses.fields(Config)}
    lines = [description, ""] if description else []
    lines += [f"usage: {usage} [--config_path FILE]... [--key value]...".replace("  ", " "), ""]
    if everyday:
        lines += ["Everyday options:"]
    else:
        lines += ["Keys, with their defaults (lists as YAML: --multi_scale '[0.8, 1.0]'):"]
    for name in everyday or fields:
        metadata = fields[name].metadata
        default = SHOWN_DEFAULTS.get(name) or shown(fields[name].default)
        kind = " | ".join(metadata["limits"].choices) or describe_type(key_types()[name])
        lines.append(f"  --{name}  {metadata['meaning']} ({kind}; {default})")
    if everyday:
        lines += ["  --config_path FILE  a YAML file with any of the keys, which flags override", ""]
        lines += [f"--help_all lists all {len(fields)} keys."]
    return "\n".join(lines)
