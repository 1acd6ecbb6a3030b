"""The synthetic data set: valid COCO, exact masks, reproducible, and never half written."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from maskrcnn.data.shapes import dataset as shapes
from maskrcnn.data.shapes.dataset import CATEGORY_IDS, annotate, make_shapes
from maskrcnn.data.shapes.drawing import MIN_AREA, MIN_VISIBLE, Instance, draw_scene, shape_rings
from maskrcnn.errors import DataError

NAMES = tuple(CATEGORY_IDS)


def scene(index: int, size: tuple[int, int] = (256, 320)):
    return draw_scene(np.random.default_rng([5, index]), size, NAMES)


def decoded(annotation: dict, height: int, width: int) -> np.ndarray:
    """The mask of an annotation as pycocotools reads it."""
    segmentation = annotation["segmentation"]
    if isinstance(segmentation, list):
        return coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))) > 0
    if isinstance(segmentation["counts"], list):
        segmentation = coco_mask.frPyObjects(segmentation, height, width)
    return coco_mask.decode(segmentation) > 0


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_shapes(tmp_path_factory.mktemp("shapes") / "set", train=60, val=12, seed=3)


@pytest.mark.parametrize("split", ["train2017", "val2017"])
def test_is_a_coco_data_set(drawn: Path, split: str, capsys: pytest.CaptureFixture[str]):
    coco = COCO(drawn / "annotations" / f"instances_{split}.json")
    assert {item["name"]: item["id"] for item in coco.dataset["categories"]} == CATEGORY_IDS
    assert sorted(path.name for path in (drawn / split).iterdir()) == [
        item["file_name"] for item in coco.dataset["images"]
    ]
    for item in coco.dataset["images"]:
        assert cv2.imread(str(drawn / split / item["file_name"])).shape == (item["height"], item["width"], 3)
    for item in coco.dataset["annotations"]:
        mask = coco.annToMask(item)
        assert item["area"] == pytest.approx(mask.sum(), rel=0.05)
        x, y, width, height = cv2.boundingRect(mask)
        assert np.allclose(item["bbox"], [x, y, width, height], atol=1.1)


def test_has_what_makes_detection_hard(drawn: Path):
    content = json.loads((drawn / "annotations" / "instances_train2017.json").read_text())
    annotations = content["annotations"]
    assert {item["category_id"] for item in annotations} == set(CATEGORY_IDS.values())
    assert any(item["height"] > item["width"] for item in content["images"])
    assert any(item["iscrowd"] for item in annotations)
    shares = [isinstance(item["segmentation"], list) for item in annotations]
    assert 0.5 < np.mean(shares) < 0.95
    assert 0.1 < np.mean([item["area"] < 32**2 for item in annotations]) < 0.6
    per_image = np.bincount([item["image_id"] for item in annotations])
    assert 3 < per_image[per_image > 0].mean() < 7


def test_splits_share_no_ids_and_no_pictures(drawn: Path):
    train, val = (
        json.loads((drawn / "annotations" / f"instances_{split}2017.json").read_text()) for split in shapes.SPLITS
    )
    for kind in ("images", "annotations"):
        assert not {item["id"] for item in train[kind]} & {item["id"] for item in val[kind]}
    one = (drawn / "train2017" / train["images"][0]["file_name"]).read_bytes()
    assert one != (drawn / "val2017" / val["images"][0]["file_name"]).read_bytes()


def test_same_seed_same_files_and_larger_sets_begin_alike(tmp_path: Path, drawn: Path):
    again = make_shapes(tmp_path / "again", train=4, val=1, seed=3)
    other = make_shapes(tmp_path / "other", train=4, val=1, seed=4)
    for path in sorted((again / "train2017").iterdir()):
        assert path.read_bytes() == (drawn / "train2017" / path.name).read_bytes()
        assert path.read_bytes() != (other / "train2017" / path.name).read_bytes()
    first, second = (
        json.loads((root / "annotations" / "instances_train2017.json").read_text())["annotations"]
        for root in (again, drawn)
    )
    assert first == second[: len(first)]


def test_instances_are_disjoint_and_well_visible():
    for index in range(30):
        picture, instances = scene(index)
        assert picture.dtype == np.uint8
        assert sum((item.visible.astype(int) for item in instances), np.zeros(picture.shape[:2], int)).max() <= 1
        for item in instances:
            assert item.visible.sum() >= max(MIN_AREA, MIN_VISIBLE * item.drawn)


def test_annotations_give_the_masks_back():
    forms = set()
    for index in range(30):
        picture, instances = scene(index)
        for item in instances:
            annotation = annotate(item)
            mask = decoded(annotation, *picture.shape[:2])
            form = type(annotation["segmentation"]), item.crowd
            forms.add(form)
            if form == (list, False):
                assert (mask & item.visible).sum() / (mask | item.visible).sum() > 0.98
            else:
                assert np.array_equal(mask, item.visible)
    assert forms == {(list, False), (dict, False), (dict, True)}


def test_outlines_are_not_shrunk_by_half_a_pixel():
    mask = np.zeros((50, 60), bool)
    mask[10:30, 20:50] = True
    annotation = annotate(Instance("square", mask, 600))
    assert np.allclose(annotation["bbox"], [20, 10, 30, 20], atol=0.2)
    assert np.array_equal(decoded(annotation, 50, 60), mask)


@pytest.mark.parametrize("corner", [False, True])
def test_run_lengths_begin_with_zeros(corner: bool):
    mask = np.zeros((4, 3), bool)
    mask[1, 1] = True
    mask[0, 0] = corner
    annotation = annotate(Instance("ring", mask, 1, crowd=True))
    assert annotation["segmentation"]["counts"] == ([0, 1, 4, 1, 6] if corner else [5, 1, 6])


@pytest.mark.parametrize("name", NAMES)
def test_outlines_have_the_asked_size(name: str):
    rings = shape_rings(np.random.default_rng(0), name, 10.0)
    reach = np.linalg.norm(rings[0], axis=1).max()
    assert 9 <= reach <= 13
    assert len(rings) == (2 if name == "ring" else 1)


def test_nothing_is_drawn_twice_or_over_something_else(tmp_path: Path):
    root = make_shapes(tmp_path / "set", train=1, val=1)
    stamp = (root / "train2017").stat().st_mtime_ns
    assert make_shapes(root, train=1, val=1) == root
    assert (root / "train2017").stat().st_mtime_ns == stamp
    with pytest.raises(DataError, match="something else"):
        make_shapes(root, train=2, val=1)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("important")
    with pytest.raises(DataError, match="mine"):
        make_shapes(tmp_path / "mine", train=1, val=1)


def test_an_interruption_leaves_nothing_that_looks_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shapes, "draw_scene", interrupted)
        with pytest.raises(KeyboardInterrupt):
            make_shapes(tmp_path / "set", train=1, val=1)
    assert not (tmp_path / "set").exists()
    make_shapes(tmp_path / "set", train=1, val=1)
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


@pytest.mark.parametrize("numbers", [{"train": 0}, {"val": 0}, {"size": (64, 320)}, {"seed": -1}])
def test_impossible_numbers_are_refused(tmp_path: Path, numbers: dict):
    with pytest.raises(DataError, match="cannot draw"):
        make_shapes(tmp_path / "set", **numbers)


def test_command_line(tmp_path: Path):
    command = [
        sys.executable,
        "-m",
        "maskrcnn.data.shapes",
        str(tmp_path / "a b"),
        "--train",
        "2",
        "--val",
        "1",
    ]
    source = str(Path(shapes.__file__).parents[3])
    done = subprocess.run(command, env={"PYTHONPATH": source}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "2 training and 1 validation" in done.stdout
    failed = subprocess.run([*command, "--seed", "9"], env={"PYTHONPATH": source}, capture_output=True, text=True)
    assert failed.returncode == 2
    assert failed.stderr.startswith("error: ") and failed.stderr.count("\n") == 1
