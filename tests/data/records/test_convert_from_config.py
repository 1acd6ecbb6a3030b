"""The record that a run's settings ask for: made once, found again, refused when it does not fit them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.data.exif import with_orientation

from maskrcnn.config import Config
from maskrcnn.data.batches.loader import TrainLoader
from maskrcnn.data.records.conversion import convert_from_config
from maskrcnn.data.records.reader import RecordReader
from maskrcnn.errors import DataError


@pytest.fixture
def coco(tmp_path) -> Path:
    """A COCO folder of six good images, one without objects and one that is cut off."""
    (tmp_path / "coco" / "train2017").mkdir(parents=True)
    (tmp_path / "coco" / "annotations").mkdir()
    content = {
        "images": [],
        "annotations": [],
        "categories": [{"id": 3, "name": "cat"}, {"id": 5, "name": "dog"}],
    }
    for i in range(1, 9):
        picture = np.random.default_rng(i).integers(0, 256, (60, 80, 3), np.uint8)
        cv2.imwrite(str(tmp_path / "coco" / "train2017" / f"{i}.jpg"), picture)
        content["images"].append({"id": i, "file_name": f"{i}.jpg", "height": 60, "width": 80})
        if i > 1:
            content["annotations"].append(
                {
                    "id": i,
                    "image_id": i,
                    "category_id": 3,
                    "bbox": [5, 5, 30, 40],
                    "segmentation": [[5, 5, 35, 5, 5, 45]],
                }
            )
    broken = tmp_path / "coco" / "train2017" / "8.jpg"
    broken.write_bytes(broken.read_bytes()[:-200])
    (tmp_path / "coco" / "annotations" / "instances_train2017.json").write_text(json.dumps(content))
    return tmp_path / "coco"


def config(coco: Path, **changes) -> Config:
    return Config.from_dict(
        {
            "coco_root": str(coco),
            "mindrecord_dir": str(coco.parent / "records"),
            "coco_classes": [],
            **changes,
        }
    )


def test_from_config_converts_once(coco, capsys):
    path = convert_from_config(config(coco))
    assert path == coco.parent / "records" / "maskrcnn_train2017.mindrecord"
    printed = capsys.readouterr().out
    assert "6 of 8 images with 6 objects" in printed
    assert "skipped: 1 image: the image file cannot be decoded" in printed
    assert "note: 1 image: the image has nothing to learn" in printed
    first = path.stat().st_mtime_ns
    assert convert_from_config(config(coco)) == path
    assert path.stat().st_mtime_ns == first
    shutil.rmtree(coco)
    assert convert_from_config(config(coco)) == path


def test_from_config_names_what_differs(coco):
    path = convert_from_config(config(coco))
    assert convert_from_config(config(coco, coco_classes=["background", "cat", "dog"])) == path
    with pytest.raises(DataError, match="2 classes instead of 1"):
        convert_from_config(config(coco, coco_classes=["background", "cat"]))
    with pytest.raises(DataError, match=r"annotation_file is .*instances_train2017.json.* instead of 'other_"):
        convert_from_config(config(coco, instance_set="annotations/other_{}.json"))
    with pytest.raises(DataError, match="made with 1 faulty inputs skipped, but strict is on"):
        convert_from_config(config(coco, strict=True))
    file = coco / "annotations" / "instances_train2017.json"
    file.write_text(file.read_text() + "\n")
    with pytest.raises(DataError, match=r"instances_train2017\.json has changed since the record"):
        convert_from_config(config(coco))
    path.with_suffix(".json").unlink()
    assert convert_from_config(config(coco)) == path


@pytest.mark.parametrize("earlier", [False, True])
def test_from_config_with_all_classes_takes_no_record_of_some(coco, earlier):
    """An empty list of classes stands for the annotation file's, whatever the record has."""
    path = convert_from_config(config(coco, coco_classes=["background", "cat"]))
    description = path.with_suffix(".json")
    if earlier:  # versions before did not note the file's categories
        content = json.loads(description.read_text())
        assert content["source"].pop("categories") == ["cat", "dog"]
        description.write_text(json.dumps(content))
    with pytest.raises(DataError, match="1 classes instead of 2; delete it to convert again"):
        convert_from_config(config(coco))
    shutil.rmtree(coco)
    if earlier:  # nothing is left that tells
        assert convert_from_config(config(coco)) == path
    else:
        with pytest.raises(DataError, match="1 classes instead of 2"):
            convert_from_config(config(coco))


def test_from_config_takes_a_record_whose_list_names_all_classes(coco):
    path = convert_from_config(config(coco, coco_classes=["background", "cat", "dog"]))
    assert convert_from_config(config(coco)) == path
    path.with_suffix(".json").unlink()
    convert_from_config(config(coco, coco_classes=["background", "dog", "cat"]))
    with pytest.raises(DataError, match="class 1 is 'dog' instead of 'cat'"):
        convert_from_config(config(coco))


