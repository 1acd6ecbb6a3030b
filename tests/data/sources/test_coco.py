"""COCO data sets: against pycocotools on real photographs, and every kind of bad input one at a time."""

from __future__ import annotations

import copy
import json

import cv2
import numpy as np
import pytest
from pycocotools import mask as mask_util
from pycocotools.coco import COCO
from tests.data.exif import FORMATS, with_orientation

from maskrcnn.data.batches.transforms import decode_image
from maskrcnn.data.sources.coco import CocoSource
from maskrcnn.data.sources.orientation import orient
from maskrcnn.data.sources.report import Reason, SkipReport
from maskrcnn.errors import DataError

HEIGHT, WIDTH = 60, 80
SQUARE = [10.5, 10.0, 30.5, 10.0, 30.5, 40.0, 10.5, 40.0]


def annotation(identity: int, image_id: int = 1, **changes) -> dict:
    entry = {
        "id": identity,
        "image_id": image_id,
        "category_id": 3,
        "bbox": [10.5, 10.0, 20.0, 30.0],
        "segmentation": [SQUARE],
        "area": 600.0,
        "iscrowd": 0,
    }
    entry.update(changes)
    return {key: value for key, value in entry.items() if value is not ...}


def content() -> dict:
    """Two good images of two objects each."""
    return {
        "images": [{"id": i, "file_name": f"{i}.jpg", "height": HEIGHT, "width": WIDTH, "license": 1} for i in (1, 2)],
        "annotations": [annotation(11), annotation(12, category_id=5), annotation(21, 2), annotation(22, 2)],
        "categories": [{"id": 3, "name": "cat"}, {"id": 5, "name": "dog"}],
    }


@pytest.fixture
def make(tmp_path):
    """Write a data set and give its source."""
    images = tmp_path / "images"
    images.mkdir()
    for i in (1, 2):
        picture = np.random.default_rng(i).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
        cv2.imwrite(str(images / f"{i}.jpg"), picture)

    def build(data: dict, classes=None, **options) -> CocoSource:
        file = tmp_path / "ann.json"
        file.write_text(json.dumps(data))
        return CocoSource(file, images, classes, **options)

    build.images = images
    return build


def load_all(source: CocoSource, strict: bool = False):
    report = SkipReport(strict)
    report.add(source.issues)
    samples = []
    for index in range(len(source)):
        sample, issues = source.load(index)
        report.add(issues)
        if sample is not None:
            samples.append(sample)
            assert decode_image(sample.jpeg, sample.orientation).shape == (sample.height, sample.width, 3)
            assert len(sample.boxes) == len(sample.labels) == len(sample.crowd) == len(sample.rles) > 0
            assert not sample.crowd.all()
    return samples, report


def counts(report: SkipReport) -> dict:
    return {reason: report[reason] for reason in Reason if report[reason]}


@pytest.mark.parametrize("split", ["train2017", "val2017"])
def test_equals_pycocotools_on_photographs(coco_tiny, split):
    file = coco_tiny / "annotations" / f"instances_{split}.json"
    source = CocoSource(file, coco_tiny / split)
    samples, report = load_all(source)
    coco = COCO(file)
    assert all(not reason.fault for reason in counts(report))
    assert [s.image_id for s in samples] == [i for i in coco.imgs if coco.getAnnIds(i, iscrowd=False)]
    for sample in samples:
        entry = coco.imgs[sample.image_id]
        truth = coco.imgToAnns[sample.image_id]
        assert sample.jpeg == (coco_tiny / split / entry["file_name"]).read_bytes()
        assert (sample.height, sample.width) == (entry["height"], entry["width"])
        boxes = np.array([a["bbox"] for a in truth])
        boxes[:, 2:] += boxes[:, :2]
        boxes = boxes.clip(0, [entry["width"], entry["height"]] * 2)
        np.testing.assert_allclose(sample.boxes, boxes, rtol=0, atol=1e-4)
        assert sample.boxes.dtype == np.float32 and sample.labels.dtype == np.int32
        assert [source.classes.category_ids[label - 1] for label in sample.labels] == [a["category_id"] for a in truth]
        assert sample.crowd.tolist() == [bool(a["iscrowd"]) for a in truth]
        for rle, one in zip(sample.rles, truth):
            found = mask_util.decode({"size": [sample.height, sample.width], "counts": rle})
            np.testing.assert_array_equal(found, coco.annToMask(one))


