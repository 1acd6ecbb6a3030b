"""Recall of a network's proposals: the objects that a second stage could find, whatever their classes."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from maskrcnn.data.sources.classes import ClassList
from maskrcnn.distributed.process_group import ProcessGroup
from maskrcnn.evaluation.engines import AREAS
from maskrcnn.evaluation.evaluator import EvaluationOptions, image_sources
from maskrcnn.evaluation.ground_truth import GroundTruth
from maskrcnn.evaluation.sharing import share_of
from maskrcnn.inference.images import ImageBatch, load_batches
from maskrcnn.inference.pipeline import DetectorFunction
from maskrcnn.inference.results import ImageId, objects_of_image
from maskrcnn.inference.settings import InferenceSettings

LIMITS = (100, 300, 1000)  # proposals of an image that count
OBJECT = 1  # the id of the only class


def evaluate_proposals(
    proposer: DetectorFunction,
    truth: GroundTruth,
    image_dir: Path,
    classes: ClassList,
    settings: InferenceSettings,
    options: EvaluationOptions,
    group: ProcessGroup | None = None,
) -> dict[str, float] | None:
    """Runs a region proposal network over a data set and scores its proposals.

    Args:
        proposer: See ``inference.proposals``.
        truth: The ground truth.
        image_dir: The folder of its images.
        classes: The classes whose objects are to be found.
        settings: How image files become what the network takes.
        options: Which images are evaluated.
        group: The processes that evaluate together.

    Returns:
        See ``proposal_recall``, to rank 0; None to the others.
    """
    group = group or ProcessGroup()
    sources = image_sources(truth, image_dir, options)
    batches = load_batches(share_of(sources, group), settings, skipped=[])
    text = json.dumps(list(_records(proposer, batches)))
    parts = group.gather(text.encode(), "the other ranks to propose regions")
    if parts is None:
        return None
    records = [record for part in parts for record in json.loads(part)]
    return proposal_recall(truth, records, classes, [source.image_id for source in sources])


def proposal_recall(
    truth: GroundTruth, records: Sequence[dict[str, Any]], classes: ClassList, image_ids: Sequence[ImageId]
) -> dict[str, float]:
    """Scores proposals by COCO's rules with all classes taken for one (``useCats`` 0).

    Args:
        truth: The ground truth.
        records: Box records of the proposals; their category does not matter.
        classes: The classes whose objects are to be found.
        image_ids: The images that count.

    Returns:
        The recall, averaged over IoU thresholds from 0.50 to 0.95: AR@100, AR@300 and AR@1000 for objects of any size,
        ARs@1000, ARm@1000 and ARl@1000 for small, medium and large ones; -1 where there are none.
    """
    number = {own: position for position, own in enumerate(image_ids, 1)}
    objects = [entry for entry in truth.objects_of(classes.category_ids, image_ids)]
    images = [{"id": position} for position in number.values()]
    with contextlib.redirect_stdout(io.StringIO()):
        expected, found = (_indexed(images, entries, number) for entries in (objects, records))
        evaluation = COCOeval(expected, found, "bbox")
        evaluation.params.useCats = 0
        evaluation.params.maxDets = list(LIMITS)
        evaluation.evaluate()
        evaluation.accumulate()
    recall = evaluation.eval["recall"][:, 0]  # [IoU threshold, area, limit]
    stats = {f"AR@{limit}": _mean(recall[:, 0, column]) for column, limit in enumerate(LIMITS)}
    by_size = {f"AR{name[0]}@{LIMITS[-1]}": _mean(recall[:, row, -1]) for row, name in enumerate(AREAS) if row}
    return {**stats, **by_size}


def _records(proposer: DetectorFunction, batches: Iterable[ImageBatch]) -> Iterator[dict[str, Any]]:
    """Box records of the proposals for all images."""
    for batch in batches:
        found = proposer(batch.image, batch.image_shape)
        for row, image in enumerate(batch.images):
            objects = objects_of_image(found, row, image.network_size, image.original_size)
            corners = objects.boxes.astype(np.float64)
            corners[:, 2:] -= corners[:, :2]
            for box, score in zip(corners.tolist(), objects.scores.tolist()):
                yield {"image_id": image.source.image_id, "bbox": box, "score": score}


def _indexed(images: list[dict[str, Any]], entries: Iterable[dict[str, Any]], number: dict[ImageId, int]) -> COCO:
    """Annotations or records of one class for pycocotools."""
    coco = COCO()
    coco.dataset = {
        "images": images,
        "categories": [{"id": OBJECT, "name": "object"}],
        "annotations": [
            {
                "iscrowd": 0,
                "area": entry["bbox"][2] * entry["bbox"][3],
                **entry,
                "id": position,
                "image_id": number[entry["image_id"]],
                "category_id": OBJECT,
            }
            for position, entry in enumerate(entries, 1)
        ],
    }
    coco.createIndex()
    return coco


def _mean(values: np.ndarray) -> float:
    known = values[values > -1]
    return float(known.mean()) if len(known) else -1.0
