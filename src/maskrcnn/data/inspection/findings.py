"""What an inspection found: each kind says whether it must be mended before training, or is worth a look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

_SHOWN = 3


class Kind(Enum):
    """What can be found: (what it is, whether it must be mended)."""

    FAULT = ("labels or images that cannot be used", True)
    MISFIT = ("boxes that do not fit their masks", True)
    SAME_PLACE = ("objects of one class at one place, overlapping by 0.9 or more", True)
    LEAK = ("images of validation that are nearly the same as images of training", True)
    UNTRAINED = ("classes with objects in validation only: nothing trains them", True)
    NO_TRAINING = ("splits without any object to train on", True)
    TWO_CLASSES = ("objects of different classes at one place, overlapping by 0.9 or more", False)
    TINY = ("objects narrower than 2 pixels", False)
    WHOLE_IMAGE = ("objects that cover their whole image", False)
    REPEATED = ("images of training that are nearly the same as others of training", False)
    UNVALIDATED = ("classes without an object in validation: they get no average precision", False)
    FEW = ("classes with fewer than 10 objects in training", False)
    EMPTY = ("images that show no object", False)
    TOO_SMALL = ("objects narrower than 8 pixels at the input size", False)
    CROWDED = ("images with more objects than max_instance_count", False)

    def __init__(self, text: str, must_mend: bool) -> None:
        self.text = text
        self.must_mend = must_mend


@dataclass(frozen=True)
class Finding:
    """All of one kind.

    Attributes:
        kind: what it is.
        places: one text each, naming split, image and object.
        advice: what to do about it.
        few: so few that training does not suffer: worth a look, but nothing that must be mended.
    """

    kind: Kind
    places: Sequence[str]
    advice: str = ""
    few: bool = False

    @property
    def must_mend(self) -> bool:
        """Whether it must be mended before training."""
        return self.kind.must_mend and not self.few

    def __str__(self) -> str:
        """Returns one line with the first examples."""
        examples = "; ".join(self.places[:_SHOWN]) + ("; ..." if len(self.places) > _SHOWN else "")
        advice = f" {self.advice}" if self.advice else ""
        return f"{'MEND' if self.must_mend else 'look'}: {self.kind.text}: {len(self.places)} ({examples}).{advice}"
