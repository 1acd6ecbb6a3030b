"""Result files: whatever is wrong with one is one line that names the file, the record and the field."""

from __future__ import annotations

import json

import pytest
from pycocotools import mask as coco_mask

from maskrcnn.errors import EvaluationError
from maskrcnn.evaluation.ground_truth import load_ground_truth
from maskrcnn.evaluation.result_file import check_results, read_results, sizes_of_masks

HEIGHT, WIDTH = 20, 30
RLE = {"size": [HEIGHT, WIDTH], "counts": coco_mask.frPyObjects([[2, 2, 12, 2, 12, 12]], HEIGHT, WIDTH)[0]["counts"]}
RLE["counts"] = RLE["counts"].decode()
EMPTY = coco_mask.frPyObjects({"size": [HEIGHT, WIDTH], "counts": [HEIGHT * WIDTH]}, HEIGHT, WIDTH)["counts"].decode()
SHORT = coco_mask.frPyObjects({"size": [HEIGHT, WIDTH], "counts": [100, 50]}, HEIGHT, WIDTH)["counts"].decode()
LONG = coco_mask.frPyObjects({"size": [HEIGHT, WIDTH], "counts": [500, 101]}, HEIGHT, WIDTH)["counts"].decode()
ABSENT = object()


@pytest.fixture
def truth(tmp_path):
    content = {
        "images": [{"id": 5, "file_name": "a.png", "height": HEIGHT, "width": WIDTH}],
        "categories": [{"id": 2, "name": "square"}],
        "annotations": [{"id": 1, "image_id": 5, "category_id": 2, "bbox": [2, 2, 10, 10]}],
    }
    (tmp_path / "truth.json").write_text(json.dumps(content))
    return load_ground_truth(tmp_path / "truth.json")


def record(kind: str, **changes) -> dict:
    content = {"bbox": [2, 2, 10, 10]} if kind == "bbox" else {"segmentation": RLE}
    values = {"image_id": 5, "category_id": 2, "score": 0.5, **content, **changes}
    return {key: value for key, value in values.items() if value is not ABSENT}


def checked(tmp_path, truth, kind: str, *records):
    path = tmp_path / "results.json"
    path.write_text(json.dumps(records))
    return check_results(read_results(path), kind, truth, path)


WRONG = [
    ({"image_id": ABSENT}, "it has no image_id"),
    ({"image_id": 6}, "image_id is 6, which the annotation file does not list"),
    ({"image_id": None}, "image_id is None"),
    ({"image_id": [5]}, r"image_id is \[5\]"),
    ({"image_id": True}, "image_id is True"),
    ({"category_id": ABSENT}, "it has no category_id"),
    ({"category_id": 9}, "category_id is 9, which the annotation file does not list"),
    ({"category_id": "square"}, "category_id is 'square'"),
    ({"category_id": {}}, "category_id is {}"),
    ({"score": ABSENT}, "it has no score"),
    ({"score": "0.9"}, "score is '0.9', expected a number"),
    ({"score": None}, "score is None"),
    ({"score": True}, "score is True"),
    ({"score": [0.9]}, r"score is \[0.9\]"),
    ({"score": float("nan")}, "score is nan"),
    ({"score": float("inf")}, "score is inf"),
    ({"score": 10**400}, "score is 1000"),
]
WRONG_BOXES = [
    ({"bbox": ABSENT}, "it has no bbox"),
    ({"bbox": None}, "bbox is None, expected four numbers"),
    ({"bbox": [2, 2, 10]}, r"bbox is \[2, 2, 10\]"),
    ({"bbox": [2, 2, 10, 10, 0.5]}, "expected four numbers"),
    ({"bbox": "2,2,10,10"}, "bbox is '2,2,10,10'"),
    ({"bbox": [2, 2, "10", 10]}, "expected four numbers"),
    ({"bbox": [2, 2, None, 10]}, "expected four numbers"),
    ({"bbox": [2, 2, float("nan"), 10]}, "expected four numbers"),
    ({"bbox": [2, 2, 10**400, 10]}, "expected four numbers"),
    ({"bbox": [[2, 2], [10, 10]]}, "expected four numbers"),
    ({"bbox": {"x": 2, "y": 2, "width": 10, "height": 10}}, "expected four numbers"),
    ({"bbox": [2, 2, -10, 10]}, "a negative width or height"),
]
WRONG_MASKS = [
    ({"segmentation": ABSENT}, "it has no segmentation"),
    ({"segmentation": None}, "segmentation is None, expected a run-length code"),
    ({"segmentation": [[2, 2, 12, 2, 12, 12]]}, "expected a run-length code"),
    ({"segmentation": "PY1"}, "expected a run-length code"),
    ({"segmentation": {"counts": "0"}}, "segmentation has no size"),
    ({"segmentation": {"size": [HEIGHT, WIDTH]}}, "segmentation has no counts"),
    ({"segmentation": {**RLE, "size": [WIDTH, HEIGHT]}}, r"size is \[30, 20\], but the image is \[20, 30\]"),
    ({"segmentation": {**RLE, "size": [HEIGHT]}}, r"size is \[20\], expected \[height, width\]"),
    ({"segmentation": {**RLE, "size": ["20", "30"]}}, r"expected \[height, width\]"),
    ({"segmentation": {**RLE, "size": [-20, -30]}}, r"expected \[height, width\]"),
    ({"segmentation": {**RLE, "size": None}}, "segmentation.size is None"),
    ({"segmentation": {**RLE, "counts": [62, 10, 528]}}, "counts is .*, expected compressed run lengths as text"),
    ({"segmentation": {**RLE, "counts": None}}, "counts is None"),
    ({"segmentation": {**RLE, "counts": ""}}, "its counts are no RLE string"),
    ({"segmentation": {**RLE, "counts": RLE["counts"][:-1]}}, "segmentation.counts is"),
    ({"segmentation": {**RLE, "counts": SHORT}}, "does not add up to 20x30 pixels"),
    ({"segmentation": {**RLE, "counts": LONG}}, "does not add up to 20x30 pixels"),
    ({"segmentation": {**RLE, "counts": "\u732b"}}, "segmentation.counts is"),
    ({"segmentation": {**RLE, "counts": "~~~~"}}, "segmentation.counts is"),
]
CASES = [
    *(("bbox", change, words) for change, words in WRONG + WRONG_BOXES),
    *(("segm", change, words) for change, words in WRONG + WRONG_MASKS),
]


