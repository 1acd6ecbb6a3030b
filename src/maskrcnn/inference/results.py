"""Detections as the network gives them, and the COCO result records they become.

The float32 arithmetic is elementwise and in a documented order, because the C++ app repeats it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Union

import numpy as np

from maskrcnn.errors import EvaluationError

CategoryId = Union[int, str]
ImageId = Union[int, str]


class Detections(NamedTuple):
    """Fixed-size output of the network for a batch of N images with up to D objects each.

    boxes: float32 [N, D, 4], x1, y1, x2, y2 in pixels of the network's input.
    scores: float32 [N, D]. labels: int32 [N, D], 1..K. valid: bool [N, D], False marks padding.
    masks: float32 [N, D, m, m], probabilities of the object's own class in the frame of its box.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    valid: np.ndarray
    masks: np.ndarray


class ImageObjects(NamedTuple):
    """The objects of one image in pixels of the original image, best score first.

    boxes: float32 [n, 4] xyxy. scores: float32 [n]. labels: int32 [n], 1..K. masks: float32 [n, m, m].
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    masks: np.ndarray


def objects_of_image(
    detections: Detections, index: int, network_size: tuple[int, int], original_size: tuple[int, int]
) -> ImageObjects:
    """Takes the valid objects of an image of a batch and scales their boxes to the original image.

    In float32: ``x * (original_width / network_width)``, then clipped to ``[0, original_width]``; y likewise. The
    factor is taken from both sizes because rounding the resized sides makes it differ from the common scale. Objects
    are ordered by descending score; equal scores keep the network's order.

    Args:
        detections: What the network gave for the batch.
        index: The image's row.
        network_size: (height, width) of the resized image without its padding.
        original_size: (height, width) of the image file.

    Raises:
        EvaluationError: A valid object has a box, score or mask that is not finite.
    """
    valid = np.asarray(detections.valid[index], bool)
    scores = np.asarray(detections.scores[index], np.float32)[valid]
    order = np.argsort(-scores, kind="stable")
    scores = scores[order]
    boxes = np.asarray(detections.boxes[index], np.float32)[valid][order]
    labels = np.asarray(detections.labels[index], np.int32)[valid][order]
    masks = np.asarray(detections.masks[index], np.float32)[valid][order]
    for name, values in (("box", boxes), ("score", scores), ("mask", masks)):
        if not np.isfinite(values).all():
            raise EvaluationError(
                f"the network gave a {name} that is not finite: "
                "the checkpoint's weights are probably damaged or have diverged"
            )
    height, width = original_size
    limit = np.array([width, height, width, height], np.float32)
    factor = limit / np.array([network_size[1], network_size[0]] * 2, np.float32)
    return ImageObjects(np.clip(boxes * factor, np.float32(0), limit), scores, labels, masks)


def shortest(value: np.floating) -> float:
    """Returns the number with the fewest decimal digits that is still the same float32.

    ``float(np.float32(0.1))`` prints as 0.10000000149011612; this prints as 0.1. Nothing is lost, distinct
    values stay distinct and in order, and the text is half as long. C++'s ``std::to_chars(float)`` finds the
    same digits.
    """
    return float(str(np.float32(value)))


def coco_records(
    image_id: ImageId, objects: ImageObjects, rles: Sequence[dict[str, Any]], category_ids: Sequence[CategoryId]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Returns the box records and the mask records of one image in COCO's result format.

    A box is ``[x, y, x2 - x1, y2 - y1]`` in float32. Mask records carry no box: pycocotools would then take the box's
    area, not the mask's, to sort objects into small, medium and large.

    Args:
        image_id: The image's id in the data set.
        objects: The image's objects.
        rles: Their masks, compressed COCO RLEs at the original size.
        category_ids: The data set's own id of each label, that of label 1 first.

    Raises:
        EvaluationError: A label is beyond the category ids.
    """
    bbox, segm = [], []
    for box, score, label, rle in zip(objects.boxes, objects.scores, objects.labels, rles):
        if not 1 <= label <= len(category_ids):
            raise EvaluationError(
                f"the network gave label {label} but the run has {len(category_ids)} classes: "
                "the checkpoint belongs to another class list"
            )
        x1, y1, x2, y2 = box
        common = {"image_id": image_id, "category_id": category_ids[label - 1]}
        corners = [shortest(v) for v in (x1, y1, x2 - x1, y2 - y1)]
        bbox.append({**common, "bbox": corners, "score": shortest(score)})
        counts = rle["counts"]
        text = counts.decode("ascii") if isinstance(counts, bytes) else counts
        segmentation = {"size": [int(side) for side in rle["size"]], "counts": text}
        segm.append({**common, "segmentation": segmentation, "score": shortest(score)})
    return bbox, segm
