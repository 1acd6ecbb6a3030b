"""Metrics against pycocotools alone; annotation files and results that do not fit."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from maskrcnn.errors import DataError, EvaluationError
from maskrcnn.evaluation.ground_truth import load_ground_truth
from maskrcnn.evaluation.metrics import COCO_METRICS, COCO_RULES, LVIS_METRICS, compute_image_metrics, compute_metrics
from maskrcnn.evaluation.report import class_table, coco_table
from maskrcnn.inference.results import shortest


@pytest.fixture
def noisy(coco_tiny):
    """Ground truth of 80 photographs, and its boxes moved by some pixels with scores, as float32."""
    path = coco_tiny / "annotations" / "instances_val2017.json"
    rng = np.random.default_rng(0)
    records = []
    for annotation in json.loads(path.read_text())["annotations"]:
        for _ in range(2):
            box = np.float32(annotation["bbox"]) + np.float32(rng.normal(0, 3, 4))
            box[2:] = np.maximum(box[2:], 1)
            category = annotation["category_id"] if rng.random() < 0.9 else 1
            record = {"image_id": annotation["image_id"], "category_id": category}
            records.append({**record, "bbox": box, "score": np.float32(rng.random())})
    return path, records


def reference(path, records, kind="bbox") -> COCOeval:
    truth = COCO(str(path))
    evaluation = COCOeval(truth, truth.loadRes(copy.deepcopy(records)), kind)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return evaluation


def test_equals_pycocotools_and_short_digits_change_nothing(noisy) -> None:
    path, records = noisy
    exact = [{**r, "bbox": r["bbox"].tolist(), "score": float(r["score"])} for r in records]
    short = [{**r, "bbox": [shortest(v) for v in r["bbox"]], "score": shortest(r["score"])} for r in records]
    assert len(json.dumps(short)) < 0.8 * len(json.dumps(exact))
    expected = reference(path, exact)
    truth = load_ground_truth(path)
    ids = sorted(category["id"] for category in truth.categories)
    metrics = compute_metrics(truth, {"bbox": json.loads(json.dumps(short))}, ids)["bbox"]
    assert list(metrics.stats.values()) == expected.stats.tolist()
    assert 0.3 < metrics.stats["AP"] < 0.9
    precision = expected.eval["precision"][:, :, :, 0, 2]
    for position, row in enumerate(metrics.per_class):
        of_class = precision[:, :, position]
        assert row.ap == (of_class.mean() if (of_class > -1).all() else -1)
        assert row.ap50 == (of_class[0].mean() if (of_class > -1).all() else -1)
    seen = [row.ap for row in metrics.per_class if row.ap >= 0]
    assert np.mean(seen) == pytest.approx(metrics.stats["AP"])


def test_table_reads_as_pycocotools_prints_it(noisy, capsys) -> None:
    path, records = noisy
    reference(path, [{**r, "bbox": r["bbox"].tolist(), "score": float(r["score"])} for r in records])
    printed = [line for line in capsys.readouterr().out.splitlines() if "maxDets" in line]
    truth = load_ground_truth(path)
    ids = [category["id"] for category in truth.categories]
    exact = [{**r, "bbox": r["bbox"].tolist(), "score": float(r["score"])} for r in records]
    metrics = compute_metrics(truth, {"bbox": exact}, ids)["bbox"]
    assert capsys.readouterr().out == ""
    table = coco_table(metrics).splitlines()
    assert table[:2] == ["Evaluate annotation type *bbox*", "Accumulating evaluation results..."]
    assert table[2:] == printed and len(printed) == len(COCO_METRICS) == 12
    names = [category["name"] for category in truth.categories]
    lines = class_table({"bbox": metrics}, names).splitlines()
    assert len(lines) == 2 + 80 and lines[2].split()[:2] == ["person", "209"]


def content() -> dict:
    square = [2, 2, 12, 2, 12, 12, 2, 12]
    annotation = {
        "id": 0, "image_id": 5, "category_id": 2, "bbox": [2, 2, 10, 10], "area": 100, "iscrowd": 0,
        "segmentation": [square],
    }  # fmt: skip
    return {
        "images": [{"id": 5, "file_name": "a.png", "height": 20, "width": 30}],
        "categories": [{"id": 2, "name": "square"}, {"id": 1, "name": "other"}],
        "annotations": [annotation],
    }


def written(tmp_path, value):
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(value))
    return path


def found(**changes) -> dict:
    return {"image_id": 5, "category_id": 2, "score": 0.5, "bbox": [2, 2, 10, 10], **changes}


def test_annotation_id_zero_counts(tmp_path) -> None:
    truth = load_ground_truth(written(tmp_path, content()))
    metrics = compute_metrics(truth, {"bbox": [found()]}, [2])["bbox"]
    assert metrics.stats["AP"] == pytest.approx(1) and metrics.stats["AR1"] == 1


def test_objects_without_a_usable_mask_count_for_boxes_only(tmp_path) -> None:
    value = content()
    extra = {**value["annotations"][0], "id": 1, "bbox": [15, 5, 3, 1], "segmentation": [[15, 5, 18, 6]]}
    broken = {**extra, "id": 3, "bbox": [2, 15, 9, 4], "segmentation": {"size": [20, 30], "counts": "cut off"}}
    value["annotations"] += [extra, {**extra, "id": 2, "segmentation": []}, broken]
    truth = load_ground_truth(written(tmp_path, value))
    assert [entry["segmentation"] is None for entry in truth.annotations] == [False, True, True, True]
    rle = coco_mask.frPyObjects(content()["annotations"][0]["segmentation"], 20, 30)[0]
    segm = {"image_id": 5, "category_id": 2, "score": 1.0, "segmentation": rle}
    metrics = compute_metrics(truth, {"bbox": [found()], "segm": [segm]}, [2])
    assert metrics["segm"].per_class[0].objects == 1 and metrics["segm"].stats["AP"] == pytest.approx(1)
    assert metrics["bbox"].per_class[0].objects == 4
    value["annotations"] = value["annotations"][1:]
    without = load_ground_truth(written(tmp_path, value))
    assert list(compute_metrics(without, {"bbox": [found()], "segm": [segm]}, [2])) == ["bbox"]


def test_files_that_are_no_annotations(tmp_path) -> None:
    with pytest.raises(DataError, match="no annotation file"):
        load_ground_truth(tmp_path / "missing.json")
    for text, words in (
        ('{"images": [', "is not valid JSON"),
        ("[]", "does not start with a JSON object"),
        ("[" * 100_000, "does not start with a JSON object"),
        ('{"images": ' + "[" * 100_000, "nested too deeply"),
        (json.dumps({**content(), "annotations": []}), "no annotations that can be used"),
        (json.dumps({**content(), "annotations": [{"id": 1}]}), "no annotations that can be used.*no image_id"),
    ):
        (tmp_path / "broken.json").write_text(text)
        with pytest.raises(DataError, match=words) as caught:
            load_ground_truth(tmp_path / "broken.json")
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_strict_stops_at_the_first_fault(tmp_path) -> None:
    value = content()
    value["annotations"].append({**value["annotations"][0], "id": 1, "category_id": 9})
    assert len(load_ground_truth(written(tmp_path, value)).annotations) == 1
    with pytest.raises(DataError, match=r"category_id 9.*strict is on"):
        load_ground_truth(written(tmp_path, value), strict=True)


def test_classes_without_objects(tmp_path) -> None:
    truth = load_ground_truth(written(tmp_path, content()))
    with pytest.raises(EvaluationError, match="no object of the run's 1 classes"):
        compute_metrics(truth, {"bbox": []}, [1])


def test_classes_that_the_file_lacks_have_no_ap(tmp_path) -> None:
    """Trained on four classes, of which the file has two, under other ids."""
    truth = load_ground_truth(written(tmp_path, content()))
    classes = truth.find_classes(["star", "square", "disc", "other"], [2, 7, 30, 1])
    assert classes.names == ("star", "square", "disc", "other")
    assert classes.category_ids[1::2] == (2, 1) and classes.category_ids[2] == 30
    assert classes.category_ids[0] not in (1, 2, 7, 30)
    assert truth.lacking(classes) == ["star", "disc"]
    for engine in ("auto", "pycocotools"):
        rules = replace(COCO_RULES, engine=engine)
        metrics = compute_metrics(truth, {"bbox": [found()]}, classes.category_ids, settings=rules)["bbox"]
        assert metrics.stats["AP"] == pytest.approx(1)
        assert [row.ap for row in metrics.per_class] == [-1, pytest.approx(1), -1, -1]
    with pytest.raises(DataError, match="has none of the run's classes"):
        truth.find_classes(["star", "disc"])


def test_a_category_called_background_is_a_class(tmp_path) -> None:
    value = content()
    value["categories"].append({"id": 0, "name": "background"})
    truth = load_ground_truth(written(tmp_path, value))
    assert truth.class_names == ("background", "other", "square")
    assert truth.find_classes(truth.class_names).category_ids == (0, 1, 2)
    assert truth.find_classes(("background", "square"), (4, 9)).category_ids == (0, 2)


@pytest.mark.parametrize("spelled", ["a/5", "5", 5.5, 5.0])
def test_ids_of_any_kind(tmp_path, spelled) -> None:
    """Images and categories; the metric's libraries know integers only."""
    value = content()
    value["images"][0]["id"] = value["annotations"][0]["image_id"] = spelled
    value["categories"][0]["id"] = value["annotations"][0]["category_id"] = f"c{spelled}"
    truth = load_ground_truth(written(tmp_path, value))
    classes = truth.find_classes(["other", "square"])
    assert classes.category_ids == (1, f"c{spelled}")
    record = found(image_id=spelled, category_id=f"c{spelled}")
    for engine in ("auto", "pycocotools"):
        rules = replace(COCO_RULES, engine=engine)
        metrics = compute_metrics(truth, {"bbox": [record]}, classes.category_ids, settings=rules)["bbox"]
        assert metrics.stats["AP"] == pytest.approx(1) and metrics.per_class[1].objects == 1


