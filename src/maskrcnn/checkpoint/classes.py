"""Whose outputs the layers have that depend on the classes: weights of one list of classes in a network of another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

# Layers with one or more outputs for each class, background first: how many for each.
CLASS_OUTPUTS = {"box_head.cls_score.": 1, "box_head.bbox_pred.": 4, "mask_head.logits_": 1}


def class_outputs(name: str) -> int:
    """Returns how many outputs a parameter has for each class, 0 if it does not depend on them."""
    return next((outputs for start, outputs in CLASS_OUTPUTS.items() if name.startswith(start)), 0)


@dataclass(frozen=True)
class ClassMatch:
    """Which classes of a file are those of a network, by their names, without the background; () where unknown."""

    theirs: tuple[str, ...]
    ours: tuple[str, ...]

    @property
    def agree(self) -> bool:
        """True if the outputs are the same in the same order, as far as is known."""
        theirs, ours = self._compared()
        return not (self.theirs and self.ours) or theirs == ours

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Labels of the network with those of the file; the background only if some class agrees."""
        theirs, ours = self._compared()
        labels = {name: label for label, name in enumerate(theirs, 1)}
        found = [(label, labels[name]) for label, name in enumerate(ours, 1) if name in labels]
        return [(0, 0), *found] if found else []

    def _compared(self) -> tuple[list[str], list[str]]:
        """Returns the names without regard to case and spaces, unless these tell classes apart."""
        folded = _folded(self.theirs), _folded(self.ours)
        apart = all(len(set(names)) == len(names) for names in folded)
        return folded if apart else (list(self.theirs), list(self.ours))

    def apply_to(self, name: str, array: np.ndarray, shape: tuple[int, ...]) -> bool:
        """Tells whether a parameter has to be taken class by class: its outputs are of classes, but not of the same.

        Args:
            name: Of the parameter.
            array: What the file has of it.
            shape: That of the network's parameter.
        """
        outputs = class_outputs(name)
        expected = (outputs * (len(self.theirs) + 1), *shape[1:])
        return outputs > 0 and not self.agree and array.shape == expected

    def merge(self, name: str, fresh: np.ndarray, array: np.ndarray) -> np.ndarray:
        """Returns a parameter with the outputs of the classes that agree.

        Args:
            name: Of the parameter.
            fresh: [n (K+1), ...] for K classes of the network, as initialised.
            array: The same for those of the file.
        """
        merged, outputs = fresh.copy(), class_outputs(name)
        for label, theirs in self.pairs:
            merged[outputs * label : outputs * (label + 1)] = array[outputs * theirs : outputs * (theirs + 1)]
        return merged

    def lines(self) -> list[str]:
        """Returns what a user should know of it."""
        if not self.ours or (self.theirs and self.agree):
            return []
        if not self.theirs:
            return [f"the file does not name its classes: they are taken for {abridged(self.ours, 8)}, in this order"]
        same = [self.ours[label - 1] for label, _ in self.pairs[1:]]
        anew = [name for name in self.ours if name not in same]
        if not same:
            return [f"none of the classes {abridged(self.ours, 8)} is in the file: their outputs start anew"]
        rest = f"; those of {abridged(anew, 8)} start anew" if anew else ", in another order"
        return [f"the outputs of the classes {abridged(same, 8)} are loaded{rest}"]


def _folded(names: Iterable[str]) -> list[str]:
    return [" ".join(name.casefold().split()) for name in names]


def abridged(names: Sequence[str], shown: int = 4) -> str:
    """Returns the first of some names, and how many there are more."""
    more = f", ... and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more
