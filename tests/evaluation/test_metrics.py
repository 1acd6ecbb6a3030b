"""Metrics against pycocotools alone; annotation files and results that do not fit."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from maskrcnn.errors import DataError, EvaluationError
from maskrcnn.evaluation.ground_truth import load_ground_truth
from maskrcnn.evaluation.metrics import COCO_METRICS, LVIS_METRICS, MetricSettings, compute_metrics
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
    assert truth.annotations[0]["id"] == 0  # the caller's data is left alone


def test_degenerate_polygons_count_for_boxes_only(tmp_path) -> None:
    value = content()
    extra = {**value["annotations"][0], "id": 1, "bbox": [15, 5, 3, 1], "segmentation": [[15, 5, 18, 6]]}
    value["annotations"] += [extra, {**extra, "id": 2, "segmentation": []}]
    truth = load_ground_truth(written(tmp_path, value))
    assert truth.maskless == {1, 2}
    rle = coco_mask.frPyObjects(content()["annotations"][0]["segmentation"], 20, 30)[0]
    segm = {"image_id": 5, "category_id": 2, "score": 1.0, "segmentation": rle}
    assert compute_metrics(truth, {"segm": [segm]}, [2])["segm"].per_class[0].objects == 1
    assert compute_metrics(truth, {"segm": [segm]}, [2])["segm"].stats["AP"] == pytest.approx(1)
    assert compute_metrics(truth, {"bbox": [found()]}, [2])["bbox"].per_class[0].objects == 3


def test_what_annotation_tools_leave_out_is_filled_in(tmp_path) -> None:
    """Areas are pycocotools' own of the mask; without one, of the box."""
    value = content()
    square = value["annotations"][0]
    triangle = [0, 0, 10, 0, 0, 10]
    coco = COCO()
    coco.dataset, coco.imgs = value, {5: value["images"][0]}
    expected = float(coco_mask.area(coco.annToRLE({"image_id": 5, "segmentation": [triangle]})))
    assert 40 < expected < 60
    changes = [
        ({"segmentation": [triangle], "iscrowd": None}, expected),
        ({"segmentation": {"size": [20, 30], "counts": [100, 7, 493]}, "iscrowd": 1}, 7),
        ({"segmentation": None}, 10 * 10),
        ({"segmentation": [[15, 5, 18, 6]], "bbox": [15, 5, 3, 1]}, 3),
        ({"area": 99.5}, 99.5),  # not what we would make it
    ]
    bare = {key: square[key] for key in ("image_id", "category_id", "bbox", "segmentation")}
    value["annotations"] = [{**bare, "id": n, **change} for n, (change, _) in enumerate(changes)]
    truth = load_ground_truth(written(tmp_path, value))
    assert [a["area"] for a in truth.annotations] == [area for _, area in changes]
    assert [a["iscrowd"] for a in truth.annotations] == [0, 1, 0, 0, 0]
    assert truth.has_masks and truth.maskless == {2, 3}
    value["annotations"] = value["annotations"][2:4]
    assert not load_ground_truth(written(tmp_path, value)).has_masks


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("images"), "no list 'images'"),
        (lambda c: c["images"].clear(), "'images' is empty"),
        (lambda c: c["annotations"].clear(), "no annotations"),
        (lambda c: c["annotations"][0].pop("bbox"), "id 0 of 'annotations' has no 'bbox'"),
        (lambda c: c["annotations"][0].update(iscrowd="no"), "annotation 0 has iscrowd 'no', not 0 or 1"),
        (lambda c: c["annotations"][0].update(segmentation=[1, 2]), "annotation 0 is neither polygons nor an RLE"),
        (lambda c: c["annotations"][0].update(segmentation={"counts": []}), "is neither polygons nor an RLE"),
        (lambda c: c["images"][0].pop("height"), "id 5 of 'images' has no 'height'"),
        (lambda c: c["images"].append(c["images"][0]), "5 appears twice"),
        (lambda c: c["annotations"].append(c["annotations"][0]), "0 appears twice"),
        (lambda c: c["images"][0].update(id="5"), "id '5' in 'images' is not an integer"),
        (lambda c: c["annotations"][0].update(bbox=[1, 2, 3]), "not four numbers"),
        (lambda c: c["annotations"][0].update(image_id=9), "image 9, which is not listed"),
        (lambda c: c["annotations"][0].update(category_id=9), "category 9, which is not listed"),
        (lambda c: c["categories"].insert(0, "x"), "number 1 of 'categories' has no 'id'"),
    ],
)
def test_annotation_files_that_cannot_be_used(tmp_path, change, message: str) -> None:
    value = content()
    change(value)
    with pytest.raises(DataError, match=message):
        load_ground_truth(written(tmp_path, value))


