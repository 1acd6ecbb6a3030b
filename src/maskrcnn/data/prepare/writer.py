"""A data set in COCO's layout, written image by image: memory does not grow with the number of objects."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain, count
from pathlib import Path
from typing import IO, Any, NamedTuple

import cv2
import numpy as np

from maskrcnn.data.prepare.checking import CheckedImage, CheckedObject
from maskrcnn.data.prepare.tiling import ObjectPixels, cut, objects_in_tile, tile_name
from maskrcnn.data.sources.orientation import orient
from maskrcnn.errors import DataError
from maskrcnn.ops.tiling import Tile, tile_grid

LINKS = ("link", "symlink", "copy")
YEAR = "2017"
_JPEG = (".jpg", ".jpeg")
_JPEG_QUALITY = 95
_UNSAFE = re.compile(r"[\x00-\x1f/\\:*?\"<>|]")


class TileOptions(NamedTuple):
    """How large images are cut: side of a tile in pixels, share that neighbours have in common, least visible share."""

    side: int
    overlap: float
    min_visible: float


class WrittenImage(NamedTuple):
    """An image of the data set: its entry in the annotation file, its objects, and how its file came there."""

    file_name: str
    height: int
    width: int
    objects: Sequence[CheckedObject]
    extra: dict[str, Any]
    placed: str


class Names:
    """File names that are unique, valid UTF-8 and fit for any file system."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def unique(self, image: CheckedImage) -> str:
        """Returns a name for an image: its own, with its folder's or a number where that is taken."""
        path = image.path or Path(image.name)
        stem = _clean(path.stem) or "image"
        folder = _clean(path.parent.name)
        candidates = chain([stem], [f"{folder}_{stem}"] if folder else [], (f"{stem}_{i}" for i in count(2)))
        name = next(name for name in candidates if name.casefold() not in self._taken)
        self._taken.add(name.casefold())
        return name + _clean(path.suffix or ".jpg")


def _clean(name: str) -> str:
    """Returns a name with bytes that are no UTF-8 as %XX and characters that file systems refuse as _."""
    data = os.fsencode(name)
    text = "".join(c if not 0xDC80 <= ord(c) <= 0xDCFF else f"%{ord(c) - 0xDC00:02X}" for c in os.fsdecode(data))
    return _UNSAFE.sub("_", text.encode("utf-8", "replace").decode("utf-8"))


class ImageWriter:
    """Puts image files into the data set, as they are or cut into tiles; used by several threads."""

    def __init__(self, root: Path, link: str, tiles: TileOptions | None) -> None:
        self.root = root
        self.link = link
        self.tiles = tiles

    def write(self, image: CheckedImage, name: str, folder: str) -> list[WrittenImage]:
        """Puts an image into a folder of the data set.

        Returns:
            Its entries: one, or one for each tile.

        Raises:
            DataError: it cannot be read any more, or not be encoded.
        """
        target = self.root / folder
        if self.tiles is None or max(image.height, image.width) <= self.tiles.side:
            placed = self._place(image, target / name)
            return [WrittenImage(name, image.height, image.width, image.objects, {}, placed)]
        tiles = tile_grid(image.height, image.width, self.tiles.side, self.tiles.overlap)
        pixels = self._decoded(image)
        objects = [ObjectPixels(item, image.height, image.width) for item in image.objects]
        return [
            self._write_tile(tile, part, objects, Path(name), target) for tile, part in zip(tiles, cut(pixels, tiles))
        ]

    def _write_tile(
        self, tile: Tile, pixels: np.ndarray, objects: Sequence[ObjectPixels], name: Path, folder: Path
    ) -> WrittenImage:
        suffix = ".jpg" if name.suffix.lower() in _JPEG else ".png"  # what was lossless stays so
        file_name = tile_name(name.stem, tile, suffix)
        encoded, data = cv2.imencode(suffix, pixels, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
        if not encoded:
            raise DataError(f"OpenCV cannot encode the tile {file_name}")
        (folder / file_name).write_bytes(data.tobytes())
        found = objects_in_tile(objects, tile, self.tiles.min_visible)
        extra = {"tile_of": name.name, "tile_left": tile.left, "tile_top": tile.top}
        return WrittenImage(file_name, tile.bottom - tile.top, tile.right - tile.left, found, extra, "cut as tiles")

    def _decoded(self, image: CheckedImage) -> np.ndarray:
        data = image.data if image.data is not None else image.path.read_bytes()
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        pixels = None if pixels is None else orient(pixels, image.orientation)
        if pixels is None or pixels.shape[:2] != (image.height, image.width):
            raise DataError(f"{image.path or image.name} changed while it was read; start again")
        return pixels

    def _place(self, image: CheckedImage, target: Path) -> str:
        """Links or copies an image file; a hard link is not possible across file systems, a symbolic one is."""
        if image.data is not None:
            target.write_bytes(image.data)
            return "written from embedded data"
        source = image.path.resolve()
        if self.link == "link":
            try:
                os.link(source, target)
                return "hard-linked"
            except OSError:
                pass  # another file system, or one without hard links
        if self.link != "copy":
            target.symlink_to(source)
            return "linked symbolically"
        shutil.copyfile(source, target)
        return "copied"


class AnnotationFile:
    """An instances file, its annotations written while the images come."""

    def __init__(self, path: Path, classes: Sequence[str], description: str, first_ids: Iterator[int]) -> None:
        self.path = path
        self.ids = {name: number for number, name in enumerate(classes, 1)}
        self.objects = 0
        self.images: list[dict[str, Any]] = []
        self.per_class: Counter[str] = Counter()
        self._annotation_ids = first_ids
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: IO[str] = open(path, "w", encoding="utf-8")  # noqa: SIM115 - closed by close()
        head = {
            "info": {"description": description, "version": "1.0", "year": int(YEAR)},
            "licenses": [],
            "categories": [{"id": i, "name": name, "supercategory": ""} for name, i in self.ids.items()],
        }
        self._file.write(json.dumps(head, ensure_ascii=False)[:-1] + ', "annotations": [')

    def add(self, image: WrittenImage, image_id: int) -> None:
        """Writes the annotations of an image."""
        self.images.append(
            {
                "id": image_id,
                "file_name": image.file_name,
                "height": image.height,
                "width": image.width,
                **image.extra,
            }
        )
        for item in image.objects:
            if item.label not in self.ids:  # a region to ignore, of a class without objects
                continue
            x1, y1, x2, y2 = item.box
            annotation = {
                "id": next(self._annotation_ids),
                "image_id": image_id,
                "category_id": self.ids[item.label],
                "bbox": [x1, y1, round(x2 - x1, 3), round(y2 - y1, 3)],
                "area": item.area,
                "iscrowd": int(item.crowd),
                "segmentation": item.segmentation if item.segmentation is not None else [],
            }
            self._file.write(("," if self.objects else "") + "\n" + json.dumps(annotation, ensure_ascii=False))
            self.objects += 1
            self.per_class[item.label] += not item.crowd

    def close(self) -> None:
        """Writes the images, and ends the file."""
        images = ",\n".join(json.dumps(image, ensure_ascii=False) for image in self.images)
        self._file.write("\n],\n" + f'"images": [\n{images}\n]}}\n')
        self._file.close()
