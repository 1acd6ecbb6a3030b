"""The classes of a run: names in the order of their labels, and the category ids of annotation files."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from maskrcnn.data.sources.json_stream import iter_elements
from maskrcnn.data.sources.report import brief
from maskrcnn.data.sources.scalars import Identity, as_identity
from maskrcnn.errors import DataError

BACKGROUND = "background"


@dataclass(frozen=True)
class ClassList:
    """K foreground classes; label ``i`` in 1..K is ``names[i - 1]`` and ``category_ids[i - 1]``.

    Label 0 is the background, which has neither a name nor a category id here. A category of a file that is called
    "background" is a class like any other.

    Attributes:
        names: in the order of the labels.
        category_ids: as the annotation file has them, numbers or texts.
    """

    names: tuple[str, ...]
    category_ids: tuple[Any, ...]
    _labels: dict[Identity, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.names:
            raise DataError("the class list is empty: name at least one class besides the background")
        if len(self.names) != len(self.category_ids):
            raise DataError(f"{len(self.names)} class names, but {len(self.category_ids)} category ids")
        _refuse_duplicates(self.names, "class name")
        identities = [as_identity(category) for category in self.category_ids]
        _refuse_duplicates(identities, "category id")
        object.__setattr__(self, "_labels", {c: i + 1 for i, c in enumerate(identities)})

    @classmethod
    def from_names(cls, names: Sequence[str]) -> ClassList:
        """Returns the classes of a data set without category ids (TXT): the ids are the labels 1..K.

        Args:
            names: in the order of their labels. A leading "background" is dropped, so that the index of a name in
                such a list is its label.

        Raises:
            DataError: there is none besides the background, or one is there twice.
        """
        names = without_background(names)
        return cls(names, tuple(range(1, len(names) + 1)))

    @classmethod
    def from_categories(
        cls,
        categories: Iterable[dict],
        names: Sequence[str] | None = None,
        source: str = "the annotation file",
        annotated: Collection[Identity] | None = None,
    ) -> ClassList:
        """Returns the classes of a COCO annotation file's ``categories``.

        Args:
            categories: the file's entries, each with an ``id`` and a ``name``.
            names: the classes to keep, in the order of their labels (a leading "background" is dropped);
                None or empty takes all of the file's categories, in the order of their ids.
            source: what to call the file in messages.
            annotated: identities of the categories that objects have. A category that none has and that is only the
                supercategory of others, as the first of Roboflow's exports, is no class. None: not known.

        Raises:
            DataError: an entry is malformed, an id or a name is there twice, or a name is not in the file.
        """
        file = _Categories(categories, source, annotated)
        chosen = without_background(names) if names else file.names()
        missing = [name for name in chosen if name not in file]
        if missing:
            raise DataError(
                f"class '{missing[0]}' is not a category of {source}, which has {_shorten(file.names())}; "
                "correct coco_classes, or set it to [] to take the classes from the file"
            )
        return cls(chosen, tuple(file.id_of(name) for name in chosen))

    @classmethod
    def from_coco(cls, ann_file: str | Path, names: Sequence[str] | None = None) -> ClassList:
        """Returns the classes of the file ``ann_file``, see ``from_categories``; takes a whole pass over it."""
        categories, annotated = [], set()
        for key, element, _ in iter_elements(ann_file, ("categories", "annotations")):
            if key == "categories":
                categories.append(element)
            elif isinstance(element, dict):
                annotated.add(as_identity(element.get("category_id")))
        return cls.from_categories(categories, names, str(ann_file), annotated)

    def in_file(
        self,
        categories: Iterable[dict],
        source: str = "the annotation file",
        annotated: Collection[Identity] | None = None,
    ) -> tuple[ClassList, list[str]]:
        """Finds these classes in another annotation file, by their names.

        Args:
            categories: the file's entries.
            source: what to call the file in messages.
            annotated: as for ``from_categories``.

        Returns:
            The same names with the file's category ids, and the names that the file lacks. Those have ids that no
            category of the file has.

        Raises:
            DataError: the file has none of the classes, or an entry is malformed.
        """
        file = _Categories(categories, source, annotated)
        missing = [name for name in self.names if name not in file]
        if len(missing) == len(self):
            raise DataError(
                f"{source} has none of the run's classes: its categories are {_shorten(file.names())}, "
                f"the run's classes {_shorten(self.names)}"
            )
        used = [*file.ids, *self._labels]
        free = itertools.count(1 + max((i for i in used if isinstance(i, int)), default=0))
        ids = [
            file.id_of(name) if name in file else own if as_identity(own) not in file.ids else next(free)
            for name, own in zip(self.names, self.category_ids)
        ]
        return ClassList(self.names, tuple(ids)), missing

    def __len__(self) -> int:
        """Returns the number of foreground classes K."""
        return len(self.names)

    def label_of(self, category_id: Any) -> int | None:
        """Returns the label 1..K of a category id, None where the run does not use that category."""
        return self._labels.get(as_identity(category_id))

    def difference(self, other: ClassList) -> str | None:
        """Returns how these names differ from those of ``other``, in one phrase; None if they do not."""
        if self.names == other.names:
            return None
        if len(self) != len(other):
            return f"{len(self)} classes instead of {len(other)}"
        i = next(i for i, pair in enumerate(zip(self.names, other.names)) if pair[0] != pair[1])
        return f"class {i + 1} is '{self.names[i]}' instead of '{other.names[i]}'"


def without_background(names: Sequence[str]) -> tuple[str, ...]:
    """Returns the foreground names: the original configurations start their list with "background", label 0."""
    names = tuple(str(name) for name in names)
    return names[1:] if names and names[0].strip().lower() == BACKGROUND else names


def category_names(
    categories: Iterable[dict], source: str, annotated: Collection[Identity] | None = None
) -> tuple[str, ...]:
    """Returns the names that ``ClassList.from_categories`` takes where none are given, also where some clash."""
    return _Categories(categories, source, annotated).names()


class _Categories:
    """The categories of an annotation file by their names; ``ids`` has the identities of all of them."""

    def __init__(self, entries: Iterable[dict], source: str, annotated: Collection[Identity] | None) -> None:
        self._source = source
        by_id: dict[Identity, dict[str, Any]] = {}
        for entry in entries:
            identity = as_identity(entry.get("id")) if isinstance(entry, dict) else None
            name = entry.get("name") if identity is not None else None
            if not isinstance(name, (str, int, float)) or name == "":
                raise DataError(f"{source}: category {brief(entry)} needs an 'id' and a 'name'")
            earlier = by_id.setdefault(identity, entry)
            if earlier["name"] != name:
                raise DataError(
                    f"{source}: category id {identity!r} is there twice, as '{earlier['name']}' and '{name}'; "
                    "give each category its own id"
                )
        if not by_id:
            raise DataError(f"{source} has no categories: it is not a COCO instances file")
        self.ids = by_id.keys()
        # Roboflow's first category has no objects and only groups the others; it is often called like one of them.
        parents = Counter(str(entry.get("supercategory")) for entry in by_id.values())
        self._by_name: dict[str, list[Identity]] = {}
        self._groups: set[Identity] = set()
        for identity, entry in by_id.items():
            name = str(entry["name"])
            self._by_name.setdefault(name, []).append(identity)
            others = parents[name] - (str(entry.get("supercategory")) == name)
            if annotated is not None and identity not in annotated and others > 0:
                self._groups.add(identity)
        self._given = {identity: entry["id"] for identity, entry in by_id.items()}

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def names(self) -> tuple[str, ...]:
        """Returns the names of all classes in the order of their ids, numbers before texts."""
        classes = [(identity, name) for name, ids in self._by_name.items() for identity in ids]
        classes.sort(key=lambda one: (isinstance(one[0], str), one[0]))
        return tuple(dict.fromkeys(name for identity, name in classes if identity not in self._groups))

    def id_of(self, name: str) -> Any:
        """Returns the id of the one class called ``name``, as the file has it."""
        ids = self._by_name[name]
        if len(ids) > 1:
            ids = [identity for identity in ids if identity not in self._groups] or ids[:1]
        if len(ids) > 1:
            raise DataError(
                f"{self._source}: categories {ids[0]!r} and {ids[1]!r} are both called '{name}'; rename one of them, "
                "or give the objects of both the same category_id"
            )
        return self._given[ids[0]]


def _refuse_duplicates(values: Iterable, what: str) -> None:
    seen = set()
    for value in values:
        if value in seen:
            raise DataError(f"{what} {value!r} is there twice")
        seen.add(value)


def _shorten(names: Sequence[str], most: int = 6) -> str:
    shown = ", ".join(names[:most])
    return f"{shown}, ... {len(names)} in all" if len(names) > most else shown