def test_files_that_are_no_annotations(tmp_path) -> None:
    with pytest.raises(DataError, match="no annotation file"):
        load_ground_truth(tmp_path / "missing.json")
    (tmp_path / "broken.json").write_text('{"images": [')
    with pytest.raises(DataError, match="cannot be read"):
        load_ground_truth(tmp_path / "broken.json")
    with pytest.raises(DataError, match="holds a list"):
        load_ground_truth(written(tmp_path, []))


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (found(image_id=6), "number 2 is of image 6"),
        (found(category_id=7), "of category 7"),
        ({"image_id": 5}, "has no 'category_id'"),
        ("x", "is a str"),
    ],
)
def test_results_that_do_not_fit(tmp_path, record, message: str) -> None:
    truth = load_ground_truth(written(tmp_path, content()))
    with pytest.raises(EvaluationError, match=message):
        compute_metrics(truth, {"bbox": [found(), record]}, [2])


def test_masks_of_another_size_and_classes_without_objects(tmp_path) -> None:
    truth = load_ground_truth(written(tmp_path, content()))
    record = {
        "image_id": 5,
        "category_id": 2,
        "score": 1.0,
        "segmentation": {"size": [30, 20], "counts": "0"},
    }
    with pytest.raises(EvaluationError, match=r"size \[30, 20\], but image 5 is \[20, 30\]"):
        compute_metrics(truth, {"segm": [record]}, [2])
    with pytest.raises(EvaluationError, match="no object of the run's 1 classes"):
        compute_metrics(truth, {"bbox": []}, [1])


def lvis_content() -> dict:
    value = content()
    for image in value["images"]:
        image.update(neg_category_ids=[1], not_exhaustive_category_ids=[])
    value["categories"] = [{"id": 2, "name": "square", "frequency": "r"}, {"id": 1, "name": "other", "frequency": "f"}]
    return value


def test_lvis_protocol(tmp_path) -> None:
    """Thirteen metrics in LVIS's wording; a rare class alone decides APr, and a class without objects decides none."""
    pytest.importorskip("hotcoco")
    lvis = MetricSettings("auto", "lvis", False)
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
        compute_metrics(truth, {"bbox": [found()]}, [2, 1], settings=MetricSettings("auto", "lvis", False))


def test_boundary_metric_is_one_more_table(tmp_path) -> None:
    truth = load_ground_truth(written(tmp_path, content()))
    rle = coco_mask.frPyObjects(content()["annotations"][0]["segmentation"], 20, 30)[0]
    segm = {"image_id": 5, "category_id": 2, "score": 1.0, "segmentation": {**rle, "counts": rle["counts"].decode()}}
    records = {"bbox": [found()], "segm": [segm]}
    metrics = compute_metrics(truth, records, [1, 2], settings=MetricSettings("auto", "coco", True))
    assert list(metrics) == ["bbox", "segm", "boundary"]
    assert metrics["boundary"].stats["AP"] == pytest.approx(1)
    assert coco_table(metrics["boundary"]).startswith("Evaluate annotation type *boundary*")