def test_all_forms_of_masks_and_crowd(make):
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[10:40, 20:30] = 1
    rle = mask_util.encode(np.asfortranarray(mask))
    compressed = {"size": [HEIGHT, WIDTH], "counts": rle["counts"].decode()}
    plain = {"size": [HEIGHT, WIDTH], "counts": [20 * HEIGHT + 10, *[30, 30] * 9, 30, 50 * HEIGHT + 20]}
    data = content()
    data["annotations"] = [
        annotation(1, segmentation=compressed),
        annotation(2, segmentation=plain, iscrowd=1),
        annotation(3, segmentation=compressed, iscrowd=1),
        annotation(4, iscrowd=1),
        annotation(5, iscrowd=...),
    ]
    samples, report = load_all(make(data), strict=True)
    assert counts(report) == {Reason.NO_OBJECTS: 1}  # the second image
    assert samples[0].crowd.tolist() == [False, True, True, True, False]
    assert samples[0].rles[:3] == [rle["counts"]] * 3
    assert samples[0].boxes[0].tolist() == [10.5, 10.0, 30.5, 40.0]


def changed(section: str, index: int, **changes):
    def change(data: dict, images) -> None:
        data[section][index] = {k: v for k, v in {**data[section][index], **changes}.items() if v is not ...}

    return change


def file_change(action):
    return lambda data, images: action(images / "2.jpg")


def cut(path):
    path.write_bytes(path.read_bytes()[:-300])


def replace_by_folder(path):
    path.unlink()
    path.mkdir()


def rle(counts, size=(HEIGHT, WIDTH)) -> dict:
    return {"size": list(size), "counts": counts}


