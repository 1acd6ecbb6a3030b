"""AP of parts of the data, against pycocotools where it can say it and by hand where it cannot."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from tests.evaluation.problems import varied

from maskrcnn.evaluation.engines import AREA_RANGES, accumulate
from maskrcnn.report import slices
from maskrcnn.report.outcomes import collect_outcomes
from maskrcnn.report.slices import by_crowding, by_occlusion, by_size, covered_shares


def mean(values: np.ndarray) -> float:
    return float(values[values > -1].mean()) if (values > -1).any() else -1.0


def test_sizes_are_cocos_area_ranges(monkeypatch) -> None:
    """With COCO's own limits, COCO's own small, medium and large."""
    monkeypatch.setattr(slices, "SIZES", (0, 32, 96))
    problem = varied(0, "bbox")
    precision = accumulate(problem, "pycocotools").precision[..., -1]
    expected = [mean(precision[..., area]) for area in (1, 2, 3)]
    found = by_size(problem, "pycocotools")
    assert [part.ap for part in found] == pytest.approx(expected) and min(expected[:2]) > 0
    assert [part.label for part in found] == ["0 to 32 px", "32 to 96 px", "96 and more px"]
    areas = [a["area"] for a in problem.annotations if not a["iscrowd"]]
    assert [part.objects for part in found] == [sum(low <= a <= high for a in areas) for low, high in AREA_RANGES[1:]]


def test_crowding_is_the_ap_of_those_images() -> None:
    problem = varied(1, "bbox")
    found = by_crowding(problem, "auto")
    assert sum(part.objects for part in found) == sum(not a["iscrowd"] for a in problem.annotations)
    assert [part.label for part in found] == ["1", "2 to 3", "4 to 7", "8 to 15", "16 or more"]
    counts = {i: sum(a["image_id"] == i and not a["iscrowd"] for a in problem.annotations) for i in problem.image_ids}
    images = [i for i in problem.image_ids if counts[i] in (2, 3)]
    expected = accumulate(dataclasses.replace(problem, image_ids=images), "pycocotools").precision[..., 0, -1]
    assert found[1].ap == pytest.approx(mean(expected)) and found[1].ap50 == pytest.approx(mean(expected[:1]))
    assert found[-1] == ("16 or more", 0, -1.0, -1.0)


def test_covered_shares_by_hand() -> None:
    problem = varied(2, "bbox")
    of_image = problem.annotations[0]["image_id"]
    boxes = [[0, 0, 10, 10], [5, 0, 10, 10], [0, 8, 10, 10], [100, 0, 10, 10], [0, 0, 50, 50]]
    annotations = [
        {"id": n, "image_id": of_image, "category_id": 1, "bbox": box, "area": 100, "iscrowd": int(n == 4)}
        for n, box in enumerate(boxes)
    ]
    shares = covered_shares(dataclasses.replace(problem, annotations=annotations))
    assert shares.tolist() == pytest.approx([0.5, 0.5, 0.2, 0, 0])  # crowd regions neither cover nor are covered


def test_occlusion_of_a_single_part_is_plain_ap(monkeypatch) -> None:
    monkeypatch.setattr(slices, "COVERED", (0.0,))
    problem = varied(3, "segm")
    (found,) = by_occlusion(problem, collect_outcomes(problem))
    precision = accumulate(problem, "pycocotools").precision[..., 0, -1]
    assert found.ap == pytest.approx(mean(precision)) and found.ap50 == pytest.approx(mean(precision[:1]))


def test_occlusion_in_closed_form(monkeypatch) -> None:
    """Three free objects that are found and one covered one that is missed, and a false detection with the best score.

    Free: recall 1/3, 2/3, 1 of what would be 4 objects, to one false: precision 4/5 at the end, and before it no more.
    """
    monkeypatch.setattr(slices, "COVERED", (0.0, 0.3))
    base = varied(4, "bbox")
    image = base.images[0]["id"]

    def entry(n: int, box: list[float], **extra) -> dict:
        return {"id": n + 1, "image_id": image, "category_id": 1, "bbox": box, "area": box[2] * box[3], **extra}

    free = [[0, 0, 10, 10], [20, 0, 10, 10], [40, 0, 40, 10]]
    covered = [70, 0, 10, 10]  # wholly under the third, a quarter of which it covers
    objects = [entry(n, box, iscrowd=0) for n, box in enumerate([*free, covered])]
    scored = [([100, 0, 10, 10], 0.9), *((box, 0.8) for box in free)]
    results = [entry(n, box, iscrowd=0, score=score) for n, (box, score) in enumerate(scored)]
    problem = dataclasses.replace(base, annotations=objects, results=results, category_ids=[1], image_ids=[image])
    found = by_occlusion(problem, collect_outcomes(problem))
    assert [(part.label, part.objects) for part in found] == [("free", 3), ("30 % and more", 1)]
    assert found[0].ap == pytest.approx(4 / 5) and found[1].ap == 0
