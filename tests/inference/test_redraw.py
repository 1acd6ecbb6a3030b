"""Predictions drawn again: the pictures of the objects, and no network."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.inference.test_predictor import everywhere, photograph, run

from maskrcnn.commands.predict import main
from maskrcnn.errors import DataError
from maskrcnn.inference.redraw import redraw


def test_the_same_pictures_come_out(tmp_path: Path):
    for name in ("a.png", "b.jpg"):
        photograph(tmp_path / "in" / name)
    run(everywhere, [tmp_path / "in"], tmp_path / "out")
    main(["--redraw", str(tmp_path / "out" / "predictions.json"), "--predict_output", str(tmp_path / "again")])
    pictures = sorted((tmp_path / "out").glob("*.jpg"))
    assert len(pictures) == 2
    for picture in pictures:
        assert np.array_equal(cv2.imread(str(picture)), cv2.imread(str(tmp_path / "again" / picture.name)))


def test_a_missing_image_is_named_and_a_file_of_something_else_refused(tmp_path: Path):
    for name in ("a.png", "b.png"):
        photograph(tmp_path / "in" / name)
    run(everywhere, [tmp_path / "in"], tmp_path / "out")
    (tmp_path / "in" / "a.png").unlink()
    (failed,) = redraw(tmp_path / "out" / "predictions.json", tmp_path / "again", 0.5)
    assert failed.path.name == "a.png" and "missing" in failed.reason
    (tmp_path / "in" / "b.png").unlink()
    with pytest.raises(DataError, match="none of the 2 images"):
        redraw(tmp_path / "out" / "predictions.json", tmp_path / "again", 0.5)
    for text in ("", "[]", "{", json.dumps({"images": [{"file": 5}]}), json.dumps({"images": [5]})):
        (tmp_path / "x.json").write_text(text)
        with pytest.raises(DataError, match=r"x\.json is no file of predictions") as error:
            redraw(tmp_path / "x.json", tmp_path / "again", 0.5)
        assert "\n" not in str(error.value)


def test_photographs_are_never_written_over(tmp_path: Path):
    before = photograph(tmp_path / "in" / "a.jpg")
    run(everywhere, [tmp_path / "in"], tmp_path / "out")
    for _ in range(2):
        assert not redraw(tmp_path / "out" / "predictions.json", tmp_path / "in", 0.5)
        assert sorted(file.name for file in (tmp_path / "in").iterdir()) == ["a.jpg", "a_2.jpg"]
    assert (tmp_path / "in" / "a.jpg").read_bytes() == before


@pytest.mark.parametrize("picture", ["../a.jpg", "/a.jpg", "sub/../../a.jpg", None])
def test_nothing_leads_out_of_the_folder(tmp_path: Path, picture: str | None):
    photograph(tmp_path / "in" / "a.jpg")
    run(everywhere, [tmp_path / "in"], tmp_path / "out")
    file = tmp_path / "out" / "predictions.json"
    content = json.loads(file.read_text())
    content["images"][0]["picture"] = picture
    file.write_text(json.dumps(content))
    assert not redraw(file, tmp_path / "x" / "again", 0.5)
    assert [found.relative_to(tmp_path / "x").as_posix() for found in (tmp_path / "x").rglob("*.jpg")] == [
        "again/a.jpg"
    ]
