"""What was found in one image, for Python: arrays, pictures, and the formats of others."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from maskrcnn.errors import EvaluationError
from maskrcnn.inference.images import ImageSource, decode_file
from maskrcnn.inference.labelme import labelme_content
from maskrcnn.inference.pipeline import ImageResult
from maskrcnn.inference.results import CategoryId
from maskrcnn.inference.visualize import DrawnObject, draw_objects, save_picture


class FoundObject(NamedTuple):
    """One object: box x1, y1, x2, y2 in pixels, score, label 1..K with its name, mask bool [h, w]."""

    box: np.ndarray
    score: float
    label: int
    name: str
    mask: np.ndarray


class Result:
    """The objects of one image, best score first; ``len``, iteration and indices work as for a list.

    Attributes:
        source: where the image came from.
        size: its height and width in pixels, as it is shown.
        boxes: float32 [n, 4], x1, y1, x2, y2 in pixels.
        scores: float32 [n], 0 to 1.
        labels: int32 [n], 1..K.
        names: n class names.
        rles: n COCO RLEs of the masks, with compressed counts.
        category_ids: n category ids of the data set that the model was trained on; the labels where it has none.
    """

    def __init__(
        self,
        source: ImageSource,
        size: tuple[int, int],
        boxes: np.ndarray,
        scores: np.ndarray,
        labels: np.ndarray,
        names: Sequence[str],
        rles: Sequence[dict[str, Any]],
        category_ids: Sequence[CategoryId],
    ) -> None:
        self.source, self.size = source, size
        self.boxes, self.scores, self.labels = boxes, scores, labels
        self.names, self.rles, self.category_ids = list(names), list(rles), list(category_ids)

    @classmethod
    def of_records(
        cls, found: ImageResult, class_names: Sequence[str], category_ids: Sequence[CategoryId] | None
    ) -> Result:
        """Returns the result of an image whose records have labels 1..K in place of category ids."""
        boxes = np.array([record["bbox"] for record in found.bbox], np.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        labels = np.array([record["category_id"] for record in found.bbox], np.int32)
        return cls(
            found.source,
            found.size,
            boxes,
            np.array([record["score"] for record in found.bbox], np.float32),
            labels,
            [class_names[label - 1] for label in labels],
            [record["segmentation"] for record in found.segm],
            [category_ids[label - 1] if category_ids else int(label) for label in labels],
        )

    def __len__(self) -> int:
        """Returns the number of objects."""
        return len(self.scores)

    def __iter__(self) -> Iterator[FoundObject]:
        """Yields the objects one by one."""
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> FoundObject:
        """Returns one object."""
        index = range(len(self))[index]
        score, label = float(self.scores[index]), int(self.labels[index])
        return FoundObject(self.boxes[index], score, label, self.names[index], self._mask(index))

    def __repr__(self) -> str:
        """Returns a line with what was found."""
        found = ", ".join(f"{name} {score:.2f}" for name, score in zip(self.names[:5], self.scores))
        return f"<Result of {self.source.path}: {len(self)} objects{': ' if found else ''}{found}>"

    @cached_property
    def image(self) -> np.ndarray:
        """The image as it is shown: uint8 RGB [h, w, 3]."""
        return decode_file(self.source)

    @property
    def masks(self) -> np.ndarray:
        """The masks: bool [n, h, w]; a large array for large images, where ``rles`` is small."""
        return np.array([self._mask(index) for index in range(len(self))], bool).reshape(-1, *self.size)

    def _mask(self, index: int) -> np.ndarray:
        return coco_mask.decode(self.rles[index]).astype(bool)

    def above(self, score: float) -> Result:
        """Returns the objects of at least ``score``."""
        return self._chosen(np.flatnonzero(self.scores >= score))

    def of_class(self, *names: str) -> Result:
        """Returns the objects of some classes."""
        return self._chosen([index for index, name in enumerate(self.names) if name in names])

    def _chosen(self, indices: Sequence[int]) -> Result:
        indices = np.asarray(indices, np.int64)
        lists = ([values[i] for i in indices] for values in (self.names, self.rles, self.category_ids))
        arrays = (values[indices] for values in (self.boxes, self.scores, self.labels))
        return Result(self.source, self.size, *arrays, *lists)

    def to_coco(self, image_id: int | str = 1) -> list[dict[str, Any]]:
        """Returns COCO result records with ``bbox`` [x, y, width, height] and ``segmentation``."""
        return [
            {
                "image_id": image_id,
                "category_id": self.category_ids[index],
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "segmentation": self.rles[index],
                "score": float(self.scores[index]),
            }
            for index, (x1, y1, x2, y2) in enumerate(self.boxes.astype(float).tolist())
        ]

    def to_labelme(self, embed: bool = False) -> dict[str, Any]:
        """Returns the content of a LabelMe file: polygons to be corrected by hand and trained on.

        Args:
            embed: put the image itself into the file.
        """
        data = None
        if embed or self.source.content is not None:
            png = cv2.imencode(".png", cv2.cvtColor(self.image, cv2.COLOR_RGB2BGR))[1]
            data = base64.b64encode(png.tobytes()).decode("ascii")
        return labelme_content(self.source.path.name, self.size, self.names, self.rles, self.scores.tolist(), data)

    def crop(self, margin: float = 0.0, cut_out: bool = False) -> list[np.ndarray]:
        """Returns the part of the image around each object.

        Args:
            margin: share of the box's sides to add on each side.
            cut_out: make what is not the object transparent.

        Returns:
            n arrays uint8 RGB [h, w, 3], or RGBA [h, w, 4] with ``cut_out``.
        """
        parts = []
        height, width = self.size
        for index, (x1, y1, x2, y2) in enumerate(self.boxes.astype(float)):
            more = np.array([x2 - x1, y2 - y1]) * margin
            left, top = np.floor(np.maximum([x1 - more[0], y1 - more[1]], 0)).astype(int)
            right, bottom = np.ceil(np.minimum([x2 + more[0], y2 + more[1]], [width, height])).astype(int)
            part = self.image[top:bottom, left:right].copy()
            if cut_out:
                alpha = self._mask(index)[top:bottom, left:right].astype(np.uint8) * 255
                part = np.dstack([part, alpha])
            parts.append(part)
        return parts

    def draw(self, score: float = 0.5) -> np.ndarray:
        """Returns the image with the objects of at least ``score`` drawn over it: uint8 RGB [H, W, 3]."""
        chosen = self.above(score)
        objects = [
            DrawnObject(tuple(box.tolist()), rle, int(label), f"{name} {value:.2f}")
            for box, rle, label, name, value in zip(
                chosen.boxes, chosen.rles, chosen.labels, chosen.names, chosen.scores
            )
        ]
        return draw_objects(self.image, objects)

    def save(self, path: str | os.PathLike[str], score: float = 0.5) -> Path:
        """Writes the picture of ``draw`` as a JPEG file, and returns its path.

        Raises:
            EvaluationError: It cannot be written, or the photograph itself has that path.
        """
        path = Path(path)
        source = self.source.path if self.source.content is None else None
        if source and path.exists() and source.exists() and path.samefile(source):
            raise EvaluationError(f"{path} is the photograph itself: choose another name for the picture")
        save_picture(path, self.draw(score))
        return path
