"""An evaluation on several ranks: each takes its share of the images, rank 0 gathers the results."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path

from maskrcnn.distributed.process_group import ProcessGroup
from maskrcnn.errors import EvaluationError
from maskrcnn.inference.images import ImageSource, Skipped
from maskrcnn.inference.pipeline import ImageResult, Speed
from maskrcnn.inference.results import ImageId


def share_of(sources: Sequence[ImageSource], group: ProcessGroup) -> Sequence[ImageSource]:
    """Returns the images of this rank: every ``world``-th, so that a data set sorted by size is shared out evenly."""
    return sources[group.rank :: group.world_size]


def gather_results(
    sources: Sequence[ImageSource],
    results: Iterable[ImageResult],
    skipped: Sequence[Skipped],
    speed: Speed,
    group: ProcessGroup,
) -> tuple[list[ImageResult], list[Skipped], Speed] | None:
    """Gathers the results of all ranks. Numbers travel as text that gives them back exactly.

    Args:
        sources: All images.
        results: Those of this rank's share.
        skipped: What could not be used of it, complete when ``results`` has ended.
        speed: What the time went on, complete when ``results`` has ended.
        group: The processes.

    Returns:
        Results and skipped images in the order of ``sources``, and the speed, on rank 0; None on the others.

    Raises:
        EvaluationError: An image came twice or not at all.
    """
    found = [(result.source.image_id, result.size, result.bbox, result.segm) for result in results]
    left_out = [(str(item.path), item.reason) for item in skipped]
    timing = {item.name: getattr(speed, item.name) for item in fields(speed) if item.name != "_canvases"}
    text = json.dumps([found, left_out, timing])
    parts = group.gather(text.encode(), "the other ranks to evaluate their images")
    if parts is None:
        return None
    of_image: dict[ImageId, ImageResult] = {}
    place = {source.image_id: source for source in sources}
    all_skipped, speeds = [], []
    for part in map(json.loads, parts):
        for image_id, size, bbox, segm in part[0]:
            if image_id in of_image:
                raise EvaluationError(f"image {image_id} was evaluated by two ranks: give all of them the same images")
            of_image[image_id] = ImageResult(place[image_id], tuple(size), bbox, segm)
        all_skipped += [Skipped(Path(path), reason) for path, reason in part[1]]
        speeds.append(Speed(**part[2]))
    if len(of_image) + len(all_skipped) != len(sources):
        raise EvaluationError(f"{len(sources)} images were to be evaluated, the ranks had {len(of_image)}")
    number = {source.path: k for k, source in enumerate(sources)}
    all_skipped.sort(key=lambda item: number.get(item.path, -1))  # hosts may have the files elsewhere
    in_order = [of_image[source.image_id] for source in sources if source.image_id in of_image]
    return in_order, all_skipped, Speed.of_ranks(speeds)