@pytest.mark.parametrize(("kind", "change", "words"), CASES)
def test_a_record_that_cannot_be_scored(tmp_path, truth, kind: str, change: dict, words: str) -> None:
    with pytest.raises(EvaluationError, match=words) as caught:
        checked(tmp_path, truth, kind, record(kind), record(kind, **change))
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'results.json'}: record 2") and "\n" not in message and len(message) < 400


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "are no JSON"),
        (b"[{", "are no JSON"),
        (b"{}", "are an object, not a list"),
        (b"null", "are null, not a list"),
        (b"3", "are a number, not a list"),
        (b'"bbox.json"', "are a text, not a list"),
        (b"[1]", "record 1 is a number, not an object"),
        (b"[[]]", "record 1 is a list, not an object"),
        (b'[{}, "x"]', "record 2 is a text, not an object"),
        (b"[" * 100_000, "nested too deeply"),
        (b'[{"a":' * 100_000, "nested too deeply"),
        (b"[" + b"1" * 5000 + b"]", "are no JSON"),
        (b'[{"score": "\xe9"}]', "are no UTF-8 text"),
        ('[{"score": "é"}]'.encode("utf-16"), "are no UTF-8 text"),
        (None, "cannot read the results"),
    ],
)
def test_a_file_that_holds_no_results(tmp_path, content, words: str) -> None:
    path = tmp_path / "results.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(EvaluationError, match=words) as caught:
        read_results(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_what_is_right_stays_as_it_is(tmp_path, truth) -> None:
    good = [record("bbox"), record("bbox", score=0, bbox=[0, 0, 0, 0.5]), record("bbox", score=-2.5)]
    assert checked(tmp_path, truth, "bbox", *good) == good
    masks = [record("segm"), record("segm", segmentation={"size": [HEIGHT, WIDTH], "counts": EMPTY})]
    assert checked(tmp_path, truth, "segm", *masks) == masks
    assert checked(tmp_path, truth, "bbox") == []


def test_ids_take_the_annotation_file_s_spelling(tmp_path, truth) -> None:
    (found,) = checked(tmp_path, truth, "bbox", record("bbox", image_id="5", category_id=2.0, extra="x"))
    assert found == record("bbox")
    (tmp_path / "marked.json").write_text(json.dumps([record("bbox")]), encoding="utf-8-sig")
    assert read_results(tmp_path / "marked.json") == [record("bbox")]


def test_sizes_of_images_from_their_masks() -> None:
    found = [record("segm"), record("segm", image_id="a"), record("segm", image_id=7, segmentation={"size": "x"})]
    assert sizes_of_masks([*found, record("bbox", image_id=8), {}]) == {5: (HEIGHT, WIDTH), "a": (HEIGHT, WIDTH)}
