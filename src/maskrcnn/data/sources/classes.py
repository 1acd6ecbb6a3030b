"""The classes of a run: names in the order of their labels, and the category ids of annotation files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from maskrcnn.data.sources.json_stream import iter_elements
from maskrcnn.errors import DataError

BACKGROUND = "background"


@dataclass(frozen=True)
class ClassList:
    """K foreground classes; label ``i`` in 1..K is ``names[i - 1]`` and ``category_ids[i - 1]``.

    Label 0 is the background, which has neither a name nor a category id here.
    """

    names: tuple[str, ...]
    category_ids: tuple[int, ...]
    _labels: dict[int, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.names:
            raise DataError("the class list is empty: name at least one class besides the background")
        if len(self.names) != len(self.category_ids):
            raise DataError(f"{len(self.names)} class names, but {len(self.category_ids)} category ids")
        _refuse_duplicates(self.names, "class name")
        _refuse_duplicates(self.category_ids, "category id")
        object.__setattr__(self, "_labels", {c: i + 1 for i, c in enumerate(self.category_ids)})

    @classmethod
    def from_names(cls, names: Sequence[str]) -> ClassList:
        """Classes of a data set without category ids (TXT): the ids are the labels 1..K.

        A leading "background" is dropped, so the index of a name in such a list is its label.
        """
        names = without_background(names)
        return cls(names, tuple(range(1, len(names) + 1)))

    @classmethod
    def from_categories(
        cls,
        categories: Iterable[dict],
        names: Sequence[str] | None = None,
        source: str = "the annotation file",
    ) -> ClassList:
        """Classes of a COCO annotation file's ``categories``.

        Args:
            categories: the file's entries, each with an integer ``id`` and a ``name``.
            names: the classes to keep, in the order of their labels (a leading "background" is dropped);
                None or empty takes all of the file's categories, sorted by id.
            source: what to call the file in messages.

        Raises:
            DataError: an entry is malformed, an id or a name is there twice, or a name is not in the file.
        """
        ids: dict[str, int] = {}
        for entry in categories:
            if not isinstance(entry, dict) or type(entry.get("id")) is not int or not entry.get("name"):
                raise DataError(f"{source}: category {entry!r} needs an integer 'id' and a 'name'")
            name = str(entry["name"])
            if name in ids:
                raise DataError(f"{source}: two categories are called '{name}'; give each its own name")
            ids[name] = entry["id"]
        _refuse_duplicates(ids.values(), f"{source}: category id")
        if not ids:
            raise DataError(f"{source} has no categories: it is not a COCO instances file")
        chosen = without_background(names) if names else tuple(sorted(ids, key=ids.__getitem__))
        missing = [name for name in chosen if name not in ids]
        if missing:
            listed = _shorten(sorted(ids, key=ids.__getitem__))
            raise DataError(
                f"class '{missing[0]}' is not a category of {source}, which has {listed}; "
                "correct coco_classes, or set it to [] to take the classes from the file"
            )
        return cls(chosen, tuple(ids[name] for name in chosen))

    @classmethod
    def from_coco(cls, ann_file: str | Path, names: Sequence[str] | None = None) -> ClassList:
        """Like :meth:`from_categories`, for ``ann_file`` (takes a whole pass over it)."""
        categories = [element for _, element, _ in iter_elements(ann_file, ("categories",))]
        return cls.from_categories(categories, names, str(ann_file))

    def __len__(self) -> int:
        """Number of foreground classes K."""
        return len(self.names)

    def label_of(self, category_id: int) -> int | None:
        """The label 1..K of a category id, None where the run does not use that category."""
        return self._labels.get(category_id)

    def category_of(self, label: int) -> int:
        """The category id of a label 1..K."""
        return self.category_ids[label - 1]

    def difference(self, other: ClassList) -> str | None:
        """How these names differ from those of ``other``, in one phrase; None if they do not."""
        if self.names == other.names:
            return None
        if len(self) != len(other):
            return f"{len(self)} classes instead of {len(other)}"
        i = next(i for i, pair in enumerate(zip(self.names, other.names)) if pair[0] != pair[1])
        return f"class {i + 1} is '{self.names[i]}' instead of '{other.names[i]}'"


def without_background(names: Sequence[str]) -> tuple[str, ...]:
    """The foreground names: the original configurations start their list with "background", label 0."""
    names = tuple(str(name) for name in names)
    return names[1:] if names and names[0].strip().lower() == BACKGROUND else names


def _refuse_duplicates(values: Iterable, what: str) -> None:
    seen = set()
    for value in values:
        if value in seen:
            raise DataError(f"{what} {value!r} is there twice")
        seen.add(value)


def _shorten(names: Sequence[str], most: int = 6) -> str:
    shown = ", ".join(names[:most])
    return f"{shown}, ... {len(names)} in all" if len(names) > most else shown
