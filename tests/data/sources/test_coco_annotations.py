"""The annotations that an evaluation reads: as pycocotools reads good files, and as training reads bad ones."""

from __future__ import annotations

import json
import threading

import cv2
import numpy as np
import pytest
from pycocotools import mask as mask_util
from pycocotools.coco import COCO

from maskrcnn.data.sources.classes import ClassList
from maskrcnn.data.sources.coco_annotations import read_annotations
from maskrcnn.data.sources.report import Reason
from maskrcnn.errors import DataError

HEIGHT, WIDTH = 60, 80
POLYGON = [10, 10, 30, 10, 30, 40, 10, 40]


def entry(identity, **changes) -> dict:
    values = {"id": identity, "image_id": 1, "category_id": 3, "bbox": [10, 10, 20, 30], "segmentation": [POLYGON]}
    return {key: value for key, value in {**values, **changes}.items() if value is not ...}


@pytest.fixture
def read(tmp_path):
    def build(annotations: list[dict], image: dict | None = None, **options):
        image = {"id": 1, "file_name": "1.png", "height": HEIGHT, "width": WIDTH, **(image or {})}
        image = {key: value for key, value in image.items() if value is not ...}
        content = {"images": [image], "annotations": annotations, "categories": [{"id": 3, "name": "cat"}]}
        file = tmp_path / "ann.json"
        file.write_text(json.dumps(content), encoding="utf-8-sig")  # with a byte order mark
        return read_annotations(file, **options)

    return build


@pytest.mark.parametrize("split", ["train2017", "val2017"])
def test_equals_pycocotools_on_coco(coco_tiny, split):
    path = coco_tiny / "annotations" / f"instances_{split}.json"
    found = read_annotations(path, strict=True)
    coco = COCO(path)
    assert [image["id"] for image in found.images] == list(coco.imgs)
    assert not found.report.lines()
    by_image = {image["id"]: [] for image in found.images}
    for annotation in found.annotations:
        by_image[annotation["image_id"]].append(annotation)
    for image_id, of_image in by_image.items():
        for ours, theirs in zip(of_image, coco.imgToAnns[image_id]):
            assert {key: ours[key] for key in ("category_id", "bbox", "iscrowd", "area")} == {
                key: theirs[key] for key in ("category_id", "bbox", "iscrowd", "area")
            }
            np.testing.assert_array_equal(mask_util.decode(ours["segmentation"]), coco.annToMask(theirs))
        assert len(of_image) == len(coco.imgToAnns[image_id])
    assert [annotation["id"] for annotation in found.annotations] == list(range(1, len(coco.anns) + 1))


def test_what_tools_leave_out_is_filled_in(read):
    found = read([entry(7), entry(..., segmentation=...), entry("x", iscrowd=1, area="55.5")])
    assert [annotation["iscrowd"] for annotation in found.annotations] == [0, 0, 1]
    assert [annotation["area"] for annotation in found.annotations] == [600.0, 600.0, 55.5]
    assert found.annotations[1]["segmentation"] is None
    assert found.report[Reason.BOX_ONLY] == 1 and len(found.report.lines()) == 1


# name: (annotation, what is reported, objects left, of them with a mask, area of the first)
WRONG = {
    "cut rle": (entry(1, segmentation={"size": [HEIGHT, WIDTH], "counts": [600, 30]}), Reason.BAD_MASK, 1, 0, 600),
    "negative rle": (
        entry(1, segmentation={"size": [HEIGHT, WIDTH], "counts": [-5, 4805]}),
        Reason.BAD_MASK,
        1,
        0,
        600,
    ),
    "rle of another size": (entry(1, segmentation={"size": [9, 9], "counts": [40, 41]}), Reason.BAD_MASK, 1, 0, 600),
    "cut rle text": (entry(1, segmentation={"size": [HEIGHT, WIDTH], "counts": "PPYo0"}), Reason.BAD_MASK, 1, 0, 600),
    "nan in a polygon": (entry(1, segmentation=[[1, 2, 3, 4, 5, float("nan")]]), Reason.BAD_MASK, 1, 0, 600),
    "null in a polygon": (entry(1, segmentation=[[1, 2, 3, 4, 5, None]]), Reason.BAD_MASK, 1, 0, 600),
    "huge coordinates": (entry(1, segmentation=[[1, 2, 1e12, 4, 5, 6]]), Reason.BAD_MASK, 1, 0, 600),
    "area as words": (entry(1, area="large"), Reason.BAD_AREA, 1, 1, 600),
    "negative area": (entry(1, area=-3), Reason.BAD_AREA, 1, 1, 600),
    "area nan": (entry(1, area=float("nan")), Reason.BAD_AREA, 1, 1, 600),
    "area as list": (entry(1, area=[600]), Reason.BAD_AREA, 1, 1, 600),
    "three numbers": (entry(1, bbox=[1, 2, 3]), Reason.BAD_BOX, 0, 0, None),
    "negative width": (entry(1, bbox=[10, 10, -20, 30]), Reason.BAD_BOX, 0, 0, None),
    "box outside": (entry(1, bbox=[200, 10, 20, 30]), Reason.OUTSIDE, 0, 0, None),
    "orphan": (entry(1, image_id=9), Reason.ORPHAN, 0, 0, None),
    "no image id": (entry(1, image_id=...), Reason.MALFORMED, 0, 0, None),
    "unknown category": (entry(1, category_id=4), Reason.UNKNOWN_CATEGORY, 0, 0, None),
    "iscrowd yes": (entry(1, iscrowd="yes"), Reason.MALFORMED, 0, 0, None),
    "no object": (17, Reason.MALFORMED, 0, 0, None),
}


