"""The app's command line: results, interruptions and every kind of failure, run under sanitizers with stand-ins."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from tests.ascend310_infer.samples import write_data, write_stand_in


class App:
    def __init__(self, program: Path, folder: Path) -> None:
        self.program = program
        self.output = folder / "out"
        self.model = write_stand_in(folder / "model", ".om")
        self.images, self.annotations = write_data(folder / "data")

    def command(self, *extra: object, **options: object) -> list[str]:
        """The usual command line with ``options`` in place of the usual ones; None leaves one out."""
        usual = {
            "model": self.model,
            "image_dir": self.images,
            "ann_file": self.annotations,
            "output": self.output,
            **options,
        }
        pairs = [(f"--{name}", str(value)) for name, value in usual.items() if value is not None]
        return [str(self.program), *(text for pair in pairs for text in pair), *map(str, extra)]

    def run(self, *extra: object, fail: str = "", **options: object) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "FAKE_FAIL": fail}
        return subprocess.run(
            self.command(*extra, **options), env=environment, capture_output=True, text=True, timeout=60
        )

    def error(self, *extra: object, fail: str = "", **options: object) -> str:
        """The one line of a run that fails, after any warnings."""
        result = self.run(*extra, fail=fail, **options)
        assert result.returncode == 2, result.stdout + result.stderr
        lines = [line for line in result.stderr.splitlines() if not line.startswith("warning: ")]
        assert len(lines) == 1, result.stderr
        assert lines[0].startswith("error: ")
        assert not (self.output / "bbox.json").exists()
        assert not (self.output / "segm.json").exists()
        return lines[0]

    def read(self, name: str) -> Any:
        return json.loads((self.output / name).read_text())


@pytest.fixture
def app(checked_build: Path, tmp_path: Path) -> App:
    return App(checked_build / "maskrcnn_infer", tmp_path)


def test_results_and_timing(app: App) -> None:
    result = app.run()
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert sorted(path.name for path in app.output.iterdir()) == ["bbox.json", "segm.json", "timing.json"]
    bbox, segm = app.read("bbox.json"), app.read("segm.json")
    assert [record["image_id"] for record in bbox] == [1001, 1002, 1003, 1004, 1005, 1006]
    assert all(record["category_id"] == 3 for record in bbox)  # "cat" in the annotations, not 1 as in the metadata
    assert bbox[0]["bbox"] == pytest.approx([0, 0, 150, 101], abs=1e-4)
    assert bbox[2]["bbox"] == pytest.approx([0, 0, 90, 120], abs=1e-4)
    assert segm[2]["segmentation"]["size"] == [120, 90]
    timing = app.read("timing.json")
    assert timing["complete"] and timing["images"] == timing["images_to_do"] == 6
    assert timing["engine"] == "AscendCL, AscendFake, device 0"
    for step in ("decode", "network", "postprocess"):
        assert timing[step]["count"] == 6
        assert 0 <= timing[step]["median_seconds"] <= timing[step]["longest_seconds"] <= timing[step]["total_seconds"]
    assert timing["images_per_second"] == pytest.approx(6 / timing["elapsed_seconds"], rel=0.01)


def test_mindspore_lite_gives_the_same_records(app: App, tmp_path: Path) -> None:
    assert app.run().returncode == 0
    acl = app.read("bbox.json"), app.read("segm.json")
    result = app.run(model=write_stand_in(tmp_path / "lite", ".mindir"), device_target="CPU")
    assert result.returncode == 0, result.stderr
    assert "MindSpore Lite, CPU" in result.stdout
    assert (app.read("bbox.json"), app.read("segm.json")) == acl


def test_a_class_that_the_annotations_lack_is_left_out(app: App) -> None:
    """What the stand-in finds is of the class 'cat'."""
    annotations = json.loads(app.annotations.read_text())
    annotations["categories"][0]["name"] = "cow"
    app.annotations.write_text(json.dumps(annotations))
    result = app.run()
    assert result.returncode == 0
    assert result.stderr.splitlines() == [
        f"warning: {app.annotations} has no category 'cat': what is found of it is left out"
    ]
    assert app.read("bbox.json") == app.read("segm.json") == []


def test_ids_that_are_no_integers(app: App) -> None:
    annotations = json.loads(app.annotations.read_text())
    annotations["images"][0]["id"], annotations["categories"][0]["id"] = "a/1001", "c3"
    app.annotations.write_text(json.dumps(annotations))
    assert app.run().returncode == 0
    first = app.read("segm.json")[0]
    assert (first["image_id"], first["category_id"]) == ("a/1001", "c3")


def test_a_folder_without_annotations_is_numbered(app: App) -> None:
    assert app.run(ann_file=None).returncode == 0
    images = app.read("images.json")["images"]
    assert [image["id"] for image in images] == [1, 2, 3, 4, 5, 6]
    assert images[2] == {"id": 3, "file_name": "3.jpg", "height": 120, "width": 90}
    assert {record["category_id"] for record in app.read("bbox.json")} == {1}


def test_only_the_images_asked_for(app: App) -> None:
    assert app.run(eval_images=2).returncode == 0
    assert [record["image_id"] for record in app.read("bbox.json")] == [1001, 1002]


def test_images_that_cannot_be_read_are_reported_and_counted(app: App) -> None:
    (app.images / "2.jpg").write_bytes((app.images / "2.jpg").read_bytes()[:900])
    (app.images / "4.jpg").unlink()
    cv2.imwrite(str(app.images / "5.jpg"), np.zeros((3, 4, 3), np.uint8))
    result = app.run()
    assert result.returncode == 0
    warnings = result.stderr.splitlines()
    assert len(warnings) == 3
    assert "2.jpg: the image cannot be decoded" in warnings[0]
    assert "4.jpg: the image file cannot be read (No such file" in warnings[1]
    assert "5.jpg: the image is 4x3 pixels, but the annotations say 150x105" in warnings[2]
    assert "3 images, 3 left out" in result.stdout
    timing = app.read("timing.json")
    assert timing["images"] == timing["images_left_out"] == len(timing["left_out"]) == 3
    assert len(app.read("bbox.json")) == 3


def test_a_strict_run_stops_at_the_first_of_them(app: App) -> None:
    (app.images / "2.jpg").unlink()
    assert "2.jpg: the image file cannot be read" in app.error("--strict")


def test_no_image_that_can_be_read_is_an_error(app: App) -> None:
    for path in app.images.iterdir():
        path.write_bytes(b"")
    error = app.error()
    assert "none of the 6 images" in error and "1.jpg: the image file is empty" in error
    assert not app.read("timing.json")["complete"]


@pytest.mark.parametrize("engine_call", ["aclmdlLoadFromFile", "aclmdlExecute"])
def test_engine_errors_have_the_vendors_message(app: App, engine_call: str) -> None:
    error = app.error(fail=engine_call)
    assert f"the engine acl failed with {app.model}: {engine_call} gave error 507899: EZ9999" in error


def test_a_failed_run_leaves_older_results_alone(app: App) -> None:
    assert app.run(eval_images=2).returncode == 0
    older = (app.output / "bbox.json").read_text()
    result = app.run(fail="aclmdlExecute")
    assert result.returncode == 2
    assert (app.output / "bbox.json").read_text() == older
    assert app.read("bbox.partial.json") == []
    assert app.run().returncode == 0
    assert len(app.read("bbox.json")) == 6
    assert not (app.output / "bbox.partial.json").exists()


def test_wrong_options_are_one_clear_line(app: App, tmp_path: Path) -> None:
    assert "--image_dir is required" in app.error(image_dir=None)
    assert "there is no engine 'gpu'" in app.error(engine="gpu")
    assert "--device_target" in app.error(device_target="TPU")
    assert "--threads" in app.error(threads="many")
    assert "no image folder" in app.error(image_dir=tmp_path / "none")
    assert "no annotation file" in app.error(ann_file=tmp_path / "none.json")
    assert "no model file" in app.error(model=tmp_path / "none.om")
    assert "aclrtSetDevice gave" in app.error(device_id=9)
    (tmp_path / "file").write_text("")
    assert "choose another --output" in app.error(output=tmp_path / "file" / "out")
    annotations = json.loads(app.annotations.read_text())
    annotations["categories"] = [{"id": 3, "name": "cow"}]
    app.annotations.write_text(json.dumps(annotations))
    assert "has none of the model's classes, the first of which is 'cat'" in app.error()
    (app.model.parent / "net.json").unlink()
    assert "net.json is missing" in app.error()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_keeps_what_it_has_under_another_name(app: App, number: int) -> None:
    environment = {**os.environ, "FAKE_DELAY": "300"}
    process = subprocess.Popen(
        app.command(), env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    partial = app.output / "segm.partial.json"
    started = time.monotonic()
    while not partial.exists():  # the handlers are in place soon after the result files are opened
        assert time.monotonic() - started < 30
        time.sleep(0.01)
    time.sleep(0.5)
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    (line,) = errors.splitlines()
    assert line.startswith("error: interrupted after ")
    timing = app.read("timing.json")
    assert not timing["complete"]
    assert 1 <= timing["images"] < 6
    assert len(app.read("bbox.partial.json")) == len(app.read("segm.partial.json")) == timing["images"]
    assert not (app.output / "bbox.json").exists()
    assert not (app.output / "segm.json").exists()


def test_help_names_the_engines(app: App) -> None:
    result = subprocess.run([app.program, "--help"], capture_output=True, text=True)
    assert result.returncode == 0
    assert "Engines in this build: lite, acl" in result.stdout
