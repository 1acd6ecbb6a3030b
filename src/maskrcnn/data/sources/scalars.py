"""Numbers and ids of annotation files, which some tools write as text or as floats."""

from __future__ import annotations

import json
import math
from typing import Any, Union

Identity = Union[int, str]
"""An id, the same for all its spellings: 7, 7.0 and "7" are the number 7; what is no whole number is a text."""

_MOST_DIGITS = 18  # fits into 64 bits


def as_number(value: Any) -> float | None:
    """Returns a finite number given as number or text; None for anything else, true and false included."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def as_integer(value: Any) -> int | None:
    """Returns a whole number given as 7, 7.0 or "7"; None for anything else, true and false included."""
    number = as_number(value)
    return int(number) if number is not None and number.is_integer() else None


def as_identity(value: Any) -> Identity | None:
    """Returns what a JSON scalar names as an id; None where it names nothing: null, true, "", NaN, a list."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        text = json.dumps(value)
    elif isinstance(value, str):
        text = value.strip()
    else:
        return None
    digits = text.removeprefix("-")
    if len(digits) <= _MOST_DIGITS and digits.isascii() and digits.isdigit() and str(int(text)) == text:
        return int(text)
    return text or None
