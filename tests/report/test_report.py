"""The page as a file: what is in it, what is not, and what the command refuses."""

from __future__ import annotations

import hashlib
import json
import re
from importlib.resources import files

import numpy as np
import pytest
from tests.evaluation.problems import varied
from tests.report.samples import HOSTILE, make_sample

from maskrcnn.commands import compare, report
from maskrcnn.errors import ConfigError, EvaluationError
from maskrcnn.report import page
from maskrcnn.report.error_types import Outcome
from maskrcnn.report.gallery import Kind, worst_first
from maskrcnn.report.outcomes import collect_outcomes


@pytest.fixture
def sample(tmp_path):
    return make_sample(tmp_path / "data")


def written(sample, tmp_path, *more: str) -> tuple[str, dict]:
    """The page and the data in it."""
    out = tmp_path / "out" / "report.html"
    paths = [str(path) for path in sample.results.values()]
    report.main([*paths, "--ann_file", str(sample.ann_file), "--image_dir", str(sample.image_dir), str(out), *more])
    text = out.read_text(encoding="utf-8")
    return text, json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])


def test_data_of_the_page(sample, tmp_path, capsys) -> None:
    """Three images in turn: a localisation error, a wrong class, a missed object."""
    _, data = written(sample, tmp_path)
    assert capsys.readouterr().out.startswith(f"Report: {tmp_path / 'out' / 'report.html'} (")
    assert data["classes"] == ["cat", HOSTILE] and data["images_in_all"] == 12 == len(data["images"])
    for kind in ("bbox", "segm"):
        summary = data["kinds"][kind]
        outcomes = {name: [sum(h.values()) for h in of_class] for name, of_class in summary["outcomes"].items()}
        assert outcomes["correct"] == [12, 0] and outcomes["localisation"] == [0, 4]
        assert outcomes["classification"] == [4, 0] and outcomes["duplicate"] == outcomes["both"] == [0, 0]
        # Missed up to step 70 if found badly, up to 60 if called otherwise, at any score if not found at all.
        assert summary["outcomes"]["missed"] == [{"90": 12}, {"-1": 4, "60": 4, "70": 4}]
        cells = {(row, column): sum(h.values()) for row, column, h in summary["confusion"]}
        assert cells == {(-1, 1): 4, (0, 0): 12, (1, 0): 4}
        assert summary["figures"][0]["name"] == "AP" and 0.3 < summary["figures"][0]["value"] < 0.6
        assert summary["classes"][0]["score"]["score"] == 0.9
    first = next(image for image in data["images"] if image["name"] == "photo 000 <b>.png")
    assert first["size"] == [160, 120] and first["link"] == "../data/images/photo%20000%20%3Cb%3E.png"
    assert first["kinds"]["segm"]["outcomes"] == [0, 1] and first["kinds"]["segm"]["found_by"] == [0, 1]


@pytest.mark.parametrize("score", [0.2, 0.7])
def test_worst_images_first(score: float) -> None:
    """By the sum of missed objects, false detections, and what the IoU of correct ones lacks."""
    problem = varied(0, "bbox")
    outcomes = collect_outcomes(problem)
    weights = []
    for image in range(len(problem.image_ids)):
        shown = [d for d in np.flatnonzero(outcomes.image == image) if outcomes.score[d] >= score]
        correct = [d for d in shown if outcomes.outcome[d] == Outcome.CORRECT]
        false = [d for d in shown if Outcome.CORRECT < outcomes.outcome[d] < Outcome.IGNORED]
        objects = [g for g in np.flatnonzero(outcomes.object_image == image) if not outcomes.crowd[g]]
        missed = [g for g in objects if outcomes.found_by[g] not in shown]
        weights.append(len(missed) + len(false) + sum(1 - outcomes.iou[d] for d in correct))
    order = worst_first([Kind("bbox", problem, outcomes)], score)
    assert sorted(order) == list(range(len(weights)))
    np.testing.assert_allclose([weights[n] for n in order], sorted(weights, reverse=True))


def test_strings_of_users_are_no_markup(sample, tmp_path) -> None:
    text, _ = written(sample, tmp_path, "--title", HOSTILE)
    assert HOSTILE not in text and "<b>.png" not in text
    assert "&lt;script&gt;document.title" in text  # the heading
    assert text.count("<script") == text.count("</script>") == 3 + 2 * 12
    assert not re.search(r'(?:src|href)="(?!#|data:)', text)  # nothing to load from anywhere


def test_one_kind_without_images(sample, tmp_path) -> None:
    """Masks alone: boxes are those of the masks, and there are no previews and no links."""
    out = tmp_path / "masks.html"
    report.main([str(sample.results["segm"]), "--ann_file", str(sample.ann_file), str(out)])
    text = out.read_text()
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])
    assert list(data["kinds"]) == ["segm"] and "preview-" not in text.partition('id="shapes-0"')[2]
    assert all(image["link"] is None for image in data["images"])
    shapes = [json.loads(found) for found in re.findall(r'id="shapes-\d+">(.*?)</script>', text, re.DOTALL)]
    assert all([10.0, 10.0, 40.0, 41.0] in image["boxes"] for image in shapes)


