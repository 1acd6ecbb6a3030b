"""Every format gives the same objects: as drawn here, and as people annotated four photographs with six tools."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from tests.conftest import SHARED
from tests.data.formats.label_files import CAT, CAT_AREA, CAT_HAS_MASK, DOG, DOG_HAS_MASK, NAMES, WRITERS

from maskrcnn.data.formats import FORMATS, read_labels
from maskrcnn.data.formats.labels import ReadOptions
from maskrcnn.data.prepare.checking import CheckedObject, check_image
from maskrcnn.data.prepare.classes import ClassMap
from maskrcnn.data.prepare.prepare import PrepareOptions, prepare
from maskrcnn.errors import DataError

EXAMPLES = SHARED / "data" / "formats"


def test_every_format_has_an_example_here():
    assert set(WRITERS) == set(FORMATS)


@pytest.mark.parametrize("name", FORMATS)
def test_is_recognised_and_read_exactly(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    prepared = prepare([WRITERS[name](tmp_path / "in")], tmp_path / "out", PrepareOptions(val=0.5))
    assert [source.format for source in prepared.sources] == [name]
    assert sorted(prepared.classes) == ["cat", "dog"]
    names = []
    for split in ("train2017", "val2017"):
        coco = COCO(tmp_path / "out" / "annotations" / f"instances_{split}.json")
        labels = {number: entry["name"] for number, entry in coco.cats.items()}
        for image_id, image in coco.imgs.items():
            names.append(image["file_name"])
            assert (tmp_path / "out" / split / image["file_name"]).is_file()
            found = {labels[a["category_id"]]: a for a in coco.imgToAnns[image_id]}
            assert len(coco.imgToAnns[image_id]) == 2
            for label, box, has_mask in (("cat", CAT, CAT_HAS_MASK), ("dog", DOG, DOG_HAS_MASK)):
                x, y, width, height = found[label]["bbox"]
                assert np.allclose([x, y, x + width, y + height], box, atol=1e-3), label
                assert bool(found[label]["segmentation"]) == (name in has_mask), label
            if name in CAT_HAS_MASK:
                mask = coco.annToMask(found["cat"])
                assert mask[10:30, 10:40].all() and mask.sum() == CAT_AREA == found["cat"]["area"]
    assert sorted(names) == sorted(NAMES)


@pytest.mark.parametrize("name", FORMATS)
def test_insisting_on_another_format_is_refused(name: str, tmp_path: Path):
    folder = WRITERS[name](tmp_path / "in")
    other = "coco" if name != "coco" else "voc"
    with pytest.raises(DataError, match=f"holds no labels of the format {other}") as error:
        read_labels(folder, ReadOptions(), other)
    assert "\n" not in str(error.value)


def test_several_formats_in_one_folder_must_be_chosen_from(tmp_path: Path):
    for name in ("coco", "labelme"):
        WRITERS[name](tmp_path / "in")
    with pytest.raises(DataError, match=r"several formats, coco .* and labelme .*--format"):
        read_labels(tmp_path / "in", ReadOptions())
    assert len(list(read_labels(tmp_path / "in", ReadOptions(), "labelme").images)) == 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: None, "there is no file or folder"),
        (lambda folder: folder.mkdir(), "is empty"),
        (lambda folder: (folder.mkdir(), (folder / "notes.txt").write_text("hello")), "no labels were recognised"),
    ],
)
def test_a_folder_without_labels_is_one_line(make, message: str, tmp_path: Path):
    make(tmp_path / "in")
    with pytest.raises(DataError, match=message) as error:
        read_labels(tmp_path / "in", ReadOptions())
    assert str(tmp_path / "in") in str(error.value) and "\n" not in str(error.value)


def test_symbolic_links_that_lead_back_end(tmp_path: Path):
    folder = WRITERS["labelme"](tmp_path / "in")
    (folder / "up").symlink_to(folder)
    (folder / "again").symlink_to(folder / "up")
    (folder / "broken").symlink_to(folder / "nowhere")
    labels = read_labels(folder, ReadOptions())
    assert sorted(image.name for image in labels.images) == sorted(NAMES)


# ---- four photographs, annotated with six tools --------------------------------------------


@pytest.fixture(scope="module")
def annotated() -> dict[str, dict[str, list[CheckedObject]]]:
    """Objects by format and image name, open lines widened so that they are objects, too."""
    if not EXAMPLES.is_dir():
        pytest.skip("needs the example files of ../shared/data/formats")
    sources = {
        "coco": EXAMPLES / "coco1.0",
        "labelme": EXAMPLES / "labelme",
        "via json": EXAMPLES / "via" / "via_region_data.json",
        "via csv": EXAMPLES / "via" / "via_region_data.csv",
        "cvat": EXAMPLES / "cvat1.1",
        "voc": EXAMPLES / "voc1.1",
        "yolo": EXAMPLES / "yolo",
    }
    found = {}
    for name, source in sources.items():
        labels = read_labels(source, ReadOptions(line_width=6))
        found[name] = {}
        for image in labels.images:
            checked, _ = check_image(image, ClassMap({"circle": "ellipse"}))  # CVAT has no circles
            found[name][image.name] = list(checked.objects)
        assert not [issue for issue in labels.issues if issue.reason.fault], name
    return found


def overlap(a: CheckedObject, b: CheckedObject) -> float:
    """IoU of the masks where both have one, else of the boxes."""
    if a.segmentation and b.segmentation:
        size = [2000, 2000]
        rles = []
        for item in (a, b):
            if isinstance(item.segmentation, dict):
                full = np.zeros(size, np.uint8, order="F")
                mask = coco_mask.decode(item.segmentation)
                full[: mask.shape[0], : mask.shape[1]] = mask
                rles.append(coco_mask.encode(full))
            else:
                rles.append(coco_mask.merge(coco_mask.frPyObjects(item.segmentation, *size)))
        return coco_mask.iou([rles[0]], [rles[1]], [0]).item()
    boxes = [np.array([[x1, y1, x2 - x1, y2 - y1]]) for x1, y1, x2, y2 in (a.box, b.box)]
    return coco_mask.iou(*boxes, [0]).item()


def paired(first: list[CheckedObject], second: list[CheckedObject]) -> list[tuple[CheckedObject, CheckedObject]]:
    """Objects of one class paired by overlap, best first."""
    pairs = sorted(
        ((overlap(a, b), i, j) for i, a in enumerate(first) for j, b in enumerate(second) if a.label == b.label),
        reverse=True,
    )
    used: tuple[set[int], set[int]] = (set(), set())
    result = []
    for share, i, j in pairs:
        if share > 0.3 and i not in used[0] and j not in used[1]:
            used[0].add(i)
            used[1].add(j)
            result.append((first[i], second[j]))
    return result


# what a tool cannot hold or its export has lost: VOC has neither polygons nor lines, COCO no open lines
LOST = {
    "voc": {"birds.jpg": "all", "crack.jpeg": "all", "shapes.jpg": {"triangle", "line"}},
    "coco": {"crack.jpeg": "all", "shapes.jpg": {"line"}},
}


def test_four_photographs_have_the_same_objects_in_every_format(annotated):
    for (name_a, a), (name_b, b) in combinations(annotated.items(), 2):
        compared = 0
        for image in ("birds.jpg", "crack.jpeg", "shapes.jpg", "strawberry.jpg"):
            lost = [LOST.get(name, {}).get(image, set()) for name in (name_a, name_b)]
            if "all" in lost:
                continue
            first, second = ([o for o in side[image] if o.label not in set().union(*lost)] for side in (a, b))
            pairs = paired(first, second)
            assert len(pairs) == len(first) == len(second), f"{image}: {name_a} and {name_b} differ"
            # people drew these anew with each tool: a few pixels at strawberries of 30
            thin = [overlap(x, y) for x, y in pairs if x.label in ("line", "crack")]
            assert np.median([overlap(x, y) for x, y in pairs if x.label not in ("line", "crack")] or [1]) > 0.7
            assert all(share > 0.3 for share in thin)
            compared += len(pairs)
        assert compared >= 18


def test_exports_of_the_same_drawing_agree_exactly(annotated):
    """CVAT's XML, COCO and VOC files are three exports of one task."""
    for other in ("coco", "voc"):
        for image in ("shapes.jpg", "strawberry.jpg", "birds.jpg"):
            if LOST[other].get(image) == "all":
                continue
            lost = LOST[other].get(image, set())
            first = [o for o in annotated["cvat"][image] if o.label not in lost]
            pairs = paired(first, annotated[other][image])
            assert len(pairs) == len(first)
            for a, b in pairs:
                # CVAT draws ellipses with OpenCV, whose outline of a pixel is half outside
                assert np.abs(np.subtract(a.box, b.box)).max() <= (1.5 if a.label == "ellipse" else 0.02), a.label
                assert overlap(a, b) > (0.98 if a.label == "ellipse" else 0.99)


def test_via_csv_is_its_json(annotated):
    def listed(name: str) -> list[str]:
        objects = {image: [(o.label, o.box, o.area) for o in found] for image, found in annotated[name].items()}
        return sorted(json.dumps(item) for item in objects.items())

    assert listed("via csv") == listed("via json")


def test_nuclei_are_all_read():
    folder = EXAMPLES / "nuclei"
    if not folder.is_dir():
        pytest.skip("needs the nuclei of ../shared/data/formats")
    labels = read_labels(folder, ReadOptions(class_name="nucleus"))
    images = list(labels.images)
    assert labels.format == "object_png" and len(images) == 30 and not labels.issues
    for image in images:
        assert len(image.objects) == len(list((image.path.parent.parent / "masks").iterdir()))
        assert {item.label for item in image.objects} == {"nucleus"}
