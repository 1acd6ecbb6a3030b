"""Entries of a COCO annotation file, each checked for itself: what can be used of it, and what is wrong with it.

Training and evaluation understand annotation files by these rules, and by no others:

- Numbers may be written as text, ids may be any number or text.
- ``bbox`` is x, y, width, height; the box is x, y, x + width, y + height, clipped to the image. An object without a
  usable box is left out.
- ``segmentation`` is a list of polygons, or an RLE, compressed or not. Without one (missing, null or empty) the object
  counts for its box only; so does one whose segmentation cannot be used, which is a fault.
- ``iscrowd`` 1 marks a region to ignore.
- ``file_name`` names the image, or else ``coco_url``, by its last two parts, as in LVIS.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from maskrcnn.data.sources.classes import ClassList
from maskrcnn.data.sources.report import Issue, Reason, brief
from maskrcnn.data.sources.scalars import Identity, as_identity, as_integer, as_number
from maskrcnn.data.sources.segmentation import encode_segmentation
from maskrcnn.data.sources.source import clip_box

_LVIS_LISTS = ("neg_category_ids", "not_exhaustive_category_ids")
_LONGEST_SIDE = 1 << 20
_MOST_PIXELS = (1 << 31) - 1  # what the run lengths of pycocotools can count


class CocoImage(NamedTuple):
    """An entry of ``images``.

    Attributes:
        id: as the file has it.
        identity: what ``id`` stands for.
        file_name: of the image, as the file has it.
        height: rows, None where the file does not say them.
        width: columns, None where the file does not say them.
        lists: LVIS's lists of categories that are known not to be there, or not to be annotated throughout.
    """

    id: Any
    identity: Identity
    file_name: str
    height: int | None
    width: int | None
    lists: dict[str, Any]

    def __str__(self) -> str:
        """The image in messages."""
        return f"image {self.id} ({self.file_name})"


class CocoObject(NamedTuple):
    """What an entry of ``annotations`` says.

    Attributes:
        category: the identity of its category.
        box: x1, y1, x2, y2 in pixels, clipped to the image.
        crowd: whether it is a region to ignore.
        rle: compressed run-length counts of its mask, None where only the box is known.
    """

    category: Identity
    box: tuple[float, float, float, float]
    crowd: bool
    rle: bytes | None


def check_image(entry: Any) -> tuple[CocoImage | None, Issue | None]:
    """Returns the image that an entry of ``images`` describes, None where it has no id or no file name."""
    identity = as_identity(entry.get("id")) if isinstance(entry, dict) else None
    name = _file_name(entry) if identity is not None else None
    if name is None:
        missing = (
            "not an object" if not isinstance(entry, dict) else "no id" if identity is None else "no usable file_name"
        )
        return None, Issue(Reason.MALFORMED, f"image entry {brief(entry)}: {missing}")
    lists = {key: entry[key] for key in _LVIS_LISTS if key in entry}
    sides = [as_integer(entry.get(side)) for side in ("height", "width")]
    listed = [entry.get(side) is not None for side in ("height", "width")]
    bad = [given and not (side and 1 <= side <= _LONGEST_SIDE) for side, given in zip(sides, listed)]
    if any(bad) or (all(sides) and sides[0] * sides[1] > _MOST_PIXELS):
        where = f"image {identity} ({name}), {brief(entry.get('width'))} x {brief(entry.get('height'))}"
        return CocoImage(entry["id"], identity, name, None, None, lists), Issue(Reason.BAD_SIZE, where)
    return CocoImage(entry["id"], identity, name, *sides, lists), None


def check_object(
    annotation: dict[str, Any],
    categories: Collection[Identity],
    height: int | None,
    width: int | None,
    classes: ClassList | None = None,
) -> tuple[CocoObject | None, list[Issue]]:
    """Returns what can be used of an entry of ``annotations``, None if nothing can, and what is wrong with it.

    Args:
        annotation: the entry.
        categories: identities of the file's categories.
        height: rows of its image, None where they are not known: its box is not clipped and its mask not read.
        width: columns of its image, None likewise.
        classes: objects of other classes are passed over; None takes all.
    """
    where = f"annotation {brief(annotation.get('id', '?'))} of image {brief(annotation.get('image_id'))}"
    category = as_identity(annotation.get("category_id"))
    if category not in categories:
        return None, [Issue(Reason.UNKNOWN_CATEGORY, f"{where}, category_id {brief(annotation.get('category_id'))}")]
    crowd = annotation.get("iscrowd")
    crowd = int(crowd) if isinstance(crowd, bool) else 0 if crowd is None else as_integer(crowd)
    if crowd not in (0, 1):
        return None, [Issue(Reason.MALFORMED, f"{where}, iscrowd {brief(annotation['iscrowd'])}")]
    if classes is not None and classes.label_of(category) is None:
        return None, [Issue(Reason.OTHER_CLASS, f"{where}, category_id {category}")]
    corners = _corners(annotation.get("bbox"))
    if corners is None:
        box, reason = None, Reason.BAD_BOX
    else:
        box, reason = clip_box(corners, height or _LONGEST_SIDE, width or _LONGEST_SIDE)
    issues = [] if reason is None else [Issue(reason, f"{where}, bbox {brief(annotation.get('bbox'))}")]
    if box is None:
        return None, issues
    rle, issue = _mask(annotation.get("segmentation"), height, width, where)
    return CocoObject(category, box, bool(crowd), rle), issues + ([issue] if issue else [])


def _mask(segmentation: Any, height: int | None, width: int | None, where: str) -> tuple[bytes | None, Issue | None]:
    if segmentation in (None, [], {}, ""):
        return None, Issue(Reason.BOX_ONLY, where)
    if height is None or width is None:
        return None, Issue(Reason.BAD_MASK, f"{where}: the size of its image is not known")
    try:
        return encode_segmentation(segmentation, height, width), None
    except ValueError as error:
        return None, Issue(Reason.BAD_MASK, f"{where}: {error}")


def _file_name(entry: dict[str, Any]) -> str | None:
    name, url = entry.get("file_name"), entry.get("coco_url")
    if not isinstance(name, str) and isinstance(url, str):
        try:
            name = unquote("/".join(urlsplit(url).path.split("/")[-2:]))
        except ValueError:
            return None
    if not isinstance(name, str) or not name.strip() or "\0" in name:
        return None
    try:
        name.encode()
    except UnicodeEncodeError:  # half a surrogate pair
        return None
    return name


def _corners(bbox: Any) -> tuple[float, float, float, float] | None:
    numbers = [as_number(value) for value in bbox] if isinstance(bbox, list) and len(bbox) == 4 else [None]
    if None in numbers:
        return None
    x, y, width, height = numbers
    return x, y, x + width, y + height
