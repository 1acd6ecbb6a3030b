"""Keys of older configuration files and checkpoints that still say something, in today's keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from maskrcnn.config.parsing import convert
from maskrcnn.errors import ConfigError

RETIRED_KEYS = {"paste_integer_boxes": bool}


def translate_retired(values: Mapping[str, Any]) -> dict[str, Any]:
    """Translates one source of values, a file or a command line, that may be older than today's keys.

    ``paste_integer_boxes`` and ``inclusive_boxes`` decided how masks are pasted before ``paste`` did. A source that
    does not name ``paste`` still means that: boxes of the model zoo are pasted as there.

    Args:
        values: what the source says.

    Returns:
        The values in today's keys.

    Raises:
        ConfigError: A retired key has a value of the wrong type, or stands beside the one that replaces it.
    """
    translated = {key: value for key, value in values.items() if key not in RETIRED_KEYS}
    integer_boxes = values.get("paste_integer_boxes")
    if integer_boxes is not None:
        if "paste" in values:
            raise ConfigError("paste and paste_integer_boxes are both given: remove paste_integer_boxes")
        convert("paste_integer_boxes", integer_boxes, bool)
        translated["paste"] = "torchvision" if integer_boxes else "exact"
    if values.get("inclusive_boxes") is True and "paste" not in values:
        translated["paste"] = "mindspore_zoo"
    return translated
