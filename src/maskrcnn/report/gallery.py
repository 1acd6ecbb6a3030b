"""The images of the page: a preview of each, and what was found in it and what should have been."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from maskrcnn.errors import DataError
from maskrcnn.evaluation.engines import Problem
from maskrcnn.inference.images import ImageSource, decode_file
from maskrcnn.report.error_types import FALSE, Outcome
from maskrcnn.report.outcomes import Outcomes
from maskrcnn.report.page import Picture

PREVIEW_SIDE = 416  # pixels of a preview's longer side
PREVIEW_QUALITY = 62  # of WebP
LEAST_SCORE = 0.05  # detections below it are counted, not drawn
MOST_DETECTIONS = 100  # of an image that are drawn


@dataclass(frozen=True)
class Kind:
    """One kind of comparison: 'bbox' or 'segm', what was compared, and what became of it."""

    name: str
    problem: Problem
    outcomes: Outcomes


def worst_first(kinds: Sequence[Kind], score: float) -> list[int]:
    """Returns positions in image_ids, the images with the most to see first.

    An image counts an object that is missed or found with less than ``score`` as 1, a false detection of that score or
    more as 1, and a correct one as 1 less its IoU; of several kinds the last one decides.
    """
    outcomes = kinds[-1].outcomes
    weight = np.zeros(len(kinds[-1].problem.image_ids))
    shown = outcomes.score >= score
    false = shown & np.isin(outcomes.outcome, FALSE)
    np.add.at(weight, outcomes.image[false], 1.0)
    correct = shown & (outcomes.outcome == Outcome.CORRECT)
    np.add.at(weight, outcomes.image[correct], 1 - outcomes.iou[correct])
    missed = ~outcomes.crowd & ~np.append(shown, False)[outcomes.found_by]
    np.add.at(weight, outcomes.object_image[missed], 1.0)
    return np.argsort(-weight, kind="stable").tolist()


class Gallery:
    """Builds the entries of images."""

    def __init__(self, kinds: Sequence[Kind], files: Mapping[Any, ImageSource], output: Path) -> None:
        """Indexes what belongs to each image.

        Args:
            kinds: What was compared.
            files: The image files by image id, as far as they are at hand.
            output: The page, from which image files are linked.
        """
        self.kinds = kinds
        self.files = files
        self.output = output
        self._images = {image["id"]: image for image in kinds[0].problem.images}
        self._detections = [_grouped(kind.outcomes.image) for kind in kinds]
        self._objects = [_grouped(kind.outcomes.object_image) for kind in kinds]
        self._merged = _are_parallel(kinds)

    def picture(self, position: int) -> Picture:
        """Returns all of an image: what the page must know at once, what only once it is drawn, and its preview.

        At once: ``name``, ``size`` [width, height], ``link`` to its file or None; ``scores`` and ``classes`` of the
        detections; ``objects`` and ``crowd``, classes and crowd flags of the objects; and by kind ``of``, which of the
        detections are of that kind, with their ``outcomes``, ``objects`` (which one was found or confused), ``ious``
        and ``partners``, and ``found_by``, which detection found each object (-1: none, None: it has no such shape).

        Once drawn: ``boxes`` and ``masks`` of detections, and ``object_boxes`` and ``object_masks``.
        """
        image = self._images[self.kinds[0].problem.image_ids[position]]
        pixels = self._pixels(image["id"])
        detections = [self._chosen(number, position) for number in range(len(self.kinds))]
        members = self._union(detections)
        sources, numbers = self._all_objects(position)
        index = {
            "name": str(image.get("file_name") or image["id"]),
            "size": [0, 0],
            "link": None if pixels is None else self._link(self.files[image["id"]].path),
            "scores": [round(float(self.kinds[k].outcomes.score[d]), 3) for k, d in members],
            "classes": [int(self.kinds[k].outcomes.category[d]) for k, d in members],
            "objects": [int(self.kinds[k].outcomes.object_category[g]) for k, g in sources],
            "crowd": [int(self.kinds[k].outcomes.crowd[g]) for k, g in sources],
            "kinds": {
                kind.name: self._of_kind(number, detections[number], members, numbers[number], len(sources))
                for number, kind in enumerate(self.kinds)
            },
        }
        shapes = {"boxes": [], "masks": [], "object_boxes": [], "object_masks": []}
        for k, d in members:
            box, mask = self._shape_of_detection(k, d)
            shapes["boxes"].append(box)
            shapes["masks"].append(mask)
        for k, g in sources:
            annotation = self.kinds[k].problem.annotations[g]
            shapes["object_boxes"].append(_short(annotation["bbox"]))
            shapes["object_masks"].append((annotation.get("segmentation") or {}).get("counts"))
        height, width = self._size(image, pixels, shapes)
        index["size"] = [width, height]
        return Picture(index, shapes, None if pixels is None else _preview(pixels))

    def _pixels(self, image_id: Any) -> np.ndarray | None:
        """The image, None if it cannot be read."""
        if image_id not in self.files:
            return None
        try:
            return decode_file(self.files[image_id])
        except DataError:
            return None

    def _size(self, image: dict[str, Any], pixels: np.ndarray | None, shapes: dict[str, list[Any]]) -> tuple[int, int]:
        """(height, width): what the annotations say or the file shows, or else what all boxes fit into."""
        if image.get("height") and image.get("width"):
            return image["height"], image["width"]
        if pixels is not None:
            return pixels.shape[0], pixels.shape[1]
        corners = [(box[1] + box[3], box[0] + box[2]) for box in (*shapes["boxes"], *shapes["object_boxes"])]
        return tuple(max(1, int(np.ceil(max(sides)))) for sides in zip(*corners)) if corners else (1, 1)

    def _link(self, path: Path) -> str | None:
        """The image file's address relative to the page; None if it is on another drive."""
        try:
            relative = os.path.relpath(path.resolve(), self.output.resolve().parent)
        except ValueError:
            return None
        return quote(os.fsencode(relative.replace(os.sep, "/")))

    def _chosen(self, number: int, position: int) -> np.ndarray:
        """The detections of an image that are drawn, best first."""
        outcomes = self.kinds[number].outcomes
        of_image = self._detections[number].get(position, np.zeros(0, np.int64))
        return of_image[outcomes.score[of_image] >= LEAST_SCORE][:MOST_DETECTIONS]

    def _union(self, detections: list[np.ndarray]) -> list[tuple[int, int]]:
        """(number of a kind, detection) of all kinds; where boxes and masks are two sides of one detection, it once."""
        if self._merged:
            records = [self.kinds[k].outcomes.record[chosen] for k, chosen in enumerate(detections)]
            known = {}
            for k, chosen in enumerate(detections):
                for d, record in zip(chosen.tolist(), records[k].tolist()):
                    known.setdefault(record, (k, d))
            return list(known.values())
        return [(k, d) for k, chosen in enumerate(detections) for d in chosen.tolist()]

    def _all_objects(self, position: int) -> tuple[list[tuple[int, int]], list[dict[int, int]]]:
        """(number of a kind, object) of all kinds, each object once, and where each kind's objects stand in that list.

        The kind with the mask is preferred. Kinds may leave objects out, those without a mask, but keep their order.
        """
        by_source: dict[Any, int] = {}
        members: list[tuple[int, int]] = []
        numbers: list[dict[int, int]] = []
        for k, kind in enumerate(self.kinds):
            numbers.append({})
            for g in self._objects[k].get(position, np.zeros(0, np.int64)).tolist():
                source = kind.problem.annotations[g]["source"]
                if source in by_source:
                    members[by_source[source]] = (k, g)
                else:
                    by_source[source] = len(members)
                    members.append((k, g))
                numbers[k][g] = by_source[source]
        return members, numbers

    def _of_kind(
        self, number: int, chosen: np.ndarray, members: list[tuple[int, int]], objects: dict[int, int], total: int
    ) -> dict[str, list[Any]]:
        """What one kind says of an image's detections and objects."""
        outcomes = self.kinds[number].outcomes
        if self._merged:
            of_record = {int(self.kinds[k].outcomes.record[d]): position for position, (k, d) in enumerate(members)}
            places = {d: of_record[int(outcomes.record[d])] for d in chosen.tolist()}
        else:
            places = {d: position for position, (k, d) in enumerate(members) if k == number}
        found_by: list[int | None] = [None] * total
        for g, place in objects.items():
            found_by[place] = places.get(int(outcomes.found_by[g]), -1)
        return {
            "of": [places[d] for d in chosen.tolist()],
            "outcomes": outcomes.outcome[chosen].tolist(),
            "objects": [objects.get(g, -1) for g in outcomes.object[chosen].tolist()],
            "ious": [round(float(iou), 2) for iou in outcomes.iou[chosen]],
            "partners": [objects.get(g, -1) for g in outcomes.partner[chosen].tolist()],
            "found_by": found_by,
        }

    def _shape_of_detection(self, number: int, detection: int) -> tuple[list[float], str | None]:
        """Box [x, y, width, height] and the mask's counts, of whatever kind has them."""
        record = int(self.kinds[number].outcomes.record[detection])
        results = [kind.problem.results[record] for kind in self.kinds] if self._merged else []
        results = results or [self.kinds[number].problem.results[record]]
        box = next((result["bbox"] for result in results if "bbox" in result), None)
        rle = next((result["segmentation"] for result in results if result.get("segmentation")), None)
        return _short(coco_mask.toBbox(rle) if box is None else box), rle and rle["counts"]


