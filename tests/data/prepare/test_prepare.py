"""From labels to a data set that the training reader takes, whatever the options."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO
from tests.data.formats import label_files as files
from tests.data.formats.label_files import NAMES, WRITERS

from maskrcnn.commands.prepare import main
from maskrcnn.data.prepare import prepare as module
from maskrcnn.data.prepare.classes import ClassMap
from maskrcnn.data.prepare.prepare import PrepareOptions, prepare
from maskrcnn.data.prepare.writer import TileOptions
from maskrcnn.data.sources.coco import CocoSource
from maskrcnn.data.sources.report import Reason
from maskrcnn.errors import DataError


def content(out: Path, split: str = "train") -> dict:
    return json.loads((out / "annotations" / f"instances_{split}2017.json").read_text())


def many(folder: Path, count: int = 10) -> Path:
    """LabelMe files of ``count`` images, in folders of two."""
    for i in range(count):
        name = f"{i}.png"
        files.photograph(folder / f"day{i // 2}" / name, seed=i)
        files.write_json(folder / f"day{i // 2}" / f"{i}.json", files.labelme_content(name))
    return folder


def test_training_reads_it_without_a_fault(tmp_path: Path):
    prepare([many(tmp_path / "in")], tmp_path / "out", PrepareOptions())
    total = 0
    for split in ("train2017", "val2017"):
        source = CocoSource(tmp_path / "out" / "annotations" / f"instances_{split}.json", tmp_path / "out" / split)
        assert source.classes.names == ("cat", "dog") and not source.issues
        for index in range(len(source)):
            sample, issues = source.load(index)
            assert [issue.reason for issue in issues] == [Reason.BOX_ONLY]
            assert [rle is not None for rle in sample.rles] == [True, False]
            total += 1
    assert total == 10


def test_ids_are_unique_over_both_splits(tmp_path: Path):
    prepare([many(tmp_path / "in")], tmp_path / "out", PrepareOptions())
    splits = [content(tmp_path / "out", split) for split in ("train", "val")]
    assert [len(split["images"]) for split in splits] == [8, 2]
    for kind, count in (("images", 10), ("annotations", 20)):
        assert len({item["id"] for split in splits for item in split[kind]}) == count


def test_same_seed_same_bytes(tmp_path: Path):
    folder = many(tmp_path / "in")
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        prepare([folder], tmp_path / name, PrepareOptions(seed=seed, workers=1 if name == "a" else 3))
    texts = [(tmp_path / n / "annotations" / "instances_val2017.json").read_text() for n in "abc"]
    assert texts[0] == texts[1] != texts[2]


@pytest.mark.parametrize(
    ("link", "check"),
    [
        ("link", lambda a, b: a.samefile(b) and not b.is_symlink()),
        ("symlink", lambda a, b: b.is_symlink() and a.samefile(b)),
        ("copy", lambda a, b: not a.samefile(b) and a.read_bytes() == b.read_bytes()),
    ],
)
def test_images_are_linked_or_copied(link: str, check, tmp_path: Path):
    folder = WRITERS["labelme"](tmp_path / "in")
    prepare([folder], tmp_path / "out", PrepareOptions(val=0, link=link))
    for name in NAMES:
        assert check(folder / name, tmp_path / "out" / "train2017" / name)


def test_another_file_system_is_linked_symbolically(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr("os.link", refuse)
    prepared = prepare([WRITERS["labelme"](tmp_path / "in")], tmp_path / "out", PrepareOptions(val=0))
    assert prepared.placed == {"linked symbolically": 2}
    assert (tmp_path / "out" / "train2017" / "a.png").is_symlink()


def test_own_splits_are_kept_unless_a_share_is_given(tmp_path: Path):
    for folder in ("train", "valid", "test"):
        for number in range(2):
            files.photograph(tmp_path / "in" / folder / f"{folder}{number}.png", number)
        names = (f"{folder}0.png", f"{folder}1.png")
        files.write_json(tmp_path / "in" / folder / "_annotations.coco.json", files.coco_content(names))
    prepared = prepare([tmp_path / "in"], tmp_path / "out", PrepareOptions())
    assert prepared.split_rule == "as the source says"
    for split, folder in (("train", "train"), ("val", "valid"), ("test", "test")):
        assert sorted(i["file_name"] for i in content(tmp_path / "out", split)["images"]) == [
            f"{folder}0.png",
            f"{folder}1.png",
        ]
    prepared = prepare([tmp_path / "in"], tmp_path / "again", PrepareOptions(val=0.25))
    counts = {split: len(file.images) for split, file in prepared.splits.items()}
    assert counts == {"train": 3, "val": 1, "test": 2}


def test_groups_stay_together(tmp_path: Path):
    prepare([many(tmp_path / "in")], tmp_path / "out", PrepareOptions(val=0.4, group_by="folder"))
    val = {int(Path(image["file_name"]).stem) // 2 for image in content(tmp_path / "out", "val")["images"]}
    train = {int(Path(image["file_name"]).stem) // 2 for image in content(tmp_path / "out")["images"]}
    assert len(val) == 2 and not val & train


def test_classes_are_merged_and_left_out(tmp_path: Path):
    folder = many(tmp_path / "in")
    prepare([folder], tmp_path / "pets", PrepareOptions(val=0, classes=ClassMap.from_options("", ["cat,dog=pet"], [])))
    assert [c["name"] for c in content(tmp_path / "pets")["categories"]] == ["pet"]
    assert len(content(tmp_path / "pets")["annotations"]) == 20
    prepared = prepare([folder], tmp_path / "dogs", PrepareOptions(val=0, classes=ClassMap({}, ("dog",))))
    assert len(content(tmp_path / "dogs")["annotations"]) == 10
    assert prepared.skipped[Reason.OTHER_CLASS] == 10


def test_images_without_a_kept_class_are_left_out_or_kept(tmp_path: Path):
    folder = many(tmp_path / "in", 3)
    labels = files.labelme_content("2.png")
    labels["shapes"] = labels["shapes"][:1]  # a cat only
    files.write_json(folder / "day1" / "2.json", labels)
    dogs = ClassMap({}, ("dog",))
    prepare([folder], tmp_path / "a", PrepareOptions(val=0, classes=dogs))
    assert len(content(tmp_path / "a")["images"]) == 2
    prepare([folder], tmp_path / "b", PrepareOptions(val=0, classes=dogs, keep_empty=True))
    assert len(content(tmp_path / "b")["images"]) == 3


def test_unlabelled_images_are_left_out_or_taken_as_empty(tmp_path: Path):
    folder = WRITERS["labelme"](tmp_path / "in")
    files.photograph(folder / "c.png")
    prepared = prepare([folder], tmp_path / "a", PrepareOptions(val=0))
    assert prepared.skipped[Reason.NO_LABELS] == 1 and len(content(tmp_path / "a")["images"]) == 2
    prepare([folder], tmp_path / "b", PrepareOptions(val=0, keep_unlabelled=True))
    assert len(content(tmp_path / "b")["images"]) == 3


def test_several_sources_of_different_formats_with_equal_names(tmp_path: Path):
    sources = [write(tmp_path / name) for name, write in WRITERS.items()]
    prepared = prepare(sources, tmp_path / "out", PrepareOptions(val=0))
    assert [source.format for source in prepared.sources] == list(WRITERS)
    images = content(tmp_path / "out")["images"]
    assert len({image["file_name"] for image in images}) == len(images) == 2 * len(WRITERS)
    assert all((tmp_path / "out" / "train2017" / image["file_name"]).is_file() for image in images)


def test_an_image_is_taken_once(tmp_path: Path):
    folder = WRITERS["labelme"](tmp_path / "in")
    prepared = prepare([folder, folder], tmp_path / "out", PrepareOptions(val=0))
    assert prepared.skipped[Reason.DUPLICATE_IMAGE] == 2
    assert len(content(tmp_path / "out")["images"]) == 2


def test_the_same_object_twice_is_one(tmp_path: Path):
    folder = WRITERS["labelme"](tmp_path / "in")
    labels = files.labelme_content("a.png")
    labels["shapes"] *= 2
    files.write_json(folder / "a.json", labels)
    prepared = prepare([folder], tmp_path / "out", PrepareOptions(val=0))
    assert prepared.skipped[Reason.DUPLICATE_OBJECT] == 2
    assert len(content(tmp_path / "out")["annotations"]) == 4


def test_large_images_are_cut_and_small_ones_are_not(tmp_path: Path):
    big = files.photograph(tmp_path / "in" / "big.png", 5, 300, 400)
    small = files.photograph(tmp_path / "in" / "small.jpg", 6, 90, 100)
    for name, size in (("big.png", (300, 400)), ("small.jpg", (90, 100))):
        labels = files.labelme_content(name)
        labels.update(imageHeight=size[0], imageWidth=size[1])
        labels["shapes"][0]["points"] = [[10, 10], [90, 10], [90, 80], [10, 80]]
        files.write_json(tmp_path / "in" / f"{Path(name).stem}.json", labels)
    options = PrepareOptions(val=0, tiles=TileOptions(128, 0.25, 0.25))
    prepare([tmp_path / "in"], tmp_path / "out", options)
    coco = COCO(tmp_path / "out" / "annotations" / "instances_train2017.json")
    tiles = [image for image in coco.imgs.values() if "tile_of" in image]
    assert len(tiles) == 3 * 4 and len(coco.imgs) == 13
    whole = cv2.imread(str(big))
    for image in tiles:
        pixels = cv2.imread(str(tmp_path / "out" / "train2017" / image["file_name"]))
        left, top = image["tile_left"], image["tile_top"]
        assert np.array_equal(pixels, whole[top : top + 128, left : left + 128])
        assert pixels.shape[:2] == (image["height"], image["width"])
    assert (tmp_path / "out" / "train2017" / "small.jpg").samefile(small)


def test_nothing_is_left_behind_by_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.ImageWriter, "write", fail)
    with pytest.raises(OSError):
        prepare([many(tmp_path / "in")], tmp_path / "out", PrepareOptions())
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["in", "in/out"], "lies within the source"),
        (["in", "full"], "is not empty"),
        (["out"], "SOURCE... OUT"),
        (["nowhere", "out"], "there is no file or folder nowhere"),
        (["in", "out", "--val", "1"], "--val is 1.0"),
        (["in", "out", "--overlap", "1"], "--overlap is 1.0"),
        (["in", "out", "--tile", "10"], "--tile is 10"),
        (["in", "out", "--images", "nowhere"], "--images nowhere is not a folder"),
        (["in", "out", "--classes", "bird"], "no label is of class 'bird'"),
        (["in", "out", "--group_by", "prefix"], "all images belong to one group"),
    ],
)
def test_mistakes_are_one_line(arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "a2.png"):
        files.photograph(tmp_path / "in" / name)
        files.write_json(tmp_path / "in" / Path(name).with_suffix(".json"), files.labelme_content(name))
    files.photograph(tmp_path / "full" / "a.png")
    with pytest.raises(DataError) as error:
        main(arguments)
    assert message in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_command_prints_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = many(tmp_path / "in")
    main([str(folder), str(tmp_path / "out"), "--val", "0.3"])
    text = capsys.readouterr().out
    assert f"{folder}  labelme      10  10       20          10          10" in text
    assert "images       7    3" in text
    assert "cat          7    3" in text
    assert "note: 10 objects: there is no segmentation" in text
    assert f"maskrcnn check {tmp_path / 'out'}" in text
