"""The files below a folder, and where the image that a label file names lies among them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path, PurePath, PurePosixPath

from maskrcnn.data.sources.image_file import IMAGE_SUFFIXES

IMAGE_FOLDERS = ("images", "JPEGImages", "img", "imgs")


class FileTree:
    """All files below a folder, or one file.

    Folders are entered through symbolic links as well, each real folder once, so that a link that leads back up ends
    there. Hidden files and folders are left out.
    """

    def __init__(self, source: Path) -> None:
        self.source = source
        self.root = source if source.is_dir() else source.parent

    @cached_property
    def files(self) -> list[Path]:
        """Returns the files, sorted by path."""
        return sorted(_walk(self.source)) if self.source.is_dir() else [self.source]

    def with_suffix(self, *suffixes: str) -> list[Path]:
        """Returns the files with one of ``suffixes``, given in lower case."""
        return [path for path in self.files if path.suffix.lower() in suffixes]

    @cached_property
    def images(self) -> list[Path]:
        """Returns the files whose suffix is that of an image."""
        return self.with_suffix(*IMAGE_SUFFIXES)


class ImageFinder:
    """Finds the image files that labels name.

    Labels are often moved without their images, or name them by a path on another computer. So an image is looked for
    under its own path, then beside the label file and in the usual folders near it, and then by the last parts of its
    path below the source and the folders named by the user.
    """

    def __init__(self, tree: FileTree, folders: Sequence[Path] = ()) -> None:
        self.tree = tree
        self.folders = tuple(folders)

    @property
    def root(self) -> Path:
        """Returns the source's folder."""
        return self.tree.root

    @cached_property
    def images(self) -> list[Path]:
        """All image files of the source and of the folders named by the user, each once."""
        if self.tree.source.is_dir():
            found = dict.fromkeys(self.tree.images)
        else:  # what else lies below its folder may have nothing to do with it
            found = dict.fromkeys(sorted(path for path in self.root.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES))
        for folder in self.folders or _image_folders(self.root):
            found.update(dict.fromkeys(_images_below(folder)))
        return list(found)

    def find(self, name: str, near: Path) -> Path | None:
        """Returns the file of an image.

        Args:
            name: its path as the labels give it, with slashes or backslashes.
            near: the folder of the label file.

        Returns:
            The file; None where there is none, or several would do as well.
        """
        relative = _relative(name)
        try:
            if os.path.isabs(name) and os.path.isfile(name):
                return Path(name)
            for folder in (*self.folders, near, near.parent, *_image_folders(near)):
                if (folder / relative).is_file():
                    return folder / relative
        except (OSError, ValueError):  # a name that no file can have
            return None
        return self._by_last_parts(self._by_name.get(relative.name.lower(), ()), relative)

    def with_stem(self, stem: str, near: Path) -> Path | None:
        """Returns the image file called ``stem``, with any suffix; of several the one that lies nearest to ``near``."""
        candidates = self._by_stem.get(stem.lower(), ())
        if len(candidates) <= 1:
            return candidates[0] if candidates else None
        return self._by_last_parts(candidates, near / stem)

    @cached_property
    def _by_name(self) -> dict[str, list[Path]]:
        return _grouped(self.images, lambda path: path.name)

    @cached_property
    def _by_stem(self) -> dict[str, list[Path]]:
        return _grouped(self.images, lambda path: path.stem)

    @staticmethod
    def _by_last_parts(candidates: Sequence[Path], wanted: PurePath) -> Path | None:
        """Returns the candidate that shares most folder names with ``wanted``; None where two share as many."""
        if len(candidates) <= 1:
            return candidates[0] if candidates else None
        folders = set(wanted.parts[:-1])
        scored = sorted(((len(folders & set(path.parts[:-1])), path) for path in candidates), key=lambda s: -s[0])
        return scored[0][1] if scored[0][0] > scored[1][0] else None


def _walk(folder: Path) -> Iterator[Path]:
    entered = set()
    for parent, folders, files in os.walk(folder, followlinks=True):
        status = os.stat(parent)
        if (status.st_dev, status.st_ino) in entered:
            folders.clear()
            continue
        entered.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        for name in files:
            if not name.startswith("."):
                yield Path(parent, name)


def _images_below(folder: Path) -> list[Path]:
    return sorted(path for path in _walk(folder) if path.suffix.lower() in IMAGE_SUFFIXES)


def _image_folders(folder: Path) -> list[Path]:
    """Returns the folders that usually hold images, in, beside and above ``folder``."""
    around = (folder, folder.parent, folder.parent.parent)
    return [path for place in around for name in IMAGE_FOLDERS if (path := place / name).is_dir()]


def _relative(name: str) -> PurePosixPath:
    """Returns a path with slashes only, without drive letter and root."""
    parts = name.replace("\\", "/").split("/")
    if parts and parts[0].endswith(":"):
        parts = parts[1:]
    return PurePosixPath(*[part for part in parts if part])


def _grouped(paths: Iterable[Path], key) -> dict[str, list[Path]]:
    groups: dict[str, list[Path]] = {}
    for path in paths:
        groups.setdefault(key(path).lower(), []).append(path)
    return groups