def _preview(pixels: np.ndarray) -> str:
    """A WebP file in base64 of uint8 RGB [h, w, 3]."""
    scale = PREVIEW_SIDE / max(pixels.shape[:2])
    if scale < 1:
        sides = [max(1, round(side * scale)) for side in (pixels.shape[1], pixels.shape[0])]
        pixels = cv2.resize(pixels, sides, interpolation=cv2.INTER_AREA)
    _, data = cv2.imencode(".webp", pixels[..., ::-1], [cv2.IMWRITE_WEBP_QUALITY, PREVIEW_QUALITY])
    return base64.b64encode(data.tobytes()).decode()


def _are_parallel(kinds: Sequence[Kind]) -> bool:
    """Whether the n-th results of all kinds are of one detection, as in the files that an evaluation writes."""
    first = kinds[0].problem.results
    keys = ("image_id", "category_id", "score")
    return all(
        len(kind.problem.results) == len(first)
        and all(a[key] == b[key] for a, b in zip(first, kind.problem.results) for key in keys)
        for kind in kinds[1:]
    )


def _grouped(images: np.ndarray) -> dict[int, np.ndarray]:
    """Positions by image, each in ascending order."""
    order = np.argsort(images, kind="stable")
    starts = np.flatnonzero(np.append(True, images[order][1:] != images[order][:-1])) if len(images) else []
    return {int(images[part[0]]): part for part in np.split(order, starts[1:])} if len(images) else {}


def _short(box: Sequence[float]) -> list[float]:
    return [round(float(value), 1) for value in box]