def test_boxes_and_masks_that_are_not_of_the_same_detections(sample, tmp_path) -> None:
    sample.results["segm"].write_text(json.dumps(sample.records["segm"][::-1]))
    _, data = written(sample, tmp_path)
    image = next(image for image in data["images"] if image["name"] == "photo 001.png")
    assert image["scores"] == [0.9, 0.6, 0.9, 0.6]
    assert image["kinds"]["bbox"]["of"] == [0, 1] and image["kinds"]["segm"]["of"] == [2, 3]
    assert image["kinds"]["segm"]["found_by"] == [2, 3]


def test_records_with_both_serve_for_both(sample, tmp_path) -> None:
    both = [{**b, **s} for b, s in zip(sample.records["bbox"], sample.records["segm"])]
    file = tmp_path / "both.json"
    file.write_text(json.dumps(both))
    assert report.sort_by_kind({"a": both}) == {"bbox": "a", "segm": "a"}
    assert report.sort_by_kind({"a": both, "b": sample.records["bbox"]}) == {"bbox": "b", "segm": "a"}


def test_a_page_has_its_limit(sample, tmp_path, monkeypatch) -> None:
    """The worst images are in it, and it says how many there are."""
    whole, _ = written(sample, tmp_path)
    limit = len(whole) - 3000
    monkeypatch.setattr(page, "MOST_BYTES", limit)
    text, data = written(sample, tmp_path)
    assert 1 <= len(data["images"]) < 12 == data["images_in_all"]
    assert len(text) < limit + 2000  # the frame of the page is not counted
    _, data = written(sample, tmp_path, "--max_images", "3")
    assert len(data["images"]) <= 3


@pytest.mark.parametrize(
    "content, message",
    [
        ([], "holds no results: there is nothing to report"),
        ([{"image_id": 1}], "holds results without bbox and without segmentation"),
        ([{"image_id": 99, "category_id": 5, "score": 1, "bbox": [0, 0, 1, 1]}], "record 1 .*image_id is 99"),
    ],
)
def test_result_files_that_cannot_be_shown(sample, tmp_path, content, message) -> None:
    file = tmp_path / "some.json"
    file.write_text(json.dumps(content))
    with pytest.raises((ConfigError, EvaluationError), match=message):
        report.main([str(file), "--ann_file", str(sample.ann_file), str(tmp_path / "out.html")])
    assert not (tmp_path / "out.html").exists()


def test_two_files_of_one_kind_and_none_at_all(sample, tmp_path) -> None:
    boxes = str(sample.results["bbox"])
    again = tmp_path / "again.json"
    again.write_text(sample.results["bbox"].read_text())
    with pytest.raises(ConfigError, match=r"bbox\.json and .*again\.json both hold bbox results"):
        report.main([boxes, str(again), "--ann_file", str(sample.ann_file)])
    with pytest.raises(ConfigError, match="maskrcnn report needs result files"):
        report.main([str(tmp_path / "out.html"), "--ann_file", str(sample.ann_file)])


def test_compare(tmp_path, capsys) -> None:
    for run, seed in (("one", 1), ("two", 2)):
        (tmp_path / run / "log").mkdir(parents=True)
        records = [{"epoch": 1, "step": n, "global_step": n, "total_loss": seed / n} for n in (1, 2)]
        (tmp_path / run / "log" / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
        (tmp_path / run / "log" / "run.json").write_text(json.dumps({"config": {"seed": seed, "lr": 1}}))
    out = tmp_path / "compare.html"
    compare.main([str(tmp_path / "one" / "log"), str(tmp_path / "two" / "log"), "--output", str(out)])
    assert capsys.readouterr().out == f"Comparison of 2 runs: {out}\n"
    data = json.loads(re.search(r'id="data">(.*?)</script>', out.read_text(), re.DOTALL)[1])
    assert [run["name"] for run in data["runs"]] == ["one/log", "two/log"]
    assert data["settings"] == [{"key": "seed", "values": [1, 2]}]
    with pytest.raises(EvaluationError, match="there is nothing to compare: name the log folders of at least two runs"):
        compare.main([str(tmp_path / "one")])


def test_the_library_is_the_one_that_its_table_names() -> None:
    vendor = files("maskrcnn.report") / "vendor"
    row = next(
        line for line in (vendor / "README.md").read_text().splitlines() if line.startswith("| chart.umd.min.js")
    )
    content = (vendor / "chart.umd.min.js").read_bytes()
    assert row.split("|")[-2].strip() == hashlib.sha256(content).hexdigest()
    version = row.split("|")[3].strip()
    assert f"Chart.js v{version}".encode() in content[:200]
    assert "MIT" in (vendor / "chart.LICENSE.md").read_text()
    assert b"</script" not in content and b"<!--" not in content
