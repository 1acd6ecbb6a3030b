"""What is read of a run's log, and what cannot be read of it."""

from __future__ import annotations

import json

import pytest

from maskrcnn.errors import EvaluationError
from maskrcnn.report.runs import MOST_POINTS, differing_settings, read_run, thinned


def step(n: int, **extra) -> dict:
    losses = {"rpn_loss": 2 / n, "total_loss": 3 / n}
    return {"epoch": 1 + n // 100, "step": n % 100, "global_step": n, **losses, "lr": 0.1, **extra}


def written(folder, records, rest: str = "") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(record) + "\n" for record in records)
    (folder / "metrics.jsonl").write_text(lines + rest)


def test_curves_and_evaluations(tmp_path) -> None:
    evaluation = {"epoch": 1, "global_step": 100, "bbox_ap": 0.5, "segm_ap": 0.4, "bbox_ap50": 0.7, "segm_ap50": 0.6}
    records = [step(n) for n in range(1, 101)] + [evaluation] + [step(n, lr=float("nan")) for n in (101, 102)]
    written(tmp_path / "log", records)
    (tmp_path / "log" / "run.json").write_text(json.dumps({"config": {"seed": 1}, "versions": {"maskrcnn": "1"}}))
    run = read_run(tmp_path)  # the folder of the run is as good as that of its log
    assert run["name"] == tmp_path.name and run["steps"] == 102 and run["epochs"] == 2
    assert run["curves"]["rpn_loss"][0] == [1, 2.0] and len(run["curves"]["rpn_loss"]) == 102
    assert len(run["curves"]["lr"]) == 100  # what is not finite cannot be drawn
    assert set(run["curves"]) == {"rpn_loss", "total_loss", "lr"}
    assert run["evaluations"] == [evaluation] and run["config"] == {"seed": 1}


def test_neighbours_are_averaged() -> None:
    points = [(n, float(n)) for n in range(1, 10 * MOST_POINTS + 1)]
    few = thinned(points)
    assert len(few) == MOST_POINTS and few[0] == [10, 5.5] and few[-1][0] == 10 * MOST_POINTS
    assert thinned([]) == [] and thinned([(3, 0.5)]) == [[3, 0.5]]
    assert len(thinned(points[: MOST_POINTS + 1])) <= MOST_POINTS


def test_a_run_that_is_still_writing_is_read_up_to_there(tmp_path) -> None:
    written(tmp_path, [step(1), step(2)], '{"epoch": 1, "glob')
    assert read_run(tmp_path)["steps"] == 2


@pytest.mark.parametrize(
    "content, message",
    [
        (None, "holds no run: there is no metrics.jsonl in it"),
        ("", "is empty: the run has not logged a step yet"),
        (
            '{"global_step": 1, "total_loss": 1}\nnonsense\n{"global_step": 2}\n',
            "line 2 is no record of a training run",
        ),
        ('[1]\n{"global_step": 2}\n', "line 1 is no record of a training run"),
    ],
)
def test_what_is_no_run(tmp_path, content, message) -> None:
    if content is not None:
        (tmp_path / "metrics.jsonl").write_text(content)
    with pytest.raises(EvaluationError, match=message):
        read_run(tmp_path)


def test_only_settings_that_differ() -> None:
    runs = [{"config": {"seed": 1, "lr": 0.1, "norm": "gn"}}, {"config": {"seed": 2, "lr": 0.1}}]
    assert differing_settings(runs) == [{"key": "norm", "values": ["gn", None]}, {"key": "seed", "values": [1, 2]}]
    assert differing_settings([{"config": {}}, {"config": {}}]) == []