@pytest.mark.parametrize("name", WRONG)
def test_whatever_cannot_be_used_is_counted_and_the_rest_kept(read, name):
    annotation, reason, objects, masks, area = WRONG[name]
    found = read([annotation, entry(2)])
    assert found.report[reason] == 1 and len(found.report.lines()) == 1
    assert len(found.annotations) == objects + 1
    assert sum(one["segmentation"] is not None for one in found.annotations) == masks + 1
    if area is not None:
        assert found.annotations[0]["area"] == area
    with pytest.raises(DataError, match="strict is on"):
        read([annotation, entry(2)], strict=True)


def test_duplicate_ids_keep_the_first(read):
    found = read([entry(1), entry(1, bbox=[0, 0, 5, 5])])
    assert [annotation["bbox"] for annotation in found.annotations] == [[10, 10, 20, 30]]
    assert found.report[Reason.DUPLICATE_ANNOTATION] == 1


@pytest.mark.parametrize("identity", ["x/y", "12", 12.0, 0.5, 0, -3])
def test_ids_stay_as_the_file_has_them(read, identity):
    found = read([entry(1, image_id=identity)], {"id": identity})
    assert found.images[0]["id"] == found.annotations[0]["image_id"] == identity
    assert type(found.images[0]["id"]) is type(identity)


def test_sizes_that_the_file_does_not_say(read, tmp_path):
    unknown = {"height": ..., "width": ...}
    found = read([entry(1)], unknown)
    assert found.images[0]["height"] is None and found.annotations[0]["segmentation"] is None
    assert "the size of its image is not known" in found.report.lines()[0]
    from_results = read([entry(1)], unknown, sizes={1: (HEIGHT, WIDTH)})
    cv2.imwrite(str(tmp_path / "1.png"), np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    from_images = read([entry(1)], {"height": "?", "width": ...}, image_dir=tmp_path)
    for one in (from_results, from_images):
        assert (one.images[0]["height"], one.images[0]["width"]) == (HEIGHT, WIDTH)
        assert one.annotations[0]["segmentation"]["size"] == [HEIGHT, WIDTH]
    assert from_images.report[Reason.BAD_SIZE] == 1


def test_classes_of_a_run_and_of_the_file(read):
    found = read([entry(1)])
    assert found.file.classes() == ClassList(("cat",), (3,))
    classes, missing = found.file.find_classes(ClassList.from_names(["dog", "cat"]))
    assert classes.category_ids[1] == 3 and missing == ["dog"]


def test_lvis_lists_are_kept(read):
    found = read([entry(1)], {"file_name": ..., "coco_url": "http://x/val2017/1.png", "neg_category_ids": [3]})
    assert found.images[0]["neg_category_ids"] == [3] and found.images[0]["file_name"] == "val2017/1.png"


def test_no_run_length_code_keeps_pycocotools_busy(read):
    """Counts that do not sum up made it read beyond their end for ever; a thread that hangs would outlive the test."""
    rng = np.random.default_rng(0)
    texts = [bytes(rng.integers(48, 112, rng.integers(1, 40)).tolist()).decode() for _ in range(300)]
    annotations = [entry(i, segmentation={"size": [HEIGHT, WIDTH], "counts": text}) for i, text in enumerate(texts)]
    results = []
    thread = threading.Thread(target=lambda: results.append(read(annotations)), daemon=True)
    thread.start()
    thread.join(60)
    assert results and len(results[0].annotations) == 300


SPOILERS = [
    None, True, 0, -1, 1.5, float("nan"), float("inf"), 10**30, -(10**20), 1e308, "", "x", "1", "\ud800", "a\0b",
    "9" * 5000, [], [1], {}, [[1, 2], [3, 4], [5, 6]], [None] * 4, ["1"] * 4, [[[]]], [[1e308] * 6], [1e308] * 4,
    {"size": [HEIGHT, WIDTH], "counts": "o" * 1000}, {"size": [HEIGHT, WIDTH], "counts": [-1] * 10},
    {"size": 60, "counts": 5}, {"size": [HEIGHT, WIDTH], "counts": [True] * 3},
]  # fmt: skip


def test_no_value_anywhere_is_more_than_one_line(tmp_path):
    """Any value of a good file replaced by any other, or left out: it is read, or refused in one line."""
    good = {
        "images": [{"id": 1, "file_name": "1.jpg", "height": HEIGHT, "width": WIDTH}],
        "annotations": [entry(1, area=3), entry(2, segmentation={"size": [HEIGHT, WIDTH], "counts": [10, 4790]})],
        "categories": [{"id": 3, "name": "cat", "supercategory": "x"}, {"id": 4, "name": "x"}],
    }
    file = tmp_path / "ann.json"

    def places(node, path=()):
        if path:
            yield path
        for key in node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ():
            yield from places(node[key], (*path, key))

    read_whole = 0
    for number, path in enumerate(places(good)):
        for spoiler in [..., *SPOILERS[number % 3 :: 3]]:
            content = json.loads(json.dumps(good))
            parent = content
            for key in path[:-1]:
                parent = parent[key]
            if spoiler is ...:
                del parent[path[-1]]
            else:
                parent[path[-1]] = spoiler
            file.write_text(json.dumps(content))
            try:
                read_annotations(file)
                read_whole += 1
            except DataError as error:
                assert "\n" not in str(error)
    assert read_whole > 200