# name: (change, expected counts, images left, objects left)
FAULTS = {
    "missing image": (file_change(lambda p: p.unlink()), Reason.MISSING_IMAGE, 1, 2),
    "empty image": (file_change(lambda p: p.write_bytes(b"")), Reason.UNREADABLE_IMAGE, 1, 2),
    "garbage image": (file_change(lambda p: p.write_bytes(b"GIF89a?" * 50)), Reason.UNREADABLE_IMAGE, 1, 2),
    "truncated image": (file_change(cut), Reason.UNREADABLE_IMAGE, 1, 2),
    "folder for an image": (file_change(replace_by_folder), Reason.UNREADABLE_IMAGE, 1, 2),
    "wrong size": (changed("images", 1, height=HEIGHT + 1), Reason.WRONG_SIZE, 1, 2),
    "exchanged size": (changed("images", 1, height=WIDTH, width=HEIGHT), Reason.WRONG_SIZE, 1, 2),
    "no size": (changed("images", 1, height=..., width=...), None, 2, 4),
    "no file name": (changed("images", 1, file_name=...), {Reason.MALFORMED: 1, Reason.ORPHAN: 2}, 1, 2),
    "odd file name": (changed("images", 1, file_name="a\0b"), {Reason.MALFORMED: 1, Reason.ORPHAN: 2}, 1, 2),
    "half a letter": (
        changed("images", 1, file_name="\ud800"),
        {Reason.MALFORMED: 1, Reason.ORPHAN: 2},
        1,
        2,
    ),
    "no id": (changed("images", 1, id=...), {Reason.MALFORMED: 1, Reason.ORPHAN: 2}, 1, 2),
    "null as id": (changed("images", 1, id=None), {Reason.MALFORMED: 1, Reason.ORPHAN: 2}, 1, 2),
    "list as id": (changed("images", 1, id=[2]), {Reason.MALFORMED: 1, Reason.ORPHAN: 2}, 1, 2),
    "another text as id": (changed("images", 1, id="02"), {Reason.ORPHAN: 2, Reason.NO_OBJECTS: 1}, 1, 2),
    "text as size": (changed("images", 1, height=str(HEIGHT), width=f"{WIDTH}.0"), None, 2, 4),
    "wrong text as size": (changed("images", 1, height=str(HEIGHT + 1)), Reason.WRONG_SIZE, 1, 2),
    "words as size": (changed("images", 1, height="tall", width="wide"), Reason.BAD_SIZE, 2, 4),
    "no such size": (changed("images", 1, height=0, width=-5), Reason.BAD_SIZE, 2, 4),
    "enormous size": (changed("images", 1, height=10**6, width=10**6), Reason.BAD_SIZE, 2, 4),
    "broken number as size": (changed("images", 1, height=60.5), Reason.BAD_SIZE, 2, 4),
    "duplicate image": (lambda d, _: d["images"].append(d["images"][0]), Reason.DUPLICATE_IMAGE, 2, 4),
    "duplicate annotation": (changed("annotations", 2, id=11), Reason.DUPLICATE_ANNOTATION, 2, 3),
    "no annotation id": (changed("annotations", 2, id=...), None, 2, 4),
    "orphan": (changed("annotations", 2, image_id=99), Reason.ORPHAN, 2, 3),
    "no image id": (changed("annotations", 2, image_id=...), Reason.MALFORMED, 2, 3),
    "not an object": (lambda d, _: d["annotations"].append(7), Reason.MALFORMED, 2, 4),
    "unknown category": (changed("annotations", 2, category_id=4), Reason.UNKNOWN_CATEGORY, 2, 3),
    "text as category": (changed("annotations", 2, category_id="3"), None, 2, 4),
    "no category": (changed("annotations", 2, category_id=...), Reason.UNKNOWN_CATEGORY, 2, 3),
    "list as category": (changed("annotations", 2, category_id=[3]), Reason.UNKNOWN_CATEGORY, 2, 3),
    "null iscrowd": (changed("annotations", 2, iscrowd=None), None, 2, 4),
    "false iscrowd": (changed("annotations", 2, iscrowd=False), None, 2, 4),
    "iscrowd 2": (changed("annotations", 2, iscrowd=2), Reason.MALFORMED, 2, 3),
    "odd iscrowd": (changed("annotations", 2, iscrowd="yes"), Reason.MALFORMED, 2, 3),
    "no box": (changed("annotations", 2, bbox=...), Reason.BAD_BOX, 2, 3),
    "short box": (changed("annotations", 2, bbox=[1, 2, 3]), Reason.BAD_BOX, 2, 3),
    "nan in box": (changed("annotations", 2, bbox=[1, 2, float("nan"), 3]), Reason.BAD_BOX, 2, 3),
    "infinite box": (changed("annotations", 2, bbox=[1, 2, float("inf"), 3]), Reason.BAD_BOX, 2, 3),
    "huge number": (changed("annotations", 2, bbox=[1, 2, 10**400, 3]), Reason.BAD_BOX, 2, 3),
    "text in box": (changed("annotations", 2, bbox=["10.5", "10", "20", "30"]), None, 2, 4),
    "words in box": (changed("annotations", 2, bbox=["a", 10, 20, 30]), Reason.BAD_BOX, 2, 3),
    "null in box": (changed("annotations", 2, bbox=[None, 10, 20, 30]), Reason.BAD_BOX, 2, 3),
    "empty box": (changed("annotations", 2, bbox=[5, 5, 0, 9]), Reason.BAD_BOX, 2, 3),
    "negative box": (changed("annotations", 2, bbox=[5, 5, -4, 9]), Reason.BAD_BOX, 2, 3),
    "box outside": (changed("annotations", 2, bbox=[WIDTH, 5, 4, 9]), Reason.OUTSIDE, 2, 3),
    "box partly outside": (changed("annotations", 2, bbox=[-5, 5, 400, 9]), Reason.CLIPPED_BOX, 2, 4),
    "box beyond by rounding": (changed("annotations", 2, bbox=[0, 0, WIDTH + 0.5, 9]), None, 2, 4),
    "empty polygon": (changed("annotations", 2, segmentation=[[]]), Reason.BAD_MASK, 2, 4),
    "two points": (changed("annotations", 2, segmentation=[[1, 2, 3, 4]]), Reason.BAD_MASK, 2, 4),
    "no area": (changed("annotations", 2, segmentation=[[5, 5] * 3]), Reason.BAD_MASK, 2, 4),
    "null in polygon": (changed("annotations", 2, segmentation=[[1, 2, 3, 4, 5, None]]), Reason.BAD_MASK, 2, 4),
    "points as pairs": (changed("annotations", 2, segmentation=[[10, 10], [30, 10], [30, 40]]), None, 2, 4),
    "text as mask": (changed("annotations", 2, segmentation="1,2,3"), Reason.BAD_MASK, 2, 4),
    "rle of another size": (changed("annotations", 2, segmentation=rle([40, 41], [9, 9])), Reason.BAD_MASK, 2, 4),
    "rle cut off": (changed("annotations", 2, segmentation=rle([610, 30])), Reason.BAD_MASK, 2, 4),
    "rle beyond the image": (changed("annotations", 2, segmentation=rle([10, 10**9])), Reason.BAD_MASK, 2, 4),
    "negative rle": (changed("annotations", 2, segmentation=rle([5000, -200])), Reason.BAD_MASK, 2, 4),
    "rle text cut off": (changed("annotations", 2, segmentation=rle("PPYo0")), Reason.BAD_MASK, 2, 4),
    "rle without counts": (changed("annotations", 2, segmentation={"size": [HEIGHT, WIDTH]}), Reason.BAD_MASK, 2, 4),
    "no segmentation": (changed("annotations", 2, segmentation=...), Reason.BOX_ONLY, 2, 4),
    "empty segmentation": (changed("annotations", 2, segmentation=[]), Reason.BOX_ONLY, 2, 4),
    "empty object as segmentation": (changed("annotations", 2, segmentation={}), Reason.BOX_ONLY, 2, 4),
    "no annotations": (lambda d, _: d.update(annotations=d["annotations"][:2]), Reason.NO_OBJECTS, 1, 2),
    "only crowd": (
        lambda d, _: [a.update(iscrowd=1) for a in d["annotations"][2:]],
        Reason.NO_OBJECTS,
        1,
        2,
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_each_bad_input_is_counted_and_the_rest_kept(make, name):
    change, expected, images, objects = FAULTS[name]
    if not isinstance(expected, dict):
        expected = {} if expected is None else {expected: 1}
    data = copy.deepcopy(content())
    change(data, make.images)
    samples, report = load_all(make(data))
    assert counts(report) == expected
    assert (len(samples), sum(len(s.labels) for s in samples)) == (images, objects)
    assert len(report.lines()) == len(expected)
    for sample in samples:
        assert (sample.boxes[:, :2] >= 0).all()
        assert (sample.boxes[:, 2:] <= [WIDTH, HEIGHT]).all()
        assert (sample.boxes[:, 2:] > sample.boxes[:, :2]).all()
    if any(reason.fault for reason in expected):
        with pytest.raises(DataError, match="strict is on"):
            load_all(make(data), strict=True)
    else:
        load_all(make(data), strict=True)


def renamed(data: dict, identities: dict, text=str) -> dict:
    for image in data["images"]:
        image["id"] = identities[image["id"]]
    for entry in data["annotations"]:
        entry["image_id"] = text(identities[entry["image_id"]])
    return data


@pytest.mark.parametrize(
    ("identities", "text", "numbers"),
    [
        ({1: "one", 2: "two/2"}, str, [1, 2]),  # their places in the list
        ({1: "10", 2: "20"}, str, [10, 20]),
        ({1: 10.0, 2: 20.0}, int, [10, 20]),  # as pandas writes them
        ({1: 10, 2: 20}, str, [10, 20]),
        ({1: 0.5, 2: 1.5}, float, [1, 2]),
        ({1: 10**30, 2: 10**30 + 1}, str, [1, 2]),
        ({1: -1, 2: 0}, int, [-1, 0]),
    ],
)
def test_image_ids_of_all_kinds(make, identities, text, numbers):
    samples, report = load_all(make(renamed(content(), identities, text)), strict=True)
    assert [sample.image_id for sample in samples] == numbers
    assert [sample.labels.tolist() for sample in samples] == [[1, 2], [1, 1]]
    assert not counts(report)


def test_orphans_and_duplicates_are_named_as_the_file_has_them(make):
    data = renamed(content(), {1: "one", 2: "two"})
    data["annotations"] += [annotation("x", "three"), annotation(11, "one"), annotation(..., "four")]
    report = load_all(make(data))[1]
    assert report.lines() == [
        "skipped: 2 objects: the object belongs to an image that is not listed "
        "(e.g. annotation x of image three; annotation ? of image four)",
        "skipped: 1 object: the annotation id is there twice; the first entry is kept "
        "(e.g. annotation 11 of image one)",
    ]


@pytest.mark.parametrize(
    ("listed", "placed"),
    [
        ("images\\1.jpg", "1.jpg"),
        ("C:\\data\\images\\1.jpg", "1.jpg"),
        ("/home/someone/images/1.jpg", "1.jpg"),
        ("images/1.jpg", "1.jpg"),
        ("../images/1.jpg", "1.jpg"),
        ("/home/someone/a/1.jpg", "a/1.jpg"),
        ("./1.jpg", "1.jpg"),
        ("1.jpg", "1.jpg"),
        ("a\\1.jpg", "a/1.jpg"),
        ("elsewhere/1.jpg", "../elsewhere/1.jpg"),
    ],
)
def test_file_names_of_other_machines_are_tried_by_their_last_parts(make, listed, placed):
    target = make.images / placed
    target.parent.mkdir(exist_ok=True)
    (make.images / "1.jpg").rename(target)
    data = content()
    data["images"][0]["file_name"] = listed
    samples, report = load_all(make(data), strict=True)
    assert [sample.image_id for sample in samples] == [1, 2] and not counts(report)
    assert samples[0].jpeg == target.read_bytes()
    assert make(data).estimated_bytes()[0] > len(samples[0].jpeg) + len(samples[1].jpeg)


def test_a_last_part_that_several_images_share_is_not_enough(make):
    """a/1.jpg and b/1.jpg must not both be read from 1.jpg."""
    data = content()
    data["images"][0]["file_name"] = "a/1.jpg"
    data["images"].append({**data["images"][0], "id": 3, "file_name": "b/1.jpg"})
    samples, report = load_all(make(data))
    assert counts(report) == {Reason.MISSING_IMAGE: 1, Reason.NO_OBJECTS: 1} and len(samples) == 1


def test_lvis_names_images_by_their_address(make):
    folder = make.images.parent / "val2017"
    folder.mkdir()
    (make.images / "1.jpg").rename(folder / "1.jpg")
    data = content()
    for image in data["images"]:
        split = "val2017" if image["id"] == 1 else "images"
        image["coco_url"] = f"http://images.cocodataset.org/{split}/{image.pop('file_name')}"
        image["neg_category_ids"], image["not_exhaustive_category_ids"] = [5], []
    samples, report = load_all(make(data), strict=True)
    assert [sample.file_name for sample in samples] == ["val2017/1.jpg", "images/2.jpg"]
    assert not counts(report)


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("orientation", [1, 2, 3, 4, 6, 8])
@pytest.mark.parametrize("exif", [True, False])
def test_exif_orientations(make, suffix, orientation, exif):
    """The object's mask lies on the bright patch wherever the annotations saw it."""
    stored = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    stored[5:15, 10:30] = 255
    shown = orient(stored, orientation)
    seen_as_shown = orientation >= 5 or (exif and orientation > 1)  # 6 and 8 are listed with exchanged sides
    seen = shown if seen_as_shown else stored
    rows, columns = np.nonzero(seen[..., 0])
    x, y, w, h = columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1
    polygon = [int(v) for v in (x, y, x + w, y, x + w, y + h, x, y + h)]
    data = content()
    data["images"] = [{"id": 1, "file_name": f"a{suffix}", "height": seen.shape[0], "width": seen.shape[1]}]
    data["annotations"] = [annotation(1, bbox=[int(v) for v in (x, y, w, h)], segmentation=[polygon])]
    (make.images / f"a{suffix}").write_bytes(with_orientation(stored, orientation, suffix))
    source = make(data, exif=exif)
    (sample,), report = load_all(source, strict=True)
    assert (sample.height, sample.width) == seen.shape[:2]
    pixels = decode_image(sample.jpeg, sample.orientation)
    mask = mask_util.decode({"size": [sample.height, sample.width], "counts": sample.rles[0]})
    assert pixels[mask == 1].min() > 150 and pixels[mask == 0].max() < 100
    note = Reason.EXIF_APPLIED if seen_as_shown else Reason.EXIF_IGNORED
    assert counts(report) == ({} if orientation == 1 else {note: 1})


def test_exif_of_images_annotated_as_stored_is_left_alone_and_counted(make):
    data = content()
    picture = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    (make.images / "2.jpg").write_bytes(with_orientation(picture, 6))
    samples, report = load_all(make(data), strict=True)
    assert counts(report) == {Reason.EXIF_IGNORED: 1} and samples[1].orientation == 1


@pytest.mark.parametrize(("keep_empty", "kept"), [(False, [2]), (True, [1, 2, 3])])
def test_images_without_objects_are_kept_as_background_if_wanted(make, keep_empty, kept):
    data = content()
    data["images"].append({"id": 3, "file_name": "1.jpg", "height": HEIGHT, "width": WIDTH})
    data["annotations"] = [annotation(21, 2), annotation(31, 3, iscrowd=1)]  # nothing, an object, a crowd region
    source = make(data, keep_empty=keep_empty)
    report = SkipReport()
    loaded = [source.load(index) for index in range(3)]
    report.add([issue for _, issues in loaded for issue in issues])
    assert [sample.image_id for sample, _ in loaded if sample] == kept
    assert counts(report) == {Reason.BACKGROUND if keep_empty else Reason.NO_OBJECTS: 2}
    if keep_empty:
        assert loaded[0][0].boxes.shape == (0, 4) and loaded[2][0].crowd.tolist() == [True]


def test_an_image_whose_objects_cannot_be_used_is_no_background(make):
    data = content()
    data["annotations"] = [annotation(11, 1, bbox=[1, 2, 0, 0]), annotation(21, 2, category_id=5)]
    source = make(data, ["cat"], keep_empty=True)
    assert source.load(0)[0] is None
    assert len(source.load(1)[0].labels) == 0, "an object of another class is background for this run"


def test_500_objects_in_one_image(make):
    data = content()
    data["annotations"] = [annotation(i) for i in range(1, 501)]
    samples, _ = load_all(make(data))
    assert samples[0].boxes.shape == (500, 4)


def test_annotations_before_images_and_in_any_order(make):
    data = content()
    data["annotations"].reverse()
    samples, report = load_all(make({key: data[key] for key in ("annotations", "categories", "images")}))
    assert [s.image_id for s in samples] == [1, 2]
    assert samples[0].labels.tolist() == [2, 1]
    assert not counts(report)


def test_classes_from_the_configuration(make):
    source = make(content(), ["background", "dog"])
    samples, report = load_all(source, strict=True)
    assert source.classes.category_ids == (5,)
    assert [s.labels.tolist() for s in samples] == [[1]]
    assert counts(report) == {Reason.OTHER_CLASS: 3, Reason.NO_OBJECTS: 1}
    with pytest.raises(DataError, match="'bird' is not a category"):
        make(content(), ["bird"])


def test_report_names_the_first_examples(make):
    data = content()
    for entry in data["annotations"]:
        entry["category_id"] = 77
    report = load_all(make(data))[1]
    assert report.lines()[0] == (
        "skipped: 4 objects: the category is unknown (e.g. annotation 11 of image 1, category_id 77; "
        "annotation 12 of image 1, category_id 77; annotation 21 of image 2, category_id 77)"
    )
    assert report.to_json()["UNKNOWN_CATEGORY"]["count"] == 4


def test_missing_files_are_named(make, tmp_path):
    with pytest.raises(DataError, match=r"annotation file .*no\.json does not exist"):
        CocoSource(tmp_path / "no.json", make.images)
    make(content())
    with pytest.raises(DataError, match=r"image folder .*nowhere is not a folder"):
        CocoSource(tmp_path / "ann.json", tmp_path / "nowhere")
    with pytest.raises(DataError, match="lists no images: it is not"):
        make({"annotations": [], "categories": []})
    with pytest.raises(DataError, match=r"lists no images that can be used \(image entry .*: no id\)"):
        make({"images": [{"file_name": "1.jpg"}], "annotations": [], "categories": []})
