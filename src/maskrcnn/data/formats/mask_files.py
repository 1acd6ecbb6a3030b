"""Which mask image belongs to which photograph, where masks are files of their own.

Masks lie in a folder ``masks`` beside ``images`` (or beside the photographs), or next to the photograph with a name
that ends in ``_mask``. A mask called like a photograph holds all its objects. In a folder called like a photograph, or
where there is only one photograph, each mask is one object. A further folder in between names the class.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from maskrcnn.data.formats.labels import SPLITS
from maskrcnn.data.formats.tree import IMAGE_FOLDERS, FileTree

MASK_FOLDERS = ("masks", "mask", "instances", "instance_masks", "instance_maps")
_MASK_SUFFIXES = (".png", ".tif", ".tiff", ".bmp")
_MASK_NAME = re.compile(r"[_\-. ](masks?|instances?|instance_?ids?|instance_map|inst)$", re.IGNORECASE)


class MaskFile(NamedTuple):
    """A mask image. ``image`` is its photograph, None where it has none; ``folder`` names its class, if any."""

    path: Path
    image: Path | None
    one_object: bool
    folder: str


def mask_files(tree: FileTree) -> list[MaskFile]:
    """Returns the mask images of a tree, sorted by path."""
    photographs: dict[Path, dict[str, list[Path]]] = {}
    masks = []
    for path in tree.images:
        if _folder_index(path, tree.root) is not None or _MASK_NAME.search(path.stem):
            if path.suffix.lower() in _MASK_SUFFIXES:
                masks.append(path)
        else:
            photographs.setdefault(_base(path, tree.root), {}).setdefault(path.stem.lower(), []).append(path)
    return [_paired(path, tree.root, photographs) for path in masks]


def without_mask(tree: FileTree, masks: list[MaskFile]) -> Iterator[Path]:
    """Yields the photographs in the folders of others that have masks."""
    files, used = {mask.path for mask in masks}, {mask.image for mask in masks}
    folders = {path.parent for path in used if path is not None}
    yield from (path for path in tree.images if path.parent in folders and path not in files and path not in used)


def _folder_index(path: Path, root: Path) -> int | None:
    """Returns where in the path's parts the folder of masks stands."""
    start = len(root.parts)
    found = [i for i, part in enumerate(path.parts[:-1]) if i >= start and part.lower() in MASK_FOLDERS]
    return found[-1] if found else None


def _base(path: Path, root: Path) -> Path:
    """Returns the folder that the photographs' and the masks' folders are in."""
    start = len(root.parts)
    found = [i for i, part in enumerate(path.parts[:-1]) if i >= start and part in IMAGE_FOLDERS]
    return Path(*path.parts[: found[-1]]) if found else path.parent


def _paired(path: Path, root: Path, photographs: dict[Path, dict[str, list[Path]]]) -> MaskFile:
    index = _folder_index(path, root)
    base = Path(*path.parts[:index]) if index is not None else _base(path, root)
    between = [part for part in path.parts[index + 1 : -1]] if index is not None else []
    stems = photographs.get(base, {})
    named = [part for part in between if part.lower() not in SPLITS]
    for stem in (path.stem.lower(), _MASK_NAME.sub("", path.stem).lower()):
        if stem in stems:
            return MaskFile(path, _nearest(stems[stem], path), False, named[-1] if named else "")
    for position, part in enumerate(named):
        if part.lower() in stems:
            return MaskFile(
                path, _nearest(stems[part.lower()], path), True, "".join(named[position + 1 : position + 2])
            )
    images = [image for group in stems.values() for image in group]
    return MaskFile(path, images[0] if len(images) == 1 else None, len(images) == 1, named[-1] if named else "")


def _nearest(candidates: list[Path], path: Path) -> Path:
    """Returns the photograph that shares most folder names with ``path``."""
    return max(candidates, key=lambda image: len(set(image.parts) & set(path.parts)))
