"""Evaluation as a whole: perfect detections give perfect figures, and nothing is lost on the way."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from tests.evaluation.oracle import Oracle, draw_data_set, nothing

from maskrcnn.data.sources.classes import ClassList
from maskrcnn.errors import CheckpointError, DataError, EvaluationError
from maskrcnn.evaluation.evaluator import check_checkpoint_classes, evaluate
from maskrcnn.inference.pipeline import InferenceSettings

SMALL = {"img_height": 128, "img_width": 192}


def settings(**others) -> InferenceSettings:
    return InferenceSettings(**SMALL, **others)


@pytest.fixture
def shapes(tmp_path):
    ann_file = draw_data_set(tmp_path)
    return ann_file, tmp_path / "images", json.loads(ann_file.read_text())


def test_ground_truth_fed_back_on_photographs(coco_tiny) -> None:
    ann_file = coco_tiny / "annotations" / "instances_val2017.json"
    geometry = {"img_height": 192, "img_width": 320}
    oracle = Oracle(json.loads(ann_file.read_text()), coco_tiny / "val2017", **geometry)
    result = evaluate(oracle, ann_file, coco_tiny / "val2017", InferenceSettings(**geometry), progress=False)
    assert result.images == 80 and not result.skipped
    assert result.figure("bbox") >= 0.9995
    assert result.figure("segm") >= 0.985
    assert result.figure("segm", "AP50") >= 0.9995


@pytest.mark.parametrize("batch_size", [1, 2, 4])
def test_all_images_are_judged_whatever_the_batch(shapes, batch_size: int) -> None:
    ann_file, folder, content = shapes
    oracle = Oracle(content, folder, ["ring", "ellipse"], **SMALL)
    result = evaluate(oracle, ann_file, folder, settings(batch_size=batch_size), ["ring", "ellipse"], progress=False)
    assert result.images == len(content["images"]) == 7
    assert {shape[0] for shape in oracle.batches} == {batch_size}
    assert {shape[1:3] for shape in oracle.batches} == {(128, 192), (192, 128)}
    objects = sum(not a["iscrowd"] for a in content["annotations"])
    assert len(result.bbox) == len(result.segm) == objects  # repeated images count once
    assert result.figure("bbox") >= 0.9995 and result.figure("segm") >= 0.985
    order = [image["id"] for image in content["images"]]
    assert [r["image_id"] for r in result.bbox] == sorted([r["image_id"] for r in result.bbox], key=order.index)
    assert {r["category_id"] for r in result.bbox} == {3, 7}
    assert result.classes.names == ("ring", "ellipse")


def test_files_hold_what_was_judged(shapes, tmp_path) -> None:
    ann_file, folder, content = shapes
    out = tmp_path / "out"
    oracle = Oracle(content, folder, **SMALL)
    result = evaluate(oracle, ann_file, folder, settings(), output_dir=out, pictures=3, progress=False)
    assert json.loads((out / "bbox.json").read_text()) == result.bbox
    figures = json.loads((out / "metrics.json").read_text())
    assert figures["images"] == 7 and figures["skipped"] == []
    assert figures["speed"]["postprocess_seconds_per_image"] > 0
    assert [row["name"] for row in figures["per_class"]] == ["ring", "ellipse", "spare"]
    assert figures["per_class"][2] == {
        "name": "spare", "category_id": 40, "objects": 0,
        "bbox": {"AP": -1.0, "AP50": -1.0}, "segm": {"AP": -1.0, "AP50": -1.0},
    }  # fmt: skip
    # The files alone, read by pycocotools alone, give the same figures.
    for annotation in content["annotations"]:
        annotation["id"] += 1
    plain = tmp_path / "plain.json"
    plain.write_text(json.dumps(content))
    for kind in ("bbox", "segm"):
        truth = COCO(str(plain))
        reference = COCOeval(truth, truth.loadRes(str(out / f"{kind}.json")), kind)
        reference.evaluate()
        reference.accumulate()
        reference.summarize()
        assert list(figures[kind].values()) == reference.stats.tolist()
    pictures = sorted((out / "pictures").iterdir())
    assert len(pictures) == 3 and all(cv2.imread(str(p)) is not None for p in pictures)
    report = result.report()
    assert "Evaluate annotation type *bbox*" in report and "Evaluate annotation type *segm*" in report
    line = " Average Precision  (AP) @[ IoU=0.50:0.95 | area=   all | maxDets=100 ] = 1.000"
    assert line in report.splitlines()


def test_nothing_found_is_an_ordinary_result(shapes, tmp_path) -> None:
    ann_file, folder, _ = shapes
    result = evaluate(nothing, ann_file, folder, settings(), output_dir=tmp_path / "out", pictures=1, progress=False)
    assert result.figure("bbox") == result.figure("segm") == 0
    assert json.loads((tmp_path / "out" / "segm.json").read_text()) == []
    assert result.summary() == {"bbox_ap": 0, "bbox_ap50": 0, "segm_ap": 0, "segm_ap50": 0}


def test_images_that_cannot_be_read_are_reported_and_their_objects_missed(shapes) -> None:
    ann_file, folder, content = shapes
    oracle = Oracle(content, folder, **SMALL)
    (folder / "picture_1.png").unlink()
    (folder / "picture_2.png").write_bytes(b"no image")
    cv2.imwrite(str(folder / "picture_4.png"), np.zeros((50, 60, 3), np.uint8))
    result = evaluate(oracle, ann_file, folder, settings(), progress=False)
    assert result.images == 4
    assert [s.path.name for s in result.skipped] == ["picture_1.png", "picture_2.png", "picture_4.png"]
    assert "missing" in result.skipped[0].reason and "60x50" in result.skipped[2].reason
    assert "3 images left out" in result.report() and "picture_2.png" in result.report()
    assert result.figure("bbox", "AR100") < 0.9
    with pytest.raises(DataError, match=r"picture_1\.png"):
        evaluate(oracle, ann_file, folder, settings(strict=True), progress=False)
    for file in folder.iterdir():
        file.unlink()
    with pytest.raises(EvaluationError, match="none of the 7 images"):
        evaluate(oracle, ann_file, folder, settings(), progress=False)


def test_only_the_first_images(shapes) -> None:
    ann_file, folder, content = shapes
    oracle = Oracle(content, folder, **SMALL)
    result = evaluate(oracle, ann_file, folder, settings(), max_images=2, progress=False)
    assert result.images == 2 and result.figure("bbox") >= 0.9995


def test_data_without_masks_is_judged_by_boxes(shapes, tmp_path) -> None:
    _, folder, content = shapes
    oracle = Oracle(content, folder, **SMALL)
    for annotation in content["annotations"]:
        del annotation["segmentation"]
    boxes_only = tmp_path / "boxes.json"
    boxes_only.write_text(json.dumps(content))
    result = evaluate(oracle, boxes_only, folder, settings(), output_dir=tmp_path / "out", pictures=1, progress=False)
    assert list(result.metrics) == ["bbox"] and result.summary()["segm_ap"] == -1
    assert "segm" not in result.report()


def test_incomplete_annotations_are_judged_as_complete_ones(shapes, tmp_path) -> None:
    ann_file, folder, content = shapes
    oracle = Oracle(content, folder, **SMALL)
    complete = evaluate(oracle, ann_file, folder, settings(), progress=False)
    for annotation in content["annotations"]:
        del annotation["area"]
        if not annotation["iscrowd"]:
            del annotation["iscrowd"]
    bare = tmp_path / "bare.json"
    bare.write_text(json.dumps(content))
    result = evaluate(oracle, bare, folder, settings(), progress=False)
    assert result.metrics == complete.metrics and result.figure("segm") >= 0.985

    first = content["images"][0]["id"]  # an image whose objects have boxes only, among others
    for annotation in content["annotations"]:
        if annotation["image_id"] == first:
            annotation["segmentation"] = []
    bare.write_text(json.dumps(content))
    result = evaluate(oracle, bare, folder, settings(), progress=False)
    assert result.metrics["bbox"] == complete.metrics["bbox"]
    of_others = sum(not a.get("iscrowd") for a in content["annotations"] if a["image_id"] != first)
    assert sum(row.objects for row in result.metrics["segm"].per_class) == of_others
    assert list(evaluate(oracle, bare, folder, settings(), max_images=1, progress=False).metrics) == ["bbox"]


def test_a_failing_network_stops_the_evaluation(shapes) -> None:
    ann_file, folder, _ = shapes

    def broken(image, image_shape):
        found = nothing(image, image_shape)
        found.valid[:, 0] = True
        found.boxes[:] = np.nan
        return found

    with pytest.raises(EvaluationError, match="not finite"):
        evaluate(broken, ann_file, folder, settings(), progress=False)


def test_classes_of_the_checkpoint() -> None:
    run = ClassList(("a", "b"), (4, 9))
    check_checkpoint_classes(None, run, "x.ckpt")
    check_checkpoint_classes(["a", "b"], run, "x.ckpt")
    with pytest.raises(CheckpointError, match="class 2 is 'c' instead of 'b'"):
        check_checkpoint_classes(["a", "c"], run, "x.ckpt")
    with pytest.raises(CheckpointError, match="3 classes instead of 2"):
        check_checkpoint_classes(["a", "b", "c"], run, "x.ckpt")
