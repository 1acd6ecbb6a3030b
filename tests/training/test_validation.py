"""Evaluation data of a run: what cannot work is said when the run starts, what is legal is not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.evaluation.oracle import draw_data_set

from maskrcnn.config import Config
from maskrcnn.data.sources.classes import ClassList
from maskrcnn.distributed.process_group import ProcessGroup
from maskrcnn.errors import DataError, EvaluationError
from maskrcnn.training.validation import Validation


def validate(folder: Path, *names: str, **keys: object) -> Validation:
    cfg = Config(ann_file=str(folder / "annotations.json"), image_dir=str(folder / "images"), **keys)
    return Validation(cfg, ClassList.from_names(names), ProcessGroup())


def test_classes_that_the_evaluation_data_lack_are_legal(tmp_path) -> None:
    draw_data_set(tmp_path)
    validate(tmp_path, "star", "ring", "ellipse")


def test_what_cannot_be_evaluated_is_said_before_training(tmp_path) -> None:
    ann_file = draw_data_set(tmp_path)
    with pytest.raises(DataError, match="has none of the run's classes"):
        validate(tmp_path, "star", "disc")
    with pytest.raises(EvaluationError, match="no object of the run's 1 classes"):
        validate(tmp_path, "spare")
    content = json.loads(ann_file.read_text())
    content["annotations"][0]["bbox"] = None
    ann_file.write_text(json.dumps(content))
    validate(tmp_path, "ring", "ellipse")
    with pytest.raises(DataError, match="strict is on"):
        validate(tmp_path, "ring", "ellipse", strict=True)
    content["annotations"] = []
    ann_file.write_text(json.dumps(content))
    with pytest.raises(DataError, match="nothing to evaluate against"):
        validate(tmp_path, "ring", "ellipse")
