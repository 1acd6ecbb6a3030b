"""The TXT format: the example of the original documents, and bad lines one at a time."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from tests.data.exif import with_orientation

from maskrcnn.data.sources.report import Reason, SkipReport
from maskrcnn.data.sources.txt import TxtSource
from maskrcnn.errors import DataError

HEIGHT, WIDTH = 480, 420
CLASSES = ["background", *"abcdefg"]


@pytest.fixture
def make(tmp_path):
    (tmp_path / "train2017").mkdir()
    for name in ("0000001.jpg", "2.png"):
        picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        cv2.imwrite(str(tmp_path / "train2017" / name), picture)

    def build(text: str, classes=CLASSES, **options) -> TxtSource:
        (tmp_path / "train.txt").write_text(text, encoding="utf-8")
        return TxtSource(tmp_path / "train.txt", tmp_path, classes, **options)

    return build


def load_all(source: TxtSource, strict: bool = False):
    report = SkipReport(strict)
    report.add(source.issues)
    samples = []
    for index in range(len(source)):
        sample, issues = source.load(index)
        report.add(issues)
        if sample is not None:
            samples.append(sample)
    return samples, {reason: report[reason] for reason in Reason if report[reason]}


def test_the_example_of_the_documents(make, tmp_path):
    source = make("train2017/0000001.jpg 0,259,401,459,7 35,28,324,201,2 0,30,59,80,2\n")
    (sample,), found = load_all(source, strict=True)
    assert not found
    assert sample.image_id == 1
    assert sample.file_name == "train2017/0000001.jpg"
    assert (sample.height, sample.width) == (HEIGHT, WIDTH)
    assert sample.boxes.tolist() == [[0, 259, 401, 459], [35, 28, 324, 201], [0, 30, 59, 80]]
    assert [source.classes.names[label - 1] for label in sample.labels] == ["g", "b", "b"]
    assert sample.rles == [None] * 3
    assert not sample.crowd.any()
    assert sample.jpeg == (tmp_path / "train2017" / "0000001.jpg").read_bytes()


def test_comments_empty_lines_and_float_coordinates(make):
    text = "\ufeff# boxes\n\n  \r\ntrain2017/2.png\t1.25,2.5,3.75,4.5,1  5,6,7,8,1\r\n"
    (sample,), found = load_all(make(text), strict=True)
    assert not found
    assert sample.image_id == 4
    assert sample.boxes[0].tolist() == [1.25, 2.5, 3.75, 4.5]


@pytest.mark.parametrize(
    ("objects", "expected"),
    [
        ("1,2,30,40,0", {Reason.UNKNOWN_CATEGORY: 1}),
        ("1,2,30,40,8", {Reason.UNKNOWN_CATEGORY: 1}),
        ("1,2,30,40,-1", {Reason.UNKNOWN_CATEGORY: 1}),
        ("1,2,30,40,cat", {Reason.MALFORMED: 1}),
        ("1,2,30,40", {Reason.MALFORMED: 1}),
        ("1,2,30,40,1,1", {Reason.MALFORMED: 1}),
        ("1,2,x,40,1", {Reason.MALFORMED: 1}),
        ("1,2,nan,40,1", {Reason.BAD_BOX: 1}),
        ("30,2,30,40,1", {Reason.BAD_BOX: 1}),
        ("30,40,1,2,1", {Reason.BAD_BOX: 1}),
        ("500,2,600,40,1", {Reason.OUTSIDE: 1}),
        ("-10,2,600,40,1", {Reason.CLIPPED_BOX: 1}),
        ("", {}),
    ],
)
def test_bad_objects_are_counted_and_the_rest_kept(make, objects, expected):
    text = f"train2017/2.png {objects} 5,6,70,80,1"
    (sample,), found = load_all(make(text))
    assert found == expected
    assert sample.boxes[-1].tolist() == [5, 6, 70, 80]
    if any(reason.fault for reason in expected):
        with pytest.raises(DataError, match=r"line 1 \(train2017/2\.png\): .*strict is on"):
            load_all(make(text), strict=True)


def test_bad_images_are_counted(make, tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8\xff")
    lines = ["no.jpg 1,2,3,4,1", "bad.jpg 1,2,3,4,1", "train2017/2.png", "train2017/0000001.jpg 9,9,9,9,1"]
    samples, found = load_all(make("\n".join([*lines, lines[0]])))
    assert not samples
    assert found == {
        Reason.MISSING_IMAGE: 1,
        Reason.UNREADABLE_IMAGE: 1,
        Reason.DUPLICATE_IMAGE: 1,
        Reason.NO_OBJECTS: 2,
        Reason.BAD_BOX: 1,
    }


def test_refusals(make, tmp_path):
    with pytest.raises(DataError, match="no class names of its own"):
        make("2.png 1,2,3,4,1", classes=[])
    with pytest.raises(DataError, match="lists no images"):
        make("# nothing\n")
    (tmp_path / "train.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="not a UTF-8 text file"):
        TxtSource(tmp_path / "train.txt", tmp_path, CLASSES)
    with pytest.raises(DataError, match="is not set; give it with anno_path"):
        TxtSource("", tmp_path, CLASSES)


@pytest.mark.parametrize(
    "name",
    ["train2017\\2.png", "C:\\coco\\train2017\\2.png", "/home/someone/coco/train2017/2.png", "./train2017/2.png"],
)
def test_paths_of_other_machines(make, name):
    (sample,), found = load_all(make(f"{name} 1,2,30,40,1\n"), strict=True)
    assert not found and sample.file_name == name
    assert make(f"{name} 1,2,30,40,1\n").estimated_bytes()[0] > len(sample.jpeg)


def test_a_last_part_that_several_images_share_is_not_enough(make, tmp_path):
    (tmp_path / "train2017" / "2.png").rename(tmp_path / "2.png")
    _, found = load_all(make("a/2.png 1,2,30,40,1\nb/2.png 1,2,30,40,1\n"))
    assert found == {Reason.MISSING_IMAGE: 2}


def test_images_without_objects_and_with_exif(make, tmp_path):
    text = "train2017/2.png\ntrain2017/0000001.jpg 1,2,30,40,9\n"
    assert load_all(make(text))[1] == {Reason.NO_OBJECTS: 2, Reason.UNKNOWN_CATEGORY: 1}
    samples, found = load_all(make(text, keep_empty=True))
    assert [sample.image_id for sample in samples] == [1] and not len(samples[0].labels)
    assert found == {Reason.BACKGROUND: 1, Reason.NO_OBJECTS: 1, Reason.UNKNOWN_CATEGORY: 1}
    (tmp_path / "train2017" / "2.png").write_bytes(with_orientation(np.zeros((60, 80, 3), np.uint8), 6, ".png"))
    for exif, size, reason in ((True, (80, 60), Reason.EXIF_APPLIED), (False, (60, 80), Reason.EXIF_IGNORED)):
        (sample,), found = load_all(make("train2017/2.png 1,2,30,40,1\n", exif=exif), strict=True)
        assert (sample.height, sample.width) == size and found == {reason: 1}
