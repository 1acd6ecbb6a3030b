"""What a training run has left in its log folder, as curves."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from maskrcnn.errors import EvaluationError

LOG = "metrics.jsonl"
INFO = "run.json"
MOST_POINTS = 400  # of a curve; neighbours are averaged
_POSITION = ("epoch", "step", "global_step")


def read_run(folder: Path, name: str = "") -> dict[str, Any]:
    """Reads the curves of a run.

    Args:
        folder: Where metrics.jsonl lies, itself or in ``log``.
        name: What the page calls the run; by default the folder's name.

    Returns:
        ``name``; ``curves``, a list of [step, value] for each figure that was logged; ``evaluations``, the figures of
        each evaluation with its epoch; ``steps`` and ``epochs`` done; ``config`` and ``versions`` of run.json, if any.

    Raises:
        EvaluationError: There is no log, or a line of it is damaged.
    """
    folder = Path(folder)
    file = find_log(folder)
    if file is None:
        raise EvaluationError(f"{folder} holds no run: there is no {LOG} in it, nor in {folder / 'log'}")
    records = _read_lines(file)
    training = [record for record in records if "total_loss" in record]
    evaluations = [record for record in records if "bbox_ap" in record]
    points: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for record in training:
        for key, value in record.items():
            if key not in _POSITION and isinstance(value, (int, float)) and math.isfinite(value):
                points[key].append((record["global_step"], value))
    info = _read_info(file.with_name(INFO))
    return {
        "name": name or folder.resolve().name,
        "curves": {key: thinned(of_key) for key, of_key in points.items()},
        "evaluations": evaluations,
        "steps": max((record["global_step"] for record in records), default=0),
        "epochs": max((record.get("epoch", 0) for record in records), default=0),
        "config": info.get("config", {}),
        "versions": info.get("versions", {}),
    }


def find_log(folder: Path) -> Path | None:
    """Returns the metrics.jsonl of a run, in its folder or in ``log``; None if there is none."""
    return next((path for path in (folder / LOG, folder / "log" / LOG) if path.is_file()), None)


def thinned(points: Sequence[tuple[int, float]], most: int = MOST_POINTS) -> list[list[float]]:
    """Averages neighbours, as many as it takes to leave at most ``most`` points; a point's step is that of its last."""
    group = -(-len(points) // most) if points else 1
    groups = [points[start : start + group] for start in range(0, len(points), group)]
    return [[part[-1][0], float(f"{sum(value for _, value in part) / len(part):.5g}")] for part in groups]


def differing_settings(runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the settings in which runs differ: a key, and its value in each run, None where it is not known."""
    keys = sorted({key for run in runs for key in run["config"]})
    rows = ({"key": key, "values": [run["config"].get(key) for run in runs]} for key in keys)
    return [row for row in rows if any(value != row["values"][0] for value in row["values"])]


def _read_lines(file: Path) -> list[dict[str, Any]]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise EvaluationError(f"cannot read {file}: {getattr(error, 'strerror', None) or error}") from error
    records = []
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
            record["global_step"] + 0
        except (ValueError, TypeError, KeyError):
            if number == len(lines):  # a run that is still writing, or was killed
                break
            raise EvaluationError(f"{file}: line {number} is no record of a training run") from None
        records.append(record)
    if not records:
        raise EvaluationError(f"{file} is empty: the run has not logged a step yet")
    return records


def _read_info(file: Path) -> dict[str, Any]:
    """Content of run.json, which older runs lack."""
    if not file.is_file():
        return {}
    try:
        info = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EvaluationError(f"cannot read {file}: {error}") from error
    return info if isinstance(info, dict) else {}
