"""Inspections: each planted mistake is found and named, and nothing else is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable

import cv2
import numpy as np
import pytest
from tests.data.inspection.test_fingerprint import photograph

from maskrcnn.commands.check import main
from maskrcnn.config import Config
from maskrcnn.data.inspection.findings import Kind
from maskrcnn.data.inspection.inspection import inspect_data
from maskrcnn.data.inspection.report import report_lines
from maskrcnn.errors import MaskRCNNError

CLASSES = ("cat", "dog")


def annotation(number: int, image: int, label: int = 1, box=(40, 30, 100, 90), **changes: Any) -> dict[str, Any]:
    x1, y1, x2, y2 = box
    polygon = [x1, y1, x2, y1, x2, y2, x1, y2]
    return {
        "id": number,
        "image_id": image,
        "category_id": label,
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "segmentation": [polygon],
        "iscrowd": 0,
        **changes,
    }


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Twelve images for training and three for validation, each with a cat and a dog: nothing to find."""
    for split, first, count in (("train2017", 1, 12), ("val2017", 101, 3)):
        (tmp_path / split).mkdir()
        images, annotations = [], []
        for number in range(first, first + count):
            pixels = np.repeat(photograph(number)[..., None], 3, axis=2)
            cv2.imwrite(str(tmp_path / split / f"{number}.jpg"), pixels)
            images.append({"id": number, "file_name": f"{number}.jpg", "height": 240, "width": 320})
            annotations += [
                annotation(10 * number, number),
                annotation(10 * number + 1, number, 2, (150, 60, 290, 200)),
            ]
        content = {
            "images": images,
            "annotations": annotations,
            "categories": [{"id": i, "name": name} for i, name in enumerate(CLASSES, 1)],
        }
        (tmp_path / "annotations").mkdir(exist_ok=True)
        (tmp_path / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    return tmp_path


def change(root: Path, split: str, edit: Callable[[dict[str, Any]], Any]) -> None:
    path = root / "annotations" / f"instances_{split}.json"
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def kinds(root: Path, **settings: Any) -> dict[Kind, list[str]]:
    cfg = Config(coco_root=str(root), **{"img_width": 320, "img_height": 256, **settings})
    return {finding.kind: list(finding.places) for finding in inspect_data(cfg).findings}


def test_a_good_data_set_has_no_findings(root: Path):
    assert kinds(root) == {}


def add(**changes: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda content: content["annotations"].append(annotation(**{"number": 7, "image": 3, **changes}))


def move_val_image(root: Path) -> None:
    (root / "val2017" / "102.jpg").write_bytes((root / "train2017" / "5.jpg").read_bytes())


def repeat_train_image(root: Path) -> None:
    pixels = cv2.imread(str(root / "train2017" / "4.jpg"))
    cv2.imwrite(str(root / "train2017" / "9.jpg"), pixels, [cv2.IMWRITE_JPEG_QUALITY, 60])


PLANTED = [
    (Kind.MISFIT, add(box=(10, 10, 30, 30), segmentation=[[10, 10, 20, 10, 20, 20, 10, 20]]), "annotation 7"),
    (Kind.SAME_PLACE, add(box=(41, 30, 100, 90)), "annotation 30 and annotation 7"),
    (Kind.TWO_CLASSES, add(label=2, box=(41, 30, 100, 90)), "annotation 30 and annotation 7"),
    (Kind.TINY, add(box=(5, 5, 6.5, 60), segmentation=None), "annotation 7"),
    (Kind.WHOLE_IMAGE, add(box=(0, 0, 320, 240), label=2), "annotation 7"),
    (Kind.FAULT, add(box=(400, 10, 420, 30)), "annotation 7"),
    (Kind.FAULT, lambda content: content["images"][0].update(width=100), "1.jpg"),
    (Kind.EMPTY, lambda content: [content["annotations"].pop(0) for _ in range(2)], "train image 1 (1.jpg)"),
    (Kind.TOO_SMALL, add(box=(5, 5, 12, 60), segmentation=None), "train image 3 (3.jpg)"),
]


@pytest.mark.parametrize(("kind", "edit", "word"), PLANTED, ids=[f"{k.name} {w}" for k, _, w in PLANTED])
def test_a_planted_mistake_is_named(kind: Kind, edit, word: str, root: Path):
    change(root, "train2017", edit)
    found = kinds(root)
    assert len(found[kind]) == 1 and word in found[kind][0]
    assert any(image in found[kind][0] for image in ("image 1 ", "image 3 ", "image 3,", "image 1:"))
    others = found.keys() - {kind, Kind.TOO_SMALL if kind is Kind.TINY else kind}
    assert not others


def test_images_on_both_sides_and_twice_in_training_are_found(root: Path):
    move_val_image(root)
    assert kinds(root) == {Kind.LEAK: ["val image 102 (102.jpg) and train image 5 (5.jpg)"]}
    repeat_train_image(root)
    assert kinds(root)[Kind.REPEATED] == ["train image 4 (4.jpg) and train image 9 (9.jpg)"]


def test_classes_of_one_side_and_of_few_objects(root: Path):
    change(root, "val2017", lambda c: c["categories"].append({"id": 3, "name": "bird"}))
    change(root, "val2017", lambda c: c["annotations"].append(annotation(5, 101, 3, (200, 210, 230, 230))))
    change(root, "val2017", lambda c: [a.update(category_id=1) for a in c["annotations"] if a["category_id"] == 2])
    change(root, "train2017", lambda c: [a.update(category_id=1) for a in c["annotations"][7:] if a["id"] % 10])
    assert kinds(root) == {Kind.UNTRAINED: ["bird"], Kind.UNVALIDATED: ["dog"], Kind.FEW: ["dog: 3"]}


def test_more_objects_than_slots(root: Path):
    def crowd(content: dict[str, Any]) -> None:
        for number in range(20):
            x, y = 12.0 * number, 210.0
            content["annotations"].append(annotation(500 + number, 2, 1, (x, y, x + 10, y + 20)))

    change(root, "train2017", crowd)
    assert kinds(root, max_instance_count=16) == {Kind.CROWDED: ["train image 2 (2.jpg)"]}
    assert inspect_data(Config(coco_root=str(root))).slots == 32


def test_objects_with_holes_in_equal_boxes_are_two(root: Path):
    """A ring and the disc within: equal boxes, other pixels."""

    def rle(mask: np.ndarray) -> dict[str, Any]:
        from maskrcnn.data.formats.geometry import bitmap_to_rle

        return bitmap_to_rle(mask)

    y, x = np.mgrid[:240, :320]
    distance = np.maximum(np.abs(x - 60), np.abs(y - 170))
    outer, frame = distance <= 25, (distance <= 25) & (distance > 20)
    change(root, "train2017", add(number=7, box=(35, 145, 86, 196), segmentation=rle(outer)))
    change(root, "train2017", add(number=8, box=(35, 145, 86, 196), segmentation=rle(frame)))
    assert kinds(root) == {}


def test_few_bad_boxes_of_many_need_not_be_mended(root: Path):
    bad = add(box=(10, 10, 30, 30), segmentation=[[10, 10, 20, 10, 20, 20, 10, 20]])
    change(root, "train2017", bad)
    assert inspect_data(Config(coco_root=str(root))).must_mend

    def many(content: dict[str, Any]) -> None:
        for number in range(200):
            x, y = 14.0 * (number % 20), 205.0 + number // 20 * 3
            content["annotations"].append(annotation(500 + number, 2, 1, (x, y, x + 12, y + 2)))

    change(root, "train2017", many)
    found = inspect_data(Config(coco_root=str(root)))
    assert any(finding.kind is Kind.MISFIT for finding in found.findings) and not found.must_mend


def test_no_validation_is_no_fault(root: Path):
    (root / "annotations" / "instances_val2017.json").unlink()
    assert kinds(root) == {}


def test_command_prints_writes_pictures_and_says_what_must_be_mended(root: Path, capsys: pytest.CaptureFixture[str]):
    assert main([str(root), "--img_width", "320", "--img_height", "256"]) == 0
    text = capsys.readouterr().out
    assert "train      12      0       24          24           0      0                 2     2" in text
    assert "Nothing to mend" in text and "Suggested: --img_width 320 --img_height 256 --max_instance_count 16" in text
    for name in ("train.jpg", "val.jpg"):
        assert cv2.imread(str(root / "check" / name)).size
    assert not (root / "check" / "suspicious.jpg").exists()
    change(root, "train2017", add(box=(41, 30, 100, 90)))
    assert main([str(root)]) == 1
    assert "MEND: objects of one class at one place, overlapping by 0.9 or more: 1 (train image 3" in (
        capsys.readouterr().out
    )
    assert (root / "check" / "suspicious.jpg").exists()
    report = json.loads((root / "check" / "report.json").read_text())
    assert report["findings"][0]["kind"] == "SAME_PLACE" and report["classes"]["cat"] == {"train": 13, "val": 3}


@pytest.mark.parametrize("arguments", [[], ["nowhere"], ["a", "b"], [".", "--img_width", "7"]])
def test_mistakes_are_one_line(arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MaskRCNNError) as error:
        main(arguments)
    assert "\n" not in str(error.value)


def test_real_photographs(coco_tiny: Path):
    found = inspect_data(Config(coco_root=str(coco_tiny)))
    assert not found.must_mend
    assert [len(split.images) for split in found.splits] == [80, 80]
    text = "\n".join(report_lines(found))
    assert "person" in text and "P2: " in text