def test_from_config_takes_no_record_of_other_images(coco, capsys):
    """An image that was missing is there now; a copy of the folder has the same images."""
    missing = coco / "train2017" / "5.jpg"
    data = missing.read_bytes()
    missing.unlink()
    path = convert_from_config(config(coco))
    assert len(RecordReader(path)) == 5
    assert convert_from_config(config(coco)) == path
    missing.write_bytes(data)
    with pytest.raises(
        DataError, match=r"train2017 has changed since the record .* was made, it has 1 .* more .*5\.jpg: delete it"
    ):
        convert_from_config(config(coco))
    missing.unlink()
    capsys.readouterr()
    shutil.copytree(coco / "train2017", coco / "copy", copy_function=shutil.copyfile)
    shutil.rmtree(coco / "train2017")
    (coco / "copy").rename(coco / "train2017")
    assert convert_from_config(config(coco)) == path
    assert "was copied or touched since the record" in capsys.readouterr().out
    description = path.with_suffix(".json")
    content = json.loads(description.read_text())
    del content["source"]["image_folder"]  # as in records of earlier versions
    description.write_text(json.dumps(content))
    missing.write_bytes(data)
    assert convert_from_config(config(coco)) == path


def test_from_config_strict_stops_at_the_first_fault(coco):
    with pytest.raises(DataError, match=r"8\.jpg: .*cannot be decoded \(strict is on"):
        convert_from_config(config(coco, strict=True))
    assert not (coco.parent / "records").exists() or not list((coco.parent / "records").iterdir())


def test_from_config_reads_the_txt_format(coco):
    file = coco / "train.txt"
    file.write_text("train2017/2.jpg 1,2,30,40,2\ntrain2017/3.jpg 1,2,30,40,1 5,5,50,50,2\n")
    changes = {"dataset": "other", "anno_path": str(file), "image_dir": str(coco), "mindrecord_dir": ""}
    path = convert_from_config(config(coco, **changes, coco_classes=["background", "cat", "dog"]))
    assert path == coco / "mindrecord" / "maskrcnn_train.mindrecord"
    assert [s.labels.tolist() for s in RecordReader(path).iter_rows([1, 0])] == [[1, 2], [2]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"coco_root": ""}, "the COCO folder is not set; give it with coco_root"),
        ({"coco_root": "/nowhere"}, "the COCO folder /nowhere is not a folder"),
        (
            {"train_data_type": "train"},
            r"instances_train\.json does not exist; correct coco_root and instance_set",
        ),
        ({"coco_classes": ["background", "bird"]}, "class 'bird' is not a category of"),
        ({"dataset": "other"}, "the TXT annotation file is not set; give it with anno_path"),
        ({"dataset": "other", "anno_path": "/no.txt"}, r"the TXT annotation file /no\.txt does not exist"),
    ],
)
def test_from_config_names_what_is_missing(coco, changes, message):
    with pytest.raises(DataError, match=message):
        convert_from_config(config(coco, **changes))


def test_images_without_objects_and_rotated_ones_are_trained_on_as_wanted(coco, capsys):
    """From the files to the batch: an image without objects, and one that EXIF rotates by 180 degrees."""
    stored = np.zeros((60, 80, 3), np.uint8)
    stored[5:45, 5:35] = 255
    (coco / "train2017" / "2.jpg").write_bytes(with_orientation(stored, 3))
    applied = config(coco, keep_empty=True, img_width=128, img_height=64, flip_ratio=0.0)
    path = convert_from_config(applied)
    printed = capsys.readouterr().out
    assert "7 of 8 images with 6 objects" in printed
    assert "note: 1 image: it has no object; it is trained on as background" in printed
    assert "note: 1 image: it is rotated or mirrored as its EXIF orientation says (e.g. image 2 (2.jpg))" in printed
    seen = {}
    for batch in TrainLoader.from_config(applied, path).epoch(0):
        seen.update({int(n): (image, labels) for n, image, labels in zip(batch.image_id, batch.image, batch.gt_labels)})
    image, labels = seen[2]
    assert image[20:58, 50:78].min() > 200 and image[:12].max() < 60, "the patch lies where viewers show it"
    assert (labels > 0).sum() == 1 and not (seen[1][1] != 0).any()
    for changes, message in (
        ({}, "keep_empty is True instead of False"),
        ({"keep_empty": True, "exif": "ignore"}, "exif is 'apply' instead of 'ignore'"),
    ):
        with pytest.raises(DataError, match=message):
            convert_from_config(config(coco, **changes))


def test_images_with_more_objects_than_slots_are_named_at_conversion(coco, capsys):
    file = coco / "annotations" / "instances_train2017.json"
    content = json.loads(file.read_text())
    first = content["annotations"][0]
    content["annotations"] += [{**first, "id": 100 + i} for i in range(3)]
    file.write_text(json.dumps(content))
    convert_from_config(config(coco, max_instance_count=3))
    printed = capsys.readouterr().out
    assert "note: 1 image: it has more objects than max_instance_count" in printed
    assert "(e.g. image 2 (2.jpg), 4 objects)" in printed
