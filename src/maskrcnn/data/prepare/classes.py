"""Which classes a prepared data set has: some renamed, some merged, some left out."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from maskrcnn.errors import DataError


@dataclass(frozen=True)
class ClassMap:
    """The new names of classes, and which of them are kept.

    Attributes:
        new_names: the new name of each class that gets one; several may get the same.
        kept: the new names to keep, in the order of their category ids; empty keeps all.
    """

    new_names: dict[str, str]
    kept: tuple[str, ...] = ()

    @classmethod
    def from_options(cls, keep: str, merge: Sequence[str], rename: Sequence[str]) -> ClassMap:
        """Returns the map that a user asks for.

        Args:
            keep: names of classes to keep, separated by commas, as they are called after merging and renaming.
            merge: texts ``a,b=c``: the classes a and b become c.
            rename: texts ``a=b``, several of them separated by commas: the class a is called b.

        Raises:
            DataError: a text has another form, or a class gets two names.
        """
        new_names: dict[str, str] = {}
        pairs = [(old, text, "--merge a,b=c") for text in merge for old in _split(text.partition("=")[0])]
        pairs = [(old, text.partition("=")[2].strip(), form) for old, text, form in pairs]
        for text in rename:
            for item in _split(text):
                old, _, new = item.partition("=")
                pairs.append((old.strip(), new.strip(), "--rename a=b"))
        for text in (*merge, *rename):
            if "=" not in text:
                raise DataError(f"'{text}' says no new name: write it as --merge a,b=c or --rename a=b")
        for old, new, form in pairs:
            if not old or not new:
                raise DataError(f"a name is missing in '{old}={new}': write it as {form}")
            if new_names.setdefault(old, new) != new:
                raise DataError(f"class '{old}' would get two names, '{new_names[old]}' and '{new}'")
        return cls(new_names, tuple(_split(keep)))

    def name_of(self, label: str) -> str | None:
        """Returns the new name of a class; None for one that is not kept."""
        name = self.new_names.get(label, label)
        return name if not self.kept or name in self.kept else None

    def check(self, found: Iterable[str]) -> None:
        """Refuses names that the labels do not have.

        Args:
            found: the names of all classes that the labels have, before merging and renaming.

        Raises:
            DataError: a class to be merged, renamed or kept is not among them.
        """
        found = list(dict.fromkeys(found))
        after = list(dict.fromkeys(self.new_names.get(name, name) for name in found))
        for wanted, known in ((list(self.new_names), found), (list(self.kept), after)):
            for name in wanted:
                if name not in known:
                    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
                    hint = f"; did you mean '{near[0]}'?" if near else f"; there are {_shorten(known)}"
                    raise DataError(f"no label is of class '{name}'{hint}")

    def ordered(self, declared: Iterable[str], used: Iterable[str]) -> list[str]:
        """Returns the classes of the data set in the order of their category ids 1..K.

        These are ``kept`` in its own order; without it the classes that objects have, first in the order in which the
        source declares them, then the others by name.
        """
        if self.kept:
            return list(self.kept)
        used = set(used)
        names = dict.fromkeys(self.new_names.get(name, name) for name in declared)
        return [name for name in names if name in used] + sorted(used - names.keys())


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _shorten(names: Sequence[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f", ... {len(names)} in all" if len(names) > most else "") if names else "none"
