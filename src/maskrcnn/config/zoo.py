"""Configurations of MindSpore's model zoo in today's keys.

Their YAML files hold three documents (settings, meanings, choices), values written as Python, such as
``dict(type='RoIAlign', out_size=7)``, and keys for what is computed here. What their code does without a key (a cosine,
no scaling of the learning rate) is written into the translation, since our defaults differ.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from maskrcnn.config.limits import check_limits, complete_roi_layer, shown
from maskrcnn.config.parsing import coerce, hint, read_documents
from maskrcnn.config.retired import OBSOLETE_KEYS, RETIRED_KEYS, translate_retired
from maskrcnn.config.schema import Config, key_limits, key_types
from maskrcnn.errors import ConfigError

# What the zoo's code does, whatever its configuration says.
IMPLIED = {
    "lr_schedule": "cosine",
    "scale_lr": False,
    "norm": "fixed_bn",
    "photo_ratio": 0.0,
}
# Keys that the zoo's files have and its train.py does not read, or reads as something else.
UNREAD = {
    "save_checkpoint_steps": "the zoo's train.py does not read it",
    "sgd_momentum": "the zoo's train.py does not read it; momentum is what it uses",
    "lr": "the zoo's train.py does not read it; base_lr is what it uses",
    "learning_rate": "the zoo's train.py does not read it; base_lr is what it uses",
}
# Other names of our keys there.
RENAMED = {"IMAGE_DIR": "image_dir", "ANNO_PATH": "anno_path", "COCO_ROOT": "coco_root"}


@dataclass(frozen=True)
class Translation:
    """A translated configuration.

    Attributes:
        text: The YAML file.
        fates: What became of every key: (key, value there, what).
    """

    text: str
    fates: list[tuple[str, str, str]]

    def table(self) -> list[str]:
        """Returns a line for every key."""
        width = max((len(key) for key, _, _ in self.fates), default=0)
        return [f"{key:<{width}}  {value}  ->  {fate}" for key, value, fate in self.fates]


def import_zoo(path: Path) -> Translation:
    """Translates a configuration file of the zoo.

    Raises:
        ConfigError: It cannot be read, or what comes out cannot work.
    """
    values, _ = read_documents(path)
    kept: dict[str, Any] = {}
    fates = []
    for key, value in values.items():
        name = RENAMED.get(key, key)
        fate = _translate(name, literal(value), kept)
        renamed = f"renamed {name}, " if name != key and name in kept else ""
        fates.append((key, _short(value), renamed + fate))
    folder = kept.get("mindrecord_dir")
    if folder and kept.get("coco_root") and not Path(folder).is_absolute():
        kept["mindrecord_dir"] = str(Path(kept["coco_root"]) / folder)  # the zoo joins them
    defaults = Config()
    written = {**IMPLIED, **kept}
    try:
        cfg = Config.from_dict(written)
    except ConfigError as error:
        raise ConfigError(*(f"{path}: {line}" for line in error.lines)) from error
    lines = [f"# Translated from {path.name} of MindSpore's model zoo. What is not here is as in the defaults."]
    lines += ["", "# What the zoo's code does without a key."]
    lines += [_line(key, getattr(cfg, key)) for key in IMPLIED if getattr(cfg, key) != getattr(defaults, key)]
    lines += ["", "# What its file says."]
    for key in key_types():
        if key in kept and key not in IMPLIED and getattr(cfg, key) != getattr(defaults, key):
            lines.append(_line(key, getattr(cfg, key)))
    return Translation("\n".join(lines) + "\n", fates)


def _translate(key: str, value: Any, kept: dict[str, Any]) -> str:
    """Puts what a key says into ``kept``, and returns what became of it."""
    if key in UNREAD:
        return f"left out: {UNREAD[key]}"
    if key in OBSOLETE_KEYS:
        return f"left out: {OBSOLETE_KEYS[key].removesuffix('; remove it')}"
    if key in RETIRED_KEYS:
        try:
            kept.update(translate_retired({key: value}))
        except ConfigError as error:
            return f"left out: {error}"
        return "left out: it follows from other settings"
    if key not in key_types():
        return f"left out: not a key here{hint(key, key_types())}"
    try:
        if key == "roi_layer" and isinstance(value, dict):
            value = {name: item for name, item in value.items() if name != "type"}
        value = coerce(key, value, key_types()[key])
        check_limits(key, complete_roi_layer(value) if key == "roi_layer" else value, key_limits()[key])
    except ConfigError as error:
        return f"left out: {error}"
    kept[key] = value
    own = getattr(Config(), key)
    same = complete_roi_layer(value) == own if key == "roi_layer" else value == own
    return "the default here, too" if same else "taken over"


def literal(value: Any) -> Any:
    """Returns a value that is written as Python, such as "(28, 28)" or "dict(a=1)", as what it means."""
    if not isinstance(value, str) or not value.strip().startswith(("(", "[", "{", "dict(")):
        return value
    try:
        tree = ast.parse(value.strip(), mode="eval").body
        if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name) and tree.func.id == "dict" and not tree.args:
            return {item.arg: ast.literal_eval(item.value) for item in tree.keywords if item.arg}
        found = ast.literal_eval(tree)
    except (SyntaxError, ValueError, RecursionError):
        return value
    return list(found) if isinstance(found, tuple) else found


def _short(value: Any) -> str:
    text = shown(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _line(key: str, value: Any) -> str:
    plain = list(value) if isinstance(value, tuple) else value
    return yaml.safe_dump(
        {key: plain},
        default_flow_style=None if isinstance(plain, (list, dict)) else False,
        width=120,
        allow_unicode=True,
    ).rstrip()
