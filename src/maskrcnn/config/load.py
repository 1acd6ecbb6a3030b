"""The configuration of a command line: YAML files and flags.

Values come from the defaults, then from each ``--config_path FILE`` (a file that holds only what differs),
then from ``--key value`` flags; the later one wins.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from maskrcnn.config.limits import ROI_LAYER, check_limits, shown
from maskrcnn.config.parsing import convert, describe_type, flag_value, read_yaml, split_flags
from maskrcnn.config.retired import RETIRED_KEYS, translate_retired
from maskrcnn.config.schema import Config, check_known, key_limits, key_types
from maskrcnn.errors import ConfigError


def load_config(
    argv: Sequence[str] | None = None, *, defaults: Path | str | None = None, description: str = ""
) -> Config:
    """The configuration of an entry point that takes flags only; see ``load_arguments``."""
    config, arguments = load_arguments(argv, defaults=defaults, description=description)
    if arguments:
        raise ConfigError(f"unexpected argument '{arguments[0]}': settings are given as --key value, see --help")
    return config


def load_arguments(
    argv: Sequence[str] | None = None,
    *,
    defaults: Path | str | None = None,
    description: str = "",
    usage: str = "",
) -> tuple[Config, list[str]]:
    """The configuration and the plain arguments of a command line.

    ``argv`` is ``sys.argv[1:]`` if None. ``defaults`` is a YAML file read first. ``--config_path FILE`` (any
    number) is read next, then flags in their order. ``--help`` prints ``description``, ``usage`` (the program
    and its plain arguments) and all keys, and exits with 0. Raises ConfigError.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    if "--help" in argv or "-h" in argv:
        print(_help_text(description, usage))
        raise SystemExit(0)
    types = {**key_types(), **RETIRED_KEYS}
    switches = [name for name, expected in types.items() if expected is bool]
    flags, arguments = split_flags(argv, [*types, "config_path"], switches)

    files = [defaults] if defaults else []
    files += [text for key, text in flags if key == "config_path"]
    values: dict[str, Any] = {}
    for file in files:
        values.update(_checked_layer(read_yaml(Path(file)), f"{file}: "))
    given: dict[str, Any] = {}
    for key, text in flags:
        if key != "config_path":
            if key not in RETIRED_KEYS:
                check_known(key, text, extra=("config_path",))
            given[key] = flag_value(key, text, types[key])
    values.update(_checked_layer(given, "--"))
    return Config.from_dict(values), arguments


def _checked_layer(values: dict[str, Any], where: str) -> dict[str, Any]:
    """Check keys, types and limits of one source of values, so that its error says where the value stands."""
    try:
        values = translate_retired(values)
        for key, value in values.items():
            check_known(key, value)
            check_limits(key, convert(key, value, key_types()[key]), key_limits()[key])
    except ConfigError as error:
        raise ConfigError(f"{where}{error}") from None
    return values


def _help_text(description: str, usage: str) -> str:
    lines = [description, ""] if description else []
    lines += [f"usage: {usage} [--config_path FILE] [--key value]...".replace("  ", " "), ""]
    lines += ["Keys, with their defaults (lists as YAML: --multi_scale '[0.8, 1.0]'):"]
    for item in dataclasses.fields(Config):
        default = ROI_LAYER if item.name == "roi_layer" else item.default
        text = "background and COCO's 80" if item.name == "coco_classes" else shown(default)
        kind = " | ".join(item.metadata["limits"].choices) or describe_type(key_types()[item.name])
        lines.append(f"  --{item.name}  {item.metadata['meaning']} ({kind}; {text})")
    return "\n".join(lines)
