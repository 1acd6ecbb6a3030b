"""Bad labels of every format: one line names the file and the object, and what is good beside them is kept.

Each case damages one of two images of a good data set. Afterwards the other image is complete, and either the damaged
image's good object is there too or the image is left out as a whole.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from tests.data.formats import label_files as files
from tests.data.formats.label_files import CAT, NAMES, WRITERS

from maskrcnn.data.prepare.prepare import REPORT_FILE, PrepareOptions, prepare
from maskrcnn.errors import DataError

NAN, INF = float("nan"), float("inf")


class Case(NamedTuple):
    """``damage(folder)`` of a data set in ``format``; the report's line has all of ``words``.

    ``left``: objects of image a that are left; None: the image is left out.
    """

    format: str
    name: str
    damage: Callable[[Path], Any]
    words: tuple[str, ...]
    left: int | None = 1


def edit_json(file: str, change: Callable[[Any], Any]) -> Callable[[Path], Any]:
    def damage(folder: Path) -> None:
        content = json.loads((folder / file).read_text())
        change(content)
        files.write_json(folder / file, content)

    return damage


def edit_text(file: str, old: str, new: str) -> Callable[[Path], Any]:
    def damage(folder: Path) -> None:
        text = (folder / file).read_text()
        assert old in text
        (folder / file).write_text(text.replace(old, new, 1))

    return damage


def cut(file: str, share: float = 0.6) -> Callable[[Path], Any]:
    def damage(folder: Path) -> None:
        data = (folder / file).read_bytes()
        (folder / file).write_bytes(data[: int(len(data) * share)])

    return damage


def overwrite(file: str, data: bytes) -> Callable[[Path], Any]:
    return lambda folder: (folder / file).write_bytes(data)


def remove(file: str) -> Callable[[Path], Any]:
    return lambda folder: (folder / file).unlink()


def shape(**values: Any) -> Callable[[Any], Any]:
    return lambda content: content["shapes"][0].update(values)


def region(**values: Any) -> Callable[[Any], Any]:
    return lambda content: content["a.png123"]["regions"][0]["shape_attributes"].update(values)


def annotation(**values: Any) -> Callable[[Any], Any]:
    return lambda content: content["annotations"][0].update(values)


ANN, A_JSON, VIA, XML, A_TXT, A_XML = (
    "annotations.json",
    "a.json",
    "via_region_data.json",
    "annotations.xml",
    "labels/a.txt",
    "Annotations/a.xml",
)

CASES = [
    # COCO
    Case(
        "coco",
        "two points",
        edit_json(ANN, annotation(segmentation=[[1, 2, 3, 4]])),
        ("annotation 2", "three points"),
        2,
    ),
    Case("coco", "text", edit_json(ANN, annotation(segmentation="x")), ("annotation 2", "str, not a list"), 2),
    Case("coco", "nan", edit_json(ANN, annotation(segmentation=[[NAN] * 6])), ("annotation 2", "not a number"), 2),
    Case("coco", "null", edit_json(ANN, annotation(segmentation=[[None] * 6])), ("annotation 2", "not a number"), 2),
    Case("coco", "far", edit_json(ANN, annotation(segmentation=[[1e9] * 6])), ("annotation 2", "far outside"), 2),
    Case(
        "coco",
        "size of RLE",
        edit_json(ANN, annotation(segmentation={"size": [9, 9], "counts": [81]})),
        ("annotation 2", "size [9, 9]"),
        2,
    ),
    Case(
        "coco",
        "cut RLE",
        edit_json(ANN, annotation(segmentation={"size": [60, 80], "counts": "o"})),
        ("annotation 2", "counts"),
        2,
    ),
    Case("coco", "box of three", edit_json(ANN, annotation(bbox=[1, 2, 3])), ("annotation 2", "bbox [1, 2, 3]")),
    Case("coco", "box of text", edit_json(ANN, annotation(bbox=["wide", 2, 3, 4])), ("annotation 2", "bbox ['wide'")),
    Case("coco", "negative box", edit_json(ANN, annotation(bbox=[9, 9, -3, 4])), ("annotation 2", "positive size")),
    Case("coco", "box outside", edit_json(ANN, annotation(bbox=[900, 9, 3, 4])), ("annotation 2", "outside")),
    Case("coco", "infinite box", edit_json(ANN, annotation(bbox=[INF, 9, 3, 4])), ("annotation 2", "bbox")),
    Case("coco", "category", edit_json(ANN, annotation(category_id=99)), ("annotation 2", "category_id 99")),
    Case(
        "coco", "category is a list", edit_json(ANN, annotation(category_id=[5])), ("annotation 2", "category_id [5]")
    ),
    Case("coco", "iscrowd", edit_json(ANN, annotation(iscrowd="no")), ("annotation 2", "iscrowd 'no'")),
    Case("coco", "id twice", edit_json(ANN, annotation(id=3)), ("annotation 3", "twice")),
    Case("coco", "orphan", edit_json(ANN, annotation(image_id=77)), ("image 77", "not listed")),
    Case("coco", "no image id", edit_json(ANN, lambda c: c["annotations"][0].pop("image_id")), ("annotation entry",)),
    Case("coco", "entry is a number", edit_json(ANN, lambda c: c["annotations"].append(5)), ("annotation entry 5",), 2),
    Case(
        "coco",
        "image twice",
        edit_json(ANN, lambda c: c["images"].append(c["images"][0])),
        ("image 1 (a.png)", "twice"),
        2,
    ),
    Case("coco", "no file name", edit_json(ANN, lambda c: c["images"][0].pop("file_name")), ("image entry",), None),
    Case("coco", "size", edit_json(ANN, lambda c: c["images"][0].update(width=99)), ("a.png", "99x60", "80x60"), None),
    Case("coco", "image missing", remove("a.png"), ("image 1", "a.png", "missing"), None),
    Case("coco", "image cut", cut("a.png"), ("a.png", "cut off"), None),
    Case("coco", "image empty", overwrite("a.png", b""), ("a.png", "empty"), None),
    # LabelMe
    Case("labelme", "cut", cut(A_JSON), ("a.json", "no valid JSON", "complete"), None),
    Case(
        "labelme",
        "empty",
        overwrite(A_JSON, b'{"shapes": 1, "imagePath": "a.png"}'),
        ("a.json", "list of shapes"),
        None,
    ),
    Case("labelme", "no UTF-8", overwrite(A_JSON, b'{"shapes": ["\xff"], "imagePath": ""}'), ("a.json", "UTF-8"), None),
    Case(
        "labelme",
        "deep",
        overwrite(A_JSON, b'{"imagePath": "a.png", "shapes": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
        ("a.json", "nested"),
        None,
    ),
    Case(
        "labelme", "two points", edit_json(A_JSON, shape(points=[[1, 2], [3, 4]])), ("a.json, shape 1", "three points")
    ),
    Case("labelme", "no points", edit_json(A_JSON, shape(points=[])), ("a.json, shape 1", "three points")),
    Case("labelme", "points of text", edit_json(A_JSON, shape(points=[["a", 1]] * 3)), ("a.json: shape 1", "'a'")),
    Case("labelme", "points of three", edit_json(A_JSON, shape(points=[[1, 2, 3]] * 3)), ("a.json: shape 1", "pairs")),
    Case("labelme", "nan", edit_json(A_JSON, shape(points=[[NAN, 1]] * 3)), ("a.json: shape 1", "finite")),
    Case("labelme", "no label", edit_json(A_JSON, shape(label=None)), ("a.json: shape 1", "None, not a name")),
    Case("labelme", "shape type", edit_json(A_JSON, shape(shape_type="blob")), ("a.json: shape 1", "blob")),
    Case(
        "labelme", "circle of three", edit_json(A_JSON, shape(shape_type="circle")), ("a.json: shape 1", "two points")
    ),
    Case(
        "labelme",
        "circle of radius 0",
        edit_json(A_JSON, shape(shape_type="circle", points=[[5, 5], [5, 5]])),
        ("a.json: shape 1", "radii"),
    ),
    Case(
        "labelme",
        "broken mask",
        edit_json(A_JSON, shape(shape_type="mask", points=[[5, 5], [9, 9]], mask="!")),
        ("a.json: shape 1", "mask"),
    ),
    Case("labelme", "shape is text", edit_json(A_JSON, lambda c: c["shapes"].append("x")), ("a.json: shape 3",), 2),
    Case("labelme", "size", edit_json(A_JSON, lambda c: c.update(imageHeight=61)), ("a.json", "80x61", "80x60"), None),
    Case("labelme", "image missing", remove("a.png"), ("a.json", "a.png", "missing"), None),
    Case("labelme", "path", edit_json(A_JSON, lambda c: c.update(imagePath=5)), ("a.json", "imagePath is 5"), None),
    Case(
        "labelme", "outside", edit_json(A_JSON, shape(points=[[200, 1], [300, 1], [300, 9]])), ("shape 1", "no pixel")
    ),
    # VIA
    Case(
        "via",
        "two points",
        edit_json(VIA, region(all_points_x=[1, 2], all_points_y=[1, 2])),
        ("region 0", "three points"),
    ),
    Case("via", "unequal lists", edit_json(VIA, region(all_points_x=[1])), ("a.png, region 0", "equal length")),
    Case("via", "text", edit_json(VIA, region(all_points_x=["a"] * 4)), ("a.png, region 0", "'a' is no number")),
    Case("via", "shape", edit_json(VIA, region(name="star")), ("a.png, region 0", "star")),
    Case("via", "no radius", edit_json(VIA, region(name="circle", cx=1, cy=1)), ("a.png, region 0", "no 'r'")),
    Case(
        "via",
        "no class",
        edit_json(VIA, lambda c: c["a.png123"]["regions"][0].update(region_attributes={})),
        ("a.png, region 0", "names no class"),
    ),
    Case(
        "via",
        "two classes",
        edit_json(
            VIA, lambda c: c["a.png123"]["regions"][0].update(region_attributes={"label": {"a": True, "b": True}})
        ),
        ("a.png, region 0", "names no class"),
    ),
    Case(
        "via",
        "no shape",
        edit_json(VIA, lambda c: c["a.png123"]["regions"][0].pop("shape_attributes")),
        ("a.png, region 0", "shape_attributes"),
    ),
    Case(
        "via", "no file name", edit_json(VIA, lambda c: c["a.png123"].pop("filename")), ("'a.png123'", "filename"), None
    ),
    Case("via", "image missing", remove("a.png"), ("a.png", "missing"), None),
    # CVAT
    Case("cvat", "two points", edit_text(XML, "10.0,10.0;40.0,10.0;", ""), ("polygon 1", "three points"), 1),
    Case("cvat", "text", edit_text(XML, "10.0,10.0;", "x,y;"), ("image 0 (a.png), polygon 1", "'x'")),
    Case("cvat", "three", edit_text(XML, "10.0,10.0;", "1,2,3;"), ("image 0 (a.png), polygon 1", "pair")),
    Case("cvat", "no label", edit_text(XML, 'label="cat"', ""), ("image 0 (a.png), polygon 1", "label")),
    Case("cvat", "no corner", edit_text(XML, 'xbr="70"', ""), ("image 0 (a.png), box 2", "'xbr'")),
    Case("cvat", "size", edit_text(XML, 'width="80"', 'width="81"'), ("a.png", "81x60", "80x60"), None),
    Case("cvat", "image missing", remove("images/a.png"), ("image 0 (a.png)", "missing"), None),
    Case(
        "cvat",
        "mask",
        edit_text(
            XML, '<box label="dog"', '<mask label="x" rle="1,2" left="0" top="0" width="9" height="9"/><box label="dog"'
        ),
        ("mask 2", "9x9"),
        2,
    ),
    Case(
        "cvat",
        "mask outside",
        edit_text(
            XML,
            '<box label="dog"',
            '<mask label="x" rle="0,4" left="79" top="0" width="2" height="2"/><box label="dog"',
        ),
        ("mask 2", "leaves the 80x60 image"),
        2,
    ),
    # YOLO
    Case("yolo", "class", edit_text(A_TXT, "1 ", "7 "), ("a.txt: line 1", "class 7", "0 to 1")),
    Case("yolo", "negative class", edit_text(A_TXT, "1 ", "-1 "), ("a.txt: line 1", "'-1'")),
    Case("yolo", "fraction class", edit_text(A_TXT, "1 ", "1.5 "), ("a.txt: line 1", "'1.5'")),
    Case("yolo", "text", edit_text(A_TXT, "0.125", "abc"), ("a.txt: line 1", "abc")),
    Case("yolo", "odd", edit_text(A_TXT, "1 ", "1 0.1 "), ("a.txt: line 1", "odd number")),
    Case("yolo", "pixels", overwrite(A_TXT, b"1 40 30 20 20\n0 0.5 0.5 0.2 0.2\n"), ("a.txt: line 1", "no fractions")),
    Case("yolo", "short", overwrite(A_TXT, b"1 0.5 0.5\n0 0.5 0.5 0.2 0.2\n"), ("a.txt: line 1", "2 numbers")),
    Case("yolo", "nan", overwrite(A_TXT, b"1 nan 0 1 1\n0 0.5 0.5 0.2 0.2\n"), ("a.txt: line 1", "nan")),
    Case(
        "yolo", "no size", overwrite(A_TXT, b"1 0.5 0.5 0 0.2\n0 0.5 0.5 0.2 0.2\n"), ("a.txt, line 1", "positive size")
    ),
    Case("yolo", "no UTF-8", overwrite(A_TXT, b"\xff\xfe\x00\n"), ("a.txt", "UTF-8"), None),
    Case("yolo", "image missing", remove("images/a.png"), ("a.txt", "missing"), None),
    # Pascal VOC
    Case("voc", "cut", cut(A_XML), ("a.xml", "no valid XML", "complete"), None),
    Case("voc", "no name", edit_text(A_XML, "<name>dog</name>", ""), ("a.xml: object 2", "no name")),
    Case("voc", "no corner", edit_text(A_XML, "<xmax>70</xmax>", ""), ("a.xml: object 2", "None is no number")),
    Case("voc", "text", edit_text(A_XML, "<xmax>70", "<xmax>wide"), ("a.xml: object 2", "'wide'")),
    Case("voc", "turned", edit_text(A_XML, "<xmax>70", "<xmax>7"), ("a.xml, object 2", "positive size")),
    Case(
        "voc",
        "size of mask",
        lambda folder: files.write_png(folder / "SegmentationObject/a.png", np.zeros((9, 9), np.uint8)),
        ("SegmentationObject/a.png", "9x9"),
        None,
    ),
    Case("voc", "broken mask", cut("SegmentationObject/a.png"), ("SegmentationObject/a.png", "cut off"), 2),
    Case(
        "voc",
        "colour",
        lambda folder: files.write_png(
            folder / "SegmentationClass/a.png", files.filled(CAT)[..., None] * np.uint8([1, 2, 3])
        ),
        ("a.png, colour 0,128,0", "colour 253,254,255"),
        2,
    ),
    Case("voc", "image missing", remove("JPEGImages/a.png"), ("a.xml", "missing"), None),
    # mask images
    Case(
        "instance_png",
        "size",
        lambda folder: [
            files.write_png(folder / "masks" / c / "a.png", np.ones((9, 9), np.uint8)) for c in ("cat", "dog")
        ],
        ("a.png", "9x9", "80x60"),
        None,
    ),
    Case("instance_png", "broken", cut("masks/cat/a.png", 0.5), ("masks/cat/a.png", "cut off"), 1),
    Case(
        "instance_png",
        "no photograph",
        lambda folder: files.write_png(folder / "masks/cat/z.png", files.filled(CAT)),
        ("masks/cat/z.png", "no photograph"),
        2,
    ),
    Case(
        "object_png",
        "size",
        lambda folder: files.write_png(folder / "a/masks/cat/1.png", np.ones((9, 9), np.uint8)),
        ("a/masks/cat, 1.png", "size [9, 9]"),
    ),
    Case(
        "object_png",
        "empty mask",
        lambda folder: files.write_png(folder / "a/masks/cat/1.png", files.filled(CAT, 0)),
        ("1.png", "covers no pixel"),
    ),
    Case("object_png", "broken", overwrite("a/masks/cat/1.png", b"png"), ("a/masks/cat/1.png", "no image")),
    # TXT
    Case("txt", "class", edit_text("labels_list.txt", "30,2", "30,5"), ("line 1 (a.png), object 1", "class 5 of 2")),
    Case("txt", "text", edit_text("labels_list.txt", "10,10,40", "x,10,40"), ("line 1 (a.png), object 1", "x,10,40")),
    Case("txt", "fields", edit_text("labels_list.txt", "30,2", "30"), ("line 1 (a.png), object 1",)),
    Case("txt", "empty box", edit_text("labels_list.txt", "10,10,40", "10,10,10"), ("line 1 (a.png), object 1",)),
    Case("txt", "image missing", remove("a.png"), ("line 1 (a.png)", "missing"), None),
]


def made(out: Path) -> dict[str, int]:
    """Number of objects by image name."""
    content = json.loads((out / "annotations" / "instances_train2017.json").read_text())
    names = {image["id"]: image["file_name"] for image in content["images"]}
    counts = dict.fromkeys(names.values(), 0)
    for item in content["annotations"]:
        counts[names[item["image_id"]]] += 1
    return counts


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.format}: {case.name}")
def test_bad_label_is_one_line_that_names_it(case: Case, tmp_path: Path):
    folder = WRITERS[case.format](tmp_path / "in")
    case.damage(folder)
    prepare([folder], tmp_path / "out", PrepareOptions(val=0, format_name=case.format))
    lines = (tmp_path / "out" / REPORT_FILE).read_text().splitlines()
    skipped = [line for line in lines if line.startswith("skipped: ")]
    assert [line for line in skipped if all(word in line for word in case.words)], skipped
    counts = made(tmp_path / "out")
    assert counts["b.png"] == 2
    assert counts.get("a.png") == case.left


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.format}: {case.name}")
def test_strict_stops_with_that_line(case: Case, tmp_path: Path):
    folder = WRITERS[case.format](tmp_path / "in")
    case.damage(folder)
    with pytest.raises(DataError) as error:
        prepare([folder], tmp_path / "out", PrepareOptions(val=0, format_name=case.format, strict=True))
    assert all(word in str(error.value) for word in case.words) and "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


WHOLE = [
    ("coco", cut(ANN), ("annotations.json", "not valid JSON", "complete")),
    (
        "coco",
        overwrite(ANN, b'{"images": [], "annotations": [], "categories": []}'),
        ("holds no labels of the format coco",),
    ),
    ("via", cut(VIA), ("via_region_data.json", "no valid JSON")),
    ("cvat", cut(XML, 0.3), ("annotations.xml", "no valid XML")),
    (
        "cvat",
        edit_text(XML, "<image ", '<track id="0" label="cat"></track><image '),
        ("annotations.xml", "for videos", "CVAT for images 1.1"),
    ),
    ("yolo", edit_text("data.yaml", "names: [dog, cat]", "names: [dog, cat"), ("data.yaml", "no valid YAML")),
    (
        "yolo",
        edit_text("data.yaml", "names: [dog, cat]", "names: {0: dog, 2: cat}"),
        ("data.yaml", "numbered from 0 to 1"),
    ),
    ("yolo", remove("data.yaml"), ("no class names", "--class_names")),
    ("txt", remove("classes.txt"), ("no class names", "--class_names")),
    ("txt", overwrite("classes.txt", b"\xff\xfe"), ("classes.txt", "UTF-8")),
]


@pytest.mark.parametrize(("name", "damage", "words"), WHOLE)
def test_file_of_all_labels_that_cannot_be_used_is_one_line(name: str, damage, words: tuple, tmp_path: Path):
    folder = WRITERS[name](tmp_path / "in")
    damage(folder)
    with pytest.raises(DataError) as error:
        prepare([folder], tmp_path / "out", PrepareOptions(val=0, format_name=name))
    assert all(word in str(error.value) for word in words) and "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_names_that_are_no_utf_8_are_renamed(tmp_path: Path):
    folder = files.write_object_png(tmp_path / "in")
    os.rename(folder / "a" / "images" / "a.png", os.fsencode(folder / "a" / "images") + b"/\xff\xe9.png")
    prepare([folder], tmp_path / "out", PrepareOptions(val=0))
    assert made(tmp_path / "out") == {"%FF%E9.png": 2, "b.png": 2}
    assert (tmp_path / "out" / "train2017" / "%FF%E9.png").is_file()


def test_good_examples_have_no_fault(tmp_path: Path):
    for name, write in WRITERS.items():
        prepare([write(tmp_path / name)], tmp_path / f"{name}-out", PrepareOptions(val=0, strict=True))
        assert made(tmp_path / f"{name}-out") == dict.fromkeys(NAMES, 2)