def crowded(objects: int) -> dict:
    """One image with many small squares."""
    value = content()
    value["images"][0].update(height=1000, width=1000)
    boxes = [[10 * (n % 90), 10 * (n // 90), 8, 8] for n in range(objects)]
    common = {key: value["annotations"][0][key] for key in ("image_id", "category_id")}
    value["annotations"] = [{**common, "id": n, "bbox": box} for n, box in enumerate(boxes)]
    return value


@pytest.mark.parametrize("engine", ["auto", "pycocotools"])
@pytest.mark.parametrize("most", [0, 40, 250, 1000])
def test_more_detections_of_an_image_can_be_scored(tmp_path, most: int, engine: str) -> None:
    """Of 250 objects, all of them found, recall is the share that the limit lets through."""
    truth = load_ground_truth(written(tmp_path, crowded(250)))
    records = [found(bbox=entry["bbox"], score=1 - n / 1000) for n, entry in enumerate(truth.annotations)]
    rules = replace(COCO_RULES, engine=engine, max_detections=most)
    metrics = compute_metrics(truth, {"bbox": records}, [2], settings=rules)["bbox"]
    limit = most or 100
    assert list(metrics.stats) == [row.name.replace("AR100", f"AR{limit}") for row in COCO_METRICS]
    assert metrics.stats[f"AR{limit}"] == pytest.approx(min(limit, 250) / 250)
    assert metrics.stats["AR1"] == pytest.approx(1 / 250) and metrics.stats["AR10"] == pytest.approx(10 / 250)
    recalls = np.linspace(0, 1, 101)
    assert metrics.stats["AP"] == pytest.approx((recalls <= min(limit, 250) / 250).mean())
    assert metrics.per_class[0].ap == metrics.stats["AP"]
    assert f"maxDets={limit:>3}" in coco_table(metrics)


def test_every_image_for_itself(noisy) -> None:
    """AP of an image is that of a data set of this image alone, by pycocotools."""
    path, records = noisy
    records = [{**r, "bbox": r["bbox"].tolist(), "score": float(r["score"])} for r in records]
    truth = load_ground_truth(path)
    ids = sorted(category["id"] for category in truth.categories)
    scored = compute_image_metrics(truth, {"bbox": records}, ids)
    coco = COCO(str(path))
    evaluation = COCOeval(coco, coco.loadRes(copy.deepcopy(records)), "bbox")
    for image_id in list(scored)[:25]:
        evaluation.params.imgIds = [image_id]
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        expected = {"AP": pytest.approx(evaluation.stats[0]), "AP50": pytest.approx(evaluation.stats[1])}
        assert scored[image_id]["bbox"] == expected
    with_objects = {entry["image_id"] for entry in truth.annotations if not entry["iscrowd"]}
    assert scored.keys() == with_objects


def test_the_model_zoo_s_names(tmp_path) -> None:
    truth = load_ground_truth(written(tmp_path, content()))
    metrics = compute_metrics(truth, {"bbox": [found()]}, [2])["bbox"]
    named = metrics.with_aliases()
    assert list(named)[:12] == list(metrics.stats) and len(named) == 24
    assert named["Precision/mAP"] == named["AP"] and named["Precision/mAP@.75IOU"] == named["AP75"]
    assert named["Recall/AR@100 (large)"] == named["ARl"] == -1


def lvis_content() -> dict:
    value = content()
    for image in value["images"]:
        image.update(neg_category_ids=[1], not_exhaustive_category_ids=[])
    value["categories"] = [{"id": 2, "name": "square", "frequency": "r"}, {"id": 1, "name": "other", "frequency": "f"}]
    return value


def test_lvis_protocol(tmp_path) -> None:
    """Thirteen metrics in LVIS's wording; a rare class alone decides APr, and a class without objects decides none."""
    pytest.importorskip("hotcoco")
    lvis = replace(COCO_RULES, protocol="lvis")
    truth = load_ground_truth(written(tmp_path, lvis_content()))
    metrics = compute_metrics(truth, {"bbox": [found()]}, [2, 1], settings=lvis)["bbox"]
    assert list(metrics.stats) == [row.name for row in LVIS_METRICS] and len(metrics.stats) == 13
    assert metrics.stats["APr"] == pytest.approx(1) and metrics.stats["APf"] == -1
    table = coco_table(metrics).splitlines()
    assert table[8] == " Average Precision  (AP) @[ IoU=0.50:0.95 | area=   all | maxDets=300 catIds=  r] = 1.000"
    false = found(category_id=1)  # in an image that was searched for this class in vain, and has no object of it
    assert compute_metrics(truth, {"bbox": [false]}, [2, 1], settings=lvis)["bbox"].stats["APf"] == -1


@pytest.mark.parametrize("section, key", [("images", "neg_category_ids"), ("categories", "frequency")])
def test_lvis_protocol_on_a_coco_file(tmp_path, section: str, key: str) -> None:
    value = lvis_content()
    del value[section][0][key]
    truth = load_ground_truth(written(tmp_path, value))
    with pytest.raises(EvaluationError, match=f"of '{section}' has no '{key}': use --metric_protocol coco"):
        compute_metrics(truth, {"bbox": [found()]}, [2, 1], settings=replace(COCO_RULES, protocol="lvis"))


def test_boundary_metric_is_one_more_table(tmp_path) -> None:
    truth = load_ground_truth(written(tmp_path, content()))
    rle = coco_mask.frPyObjects(content()["annotations"][0]["segmentation"], 20, 30)[0]
    segm = {"image_id": 5, "category_id": 2, "score": 1.0, "segmentation": {**rle, "counts": rle["counts"].decode()}}
    records = {"bbox": [found()], "segm": [segm]}
    metrics = compute_metrics(truth, records, [1, 2], settings=replace(COCO_RULES, boundary=True))
    assert list(metrics) == ["bbox", "segm", "boundary"]
    assert metrics["boundary"].stats["AP"] == pytest.approx(1)
    assert coco_table(metrics["boundary"]).startswith("Evaluate annotation type *boundary*")
