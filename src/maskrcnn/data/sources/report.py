"""What was found wrong in a data set: every bad input has a reason, is counted, and stops a strict run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from maskrcnn.errors import DataError

_MOST_EXAMPLES = 3
_SHOWN = 80  # characters of a value in a message


class Reason(Enum):
    """Why something was left out or is used differently: (what is counted, what it is, whether it is a fault).

    Faults stop a strict run. The others are ordinary in good data sets, or handled without loss.
    """

    MISSING_IMAGE = ("image", "the image file is missing", True)
    UNREADABLE_IMAGE = ("image", "the image file cannot be decoded", True)
    WRONG_SIZE = ("image", "the annotation file gives another size than the image has", True)
    TOO_LARGE = ("image", "the image file is too large for a record", True)
    DUPLICATE_IMAGE = ("image", "the image is listed twice; the first entry is kept", True)
    MALFORMED = ("entry", "the entry does not have the fields it needs", True)
    ORPHAN = ("object", "the object belongs to an image that is not listed", True)
    DUPLICATE_ANNOTATION = ("object", "the annotation id is there twice; the first entry is kept", True)
    UNKNOWN_CATEGORY = ("object", "the category is unknown", True)
    BAD_BOX = ("object", "the box is no box of positive size", True)
    OUTSIDE = ("object", "the box lies outside the image", True)
    BAD_MASK = ("segmentation", "it is unusable or covers no pixel; only the object's box is used", True)
    BAD_AREA = ("area", "it is no number of 0 or more; the object's own is used", True)
    BAD_SIZE = ("size", "the width and height of an image are no numbers of pixels; the image's own are used", True)
    BAD_SHAPE = ("object", "its shape is unusable or covers no pixel, and there is no box", True)
    UNREADABLE_LABELS = ("label file", "the label file cannot be used", True)
    NO_OBJECTS = ("image", "the image has nothing to learn: no object, or crowd regions only", False)
    BACKGROUND = ("image", "it has no object; it is trained on as background", False)
    CROWDED = (
        "image",
        "it has more objects than max_instance_count: each epoch trains on a random choice and ignores the others",
        False,
    )
    EXIF_APPLIED = ("image", "it is rotated or mirrored as its EXIF orientation says", False)
    EXIF_IGNORED = (
        "image",
        "its EXIF orientation is not applied, its pixels are taken as stored",
        False,
    )
    OTHER_CLASS = ("object", "the category is not in the run's class list", False)
    CLIPPED_BOX = ("object", "the box was clipped to the image", False)
    NO_AREA = ("shape", "a line, point or other shape without an area is no object", False)
    NO_LABELS = ("image", "the image has no label file", False)
    DUPLICATE_OBJECT = ("object", "the same outline of the same class is there twice; one is kept", False)
    BOX_ONLY = ("object", "there is no segmentation; only the box is used", False)

    def __init__(self, unit: str, text: str, fault: bool) -> None:
        self.unit = unit
        self.text = text
        self.fault = fault


@dataclass(frozen=True)
class Issue:
    """One bad or special input; ``where`` names the file, image or annotation and the offending value."""

    reason: Reason
    where: str

    def __str__(self) -> str:
        return f"{self.where}: {self.reason.text}"


class SkipReport:
    """Counts issues by reason and keeps the first few of each as examples."""

    def __init__(self, strict: bool = False) -> None:
        self._strict = strict
        self._counts: Counter[Reason] = Counter()
        self._examples: dict[Reason, list[str]] = {}

    def add(self, issues: Iterable[Issue]) -> None:
        """Counts ``issues``.

        Raises:
            DataError: the run is strict and one of them is a fault.
        """
        for issue in issues:
            if self._strict and issue.reason.fault:
                raise DataError(f"{issue} (strict is on: correct it, or set strict to false to skip and count it)")
            self._counts[issue.reason] += 1
            examples = self._examples.setdefault(issue.reason, [])
            if len(examples) < _MOST_EXAMPLES:
                examples.append(issue.where)

    def __getitem__(self, reason: Reason) -> int:
        """Returns how many issues have ``reason``."""
        return self._counts[reason]

    def lines(self) -> list[str]:
        """Returns the report for the user: one line a reason that occurred, faults first."""
        return [
            f"{'skipped' if reason.fault else 'note'}: {_count(number, reason.unit)}: {reason.text} "
            f"(e.g. {'; '.join(self._examples[reason])})"
            for reason in Reason
            if (number := self._counts[reason])
        ]

    def to_json(self) -> dict[str, dict]:
        """Returns ``{reason name: {"count", "fault", "examples"}}``, for JSON."""
        return {
            reason.name: {
                "count": self._counts[reason],
                "fault": reason.fault,
                "examples": self._examples[reason],
            }
            for reason in Reason
            if self._counts[reason]
        }


def brief(value: Any) -> str:
    """Returns ``value`` for a message, cut where it is long."""
    text = repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def _count(number: int, unit: str) -> str:
    plural = {"entry": "entries"}.get(unit, f"{unit}s")
    return f"{number} {unit if number == 1 else plural}"
