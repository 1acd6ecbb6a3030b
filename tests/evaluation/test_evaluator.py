"""Evaluation as a whole: perfect detections give perfect metrics, and nothing is lost on the way."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from tests.evaluation.oracle import Oracle, draw_data_set, nothing, run_evaluation

from maskrcnn.config import Config
from maskrcnn.errors import DataError, EvaluationError
from maskrcnn.evaluation import evaluator
from maskrcnn.evaluation.evaluator import evaluation_files
from maskrcnn.evaluation.metrics import COCO_RULES


@pytest.fixture
def shapes(tmp_path):
    ann_file = draw_data_set(tmp_path)
    return ann_file, tmp_path / "images", json.loads(ann_file.read_text())


def test_ground_truth_fed_back_on_photographs(coco_tiny) -> None:
    ann_file = coco_tiny / "annotations" / "instances_val2017.json"
    geometry = {"img_height": 192, "img_width": 320}
    oracle = Oracle(json.loads(ann_file.read_text()), coco_tiny / "val2017", **geometry)
    result = run_evaluation(oracle, ann_file, coco_tiny / "val2017", geometry)
    assert result.images == 80 and not result.skipped
    assert result.metric("bbox") >= 0.9995
    assert result.metric("segm") >= 0.985
    assert result.metric("segm", "AP50") >= 0.9995


@pytest.mark.parametrize("batch_size", [1, 2, 4])
def test_all_images_are_scored_whatever_the_batch(shapes, batch_size: int) -> None:
    ann_file, folder, content = shapes
    oracle = Oracle(content, folder, ["ring", "ellipse"])
    result = run_evaluation(oracle, ann_file, folder, {"test_batch_size": batch_size}, ["ring", "ellipse"])
    assert result.images == len(content["images"]) == 7
    assert {shape[0] for shape in oracle.batches} == {batch_size}
    assert {shape[1:3] for shape in oracle.batches} == {(128, 192), (192, 128)}
    objects = sum(not a["iscrowd"] for a in content["annotations"])
    assert len(result.bbox) == len(result.segm) == objects  # repeated images count once
    assert result.metric("bbox") >= 0.9995 and result.metric("segm") >= 0.985
    order = [image["id"] for image in content["images"]]
    assert [r["image_id"] for r in result.bbox] == sorted([r["image_id"] for r in result.bbox], key=order.index)
    assert {r["category_id"] for r in result.bbox} == {3, 7}
    assert result.classes.names == ("ring", "ellipse")


def test_files_hold_what_was_scored(shapes, tmp_path) -> None:
    ann_file, folder, content = shapes
    out = tmp_path / "out"
    oracle = Oracle(content, folder)
    result = run_evaluation(oracle, ann_file, folder, output_dir=out, pictures=3)
    assert json.loads((out / "bbox.json").read_text()) == result.bbox
    written = json.loads((out / "metrics.json").read_text())
    assert written["images"] == 7 and written["skipped"] == []
    assert written["speed"]["postprocess_seconds_per_image"] > 0
    assert [row["name"] for row in written["per_class"]] == ["ring", "ellipse", "spare"]
    assert written["Precision/mAP"] == written["segm"]["Precision/mAP"] == result.metric("segm")
    assert written["per_class"][2] == {
        "name": "spare", "category_id": 40, "objects": 0,
        "bbox": {"AP": -1.0, "AP50": -1.0}, "segm": {"AP": -1.0, "AP50": -1.0},
    }  # fmt: skip
    # The files alone, read by pycocotools alone, give the same metrics.
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
        assert list(written[kind].values())[:12] == reference.stats.tolist()
    pictures = sorted((out / "pictures").iterdir())
    assert len(pictures) == 3 and all(cv2.imread(str(p)) is not None for p in pictures)
    report = result.report()
    assert "Evaluate annotation type *bbox*" in report and "Evaluate annotation type *segm*" in report
    line = " Average Precision  (AP) @[ IoU=0.50:0.95 | area=   all | maxDets=100 ] = 1.000"
    assert line in report.splitlines()


def test_nothing_found_is_an_ordinary_result(shapes, tmp_path) -> None:
    ann_file, folder, _ = shapes
    result = run_evaluation(nothing, ann_file, folder, output_dir=tmp_path / "out", pictures=1)
    assert result.metric("bbox") == result.metric("segm") == 0
    assert json.loads((tmp_path / "out" / "segm.json").read_text()) == []
    assert result.summary() == {"bbox_ap": 0, "bbox_ap50": 0, "segm_ap": 0, "segm_ap50": 0}


def test_images_that_cannot_be_read_are_reported_and_their_objects_missed(shapes) -> None:
    ann_file, folder, content = shapes
    oracle = Oracle(content, folder)
    (folder / "picture_1.png").unlink()
    (folder / "picture_2.png").write_bytes(b"no image")
    cv2.imwrite(str(folder / "picture_4.png"), np.zeros((50, 60, 3), np.uint8))
    result = run_evaluation(oracle, ann_file, folder)
    assert result.images == 4
    assert [s.path.name for s in result.skipped] == ["picture_1.png", "picture_2.png", "picture_4.png"]
    assert "missing" in result.skipped[0].reason and "60x50" in result.skipped[2].reason
    assert "3 images left out" in result.report() and "picture_2.png" in result.report()
    assert result.metric("bbox", "AR100") < 0.9
    with pytest.raises(DataError, match=r"picture_1\.png"):
        run_evaluation(oracle, ann_file, folder, {"strict": True})
    for file in folder.iterdir():
        file.unlink()
    with pytest.raises(EvaluationError, match="none of the 7 images"):
        run_evaluation(oracle, ann_file, folder)


def test_only_the_first_images(shapes) -> None:
    ann_file, folder, content = shapes
    oracle = Oracle(content, folder)
    result = run_evaluation(oracle, ann_file, folder, max_images=2)
    assert result.images == 2 and result.metric("bbox") >= 0.9995


def test_data_without_masks_is_scored_by_boxes(shapes, tmp_path) -> None:
    _, folder, content = shapes
    oracle = Oracle(content, folder)
    for annotation in content["annotations"]:
        del annotation["segmentation"]
    boxes_only = tmp_path / "boxes.json"
    boxes_only.write_text(json.dumps(content))
    result = run_evaluation(oracle, boxes_only, folder, output_dir=tmp_path / "out", pictures=1)
    assert list(result.metrics) == ["bbox"] and result.summary()["segm_ap"] == -1
    assert "*segm*" not in result.report()
    assert "objects: there is no segmentation; only the box is used" in result.report()


def test_incomplete_annotations_are_scored_as_complete_ones(shapes, tmp_path) -> None:
    ann_file, folder, content = shapes
    oracle = Oracle(content, folder)
    complete = run_evaluation(oracle, ann_file, folder)
    for annotation in content["annotations"]:
        del annotation["area"]
        if not annotation["iscrowd"]:
            del annotation["iscrowd"]
    bare = tmp_path / "bare.json"
    bare.write_text(json.dumps(content))
    result = run_evaluation(oracle, bare, folder)
    assert result.metrics == complete.metrics and result.metric("segm") >= 0.985

    first = content["images"][0]["id"]  # an image whose objects have boxes only, among others
    for annotation in content["annotations"]:
        if annotation["image_id"] == first:
            annotation["segmentation"] = []
    bare.write_text(json.dumps(content))
    result = run_evaluation(oracle, bare, folder)
    assert result.metrics["bbox"] == complete.metrics["bbox"]
    of_others = sum(not a.get("iscrowd") for a in content["annotations"] if a["image_id"] != first)
    assert sum(row.objects for row in result.metrics["segm"].per_class) == of_others
    assert list(run_evaluation(oracle, bare, folder, max_images=1).metrics) == ["bbox"]


def test_a_failing_network_stops_the_evaluation(shapes) -> None:
    ann_file, folder, _ = shapes

    def broken(image, image_shape):
        found = nothing(image, image_shape)
        found.valid[:, 0] = True
        found.boxes[:] = np.nan
        return found

    with pytest.raises(EvaluationError, match="not finite"):
        run_evaluation(broken, ann_file, folder)


def test_files_to_evaluate_on(tmp_path) -> None:
    (tmp_path / "val2017").mkdir()
    (tmp_path / "other").mkdir()
    root = Config(coco_root=str(tmp_path))
    expected = (tmp_path / "annotations" / "instances_val2017.json", tmp_path / "val2017")
    assert evaluation_files(root) == expected
    named = root.replace(ann_file="x.json", image_dir=str(tmp_path / "other"))
    assert [str(path) for path in evaluation_files(named)] == ["x.json", str(tmp_path / "other")]
    txt = named.replace(dataset="other", anno_path="train.txt")  # image_dir is where its images lie
    assert [str(path) for path in evaluation_files(txt)] == ["x.json", str(tmp_path / "val2017")]
    assert evaluation_files(txt.replace(ann_file="")) == expected
    alone = txt.replace(coco_root="")
    assert [str(path) for path in evaluation_files(alone)] == ["x.json", str(tmp_path / "other")]
    with pytest.raises(EvaluationError, match="--coco_root FOLDER, or --ann_file FILE and --image_dir"):
        evaluation_files(Config(ann_file="x.json"))
    with pytest.raises(EvaluationError, match=r"no image folder .* check coco_root and val_data_type"):
        evaluation_files(Config(coco_root=str(tmp_path / "missing")))
    with pytest.raises(EvaluationError, match=r"no image folder .* check image_dir"):
        evaluation_files(named.replace(image_dir=str(tmp_path / "missing")))


def test_a_picture_that_cannot_be_saved_does_not_end_the_evaluation(shapes, tmp_path, capsys) -> None:
    ann_file, folder, content = shapes
    out = tmp_path / "out"
    out.mkdir()
    (out / "pictures").write_text("not a folder")
    result = run_evaluation(Oracle(content, folder), ann_file, folder, output_dir=out, pictures=2)
    assert json.loads((out / "metrics.json").read_text())["bbox"] == result.metrics["bbox"].with_aliases()
    assert capsys.readouterr().err.count("note: no picture of") == 2


def test_results_are_saved_before_they_are_scored(shapes, tmp_path, monkeypatch) -> None:
    ann_file, folder, content = shapes

    def fail(*_):
        raise EvaluationError("the annotations are broken")

    monkeypatch.setattr(evaluator, "compute_metrics", fail)
    with pytest.raises(EvaluationError, match="broken"):
        run_evaluation(Oracle(content, folder), ann_file, folder, output_dir=tmp_path / "out")
    for kind in ("bbox", "segm"):
        assert len(json.loads((tmp_path / "out" / f"{kind}.json").read_text())) > 7


def test_classes_that_the_annotation_file_lacks(shapes, tmp_path) -> None:
    """The network knows four classes, the file three: detections of the fourth are not written, and there is a note."""
    ann_file, folder, content = shapes
    oracle = Oracle(content, folder, ["ring", "ellipse"])

    def detector(image, image_shape):
        found = oracle(image, image_shape)
        found.labels[found.labels > 0] += 1  # label 1 is 'star'
        found.valid[:, -1] = True
        found.labels[:, -1] = 1
        return found

    names = ["star", "ring", "ellipse", "spare"]
    result = run_evaluation(detector, ann_file, folder, names=names, output_dir=tmp_path / "out")
    assert result.metric("bbox") >= 0.9995 and result.metric("segm") >= 0.985
    assert result.metrics["bbox"].per_class[0].objects == 0
    assert {record["category_id"] for record in json.loads((tmp_path / "out" / "bbox.json").read_text())} == {3, 7}
    assert f"note: {ann_file} has no category 'star': no AP for it" in result.report()


def test_broken_annotations_are_left_out_and_counted(shapes, tmp_path) -> None:
    """One of each kind among good ones: they change nothing but the report."""
    ann_file, folder, content = shapes
    oracle = Oracle(content, folder)
    complete = run_evaluation(oracle, ann_file, folder)
    good = content["annotations"][0]
    first = {**good, "id": 900, "image_id": content["images"][0]["id"]}
    content["annotations"] += [
        {**first, "bbox": [1, 2, 3]},
        {**first, "id": 901, "image_id": 4711},
        {**first, "id": 902, "category_id": None},
        {**first, "id": good["id"]},
        {**first, "id": 903, "bbox": [float("nan"), 0, 5, 5]},
        "no object",
    ]
    bad = tmp_path / "bad.json"
    bad.write_text(json.dumps(content), encoding="utf-8-sig")
    result = run_evaluation(oracle, bad, folder)
    assert result.metrics == complete.metrics
    assert result.report().count("skipped: ") == 5
    assert "2 objects: the box is no box of positive size" in result.report()


def test_images_without_a_size_in_the_file(shapes, tmp_path) -> None:
    ann_file, folder, content = shapes
    oracle = Oracle(content, folder)
    complete = run_evaluation(oracle, ann_file, folder)
    for image in content["images"]:
        del image["height"], image["width"]
    bare = tmp_path / "bare.json"
    bare.write_text(json.dumps(content))
    assert run_evaluation(oracle, bare, folder).metrics == complete.metrics


def test_crowded_images_are_announced(shapes) -> None:
    ann_file, folder, content = shapes
    oracle = Oracle(content, folder)
    most = max(Counter(a["image_id"] for a in content["annotations"] if not a["iscrowd"]).values())
    rules = replace(COCO_RULES, max_detections=most - 1)
    report = run_evaluation(oracle, ann_file, folder, metric=rules).report()
    assert (
        f"note: an image has {most} objects, but only the best {most - 1} detections of an image are scored" in report
    )
    assert "raise max_detections" not in run_evaluation(oracle, ann_file, folder).report()


def test_every_image_for_itself(shapes, tmp_path) -> None:
    ann_file, folder, content = shapes
    out = tmp_path / "out"
    run_evaluation(Oracle(content, folder), ann_file, folder, output_dir=out, per_image=True)
    per_image = json.loads((out / "metrics.json").read_text())["per_image"]
    assert list(per_image) == [image["file_name"] for image in content["images"]]
    for kinds in per_image.values():
        assert kinds["bbox"]["AP"] >= 0.9995 and kinds["segm"]["AP50"] >= 0.9995


@pytest.mark.parametrize(
    ("ann_file", "images"),
    [
        ("annotations/instances_val2017.json", "val2017"),
        ("annotations/instances_test.json", "test"),
        ("annotations/instances_minival.json", "val2017"),  # another name for some of these images
        ("instances_val2017.json", "val2017"),
    ],
)
def test_the_place_of_the_annotations_tells_that_of_the_images(tmp_path, ann_file, images) -> None:
    for folder in ("val2017", "test", "annotations"):
        (tmp_path / folder).mkdir()
    expected = tmp_path / ann_file, tmp_path / images
    assert evaluation_files(Config(ann_file=str(tmp_path / ann_file))) == expected
    for folder in ("val2017", "test"):
        (tmp_path / folder).rmdir()
    with pytest.raises(EvaluationError, match=rf"the images of .* are not in .*{tmp_path}.*; give --coco_root"):
        evaluation_files(Config(ann_file=str(tmp_path / ann_file)))
