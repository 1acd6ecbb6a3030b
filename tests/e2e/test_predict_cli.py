"""predict.py as a user runs it, with a model that needs no MindSpore: strange names, strange consoles, broken files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.inference.test_exported import write_constant_model

from maskrcnn.config import Config
from maskrcnn.export.metadata import ModelFile, describe
from maskrcnn.files import sha256

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def model(tmp_path) -> Path:
    """An export that finds one object of the class 猫 in every image."""
    path = tmp_path / "model" / "net.onnx"
    path.parent.mkdir()
    write_constant_model(path, 64, 128, 0.75)
    made = describe(Config(img_width=128, img_height=64), ("собака", "猫"), (1, 2), path, 13)
    replace(made, models=(ModelFile(path.name, 64, 128, 1, sha256(path)),)).write(path.with_suffix(".json"))
    return path


def call(folder: Path, *arguments: object, **variables: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / "predict.py"), *map(str, arguments)]
    environment = {**os.environ, **variables}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, timeout=120, check=False)


def photograph(path: Path) -> None:
    path.write_bytes(cv2.imencode(".png", np.full((64, 128, 3), 90, np.uint8))[1].tobytes())


CONSOLES = [{}, {"LC_ALL": "C"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}]


@pytest.mark.parametrize("console", [*CONSOLES, {"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "latin-1"}])
def test_names_that_are_no_utf8_and_classes_of_any_script(tmp_path, model, console: dict[str, str]) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    strange = os.fsencode(photos) + b"/caf\xe9.png"
    try:
        photograph(Path(os.fsdecode(strange)))
    except OSError:
        pytest.skip("this file system wants UTF-8")
    photograph(photos / "photo.png")
    (photos / "broken.jpg").write_bytes(b"no image")
    (photos / os.fsdecode(b"broken \xff.jpg")).write_bytes(b"no image")
    done = call(tmp_path, "photos", "--model", model, **console)
    assert done.returncode == 0, done.stderr
    assert b"2 detections in 2 images, written to predictions" in done.stdout and b"2 images left out:" in done.stdout
    images = json.loads((tmp_path / "predictions" / "predictions.json").read_text(encoding="utf-8"))["images"]
    assert {detection["class"] for image in images for detection in image["detections"]} == {"猫"}
    assert all(os.path.isfile(tmp_path / "predictions" / image["picture"]) for image in images)
    assert len(os.listdir(tmp_path / "predictions")) == 3


def test_exit_codes_and_lines(tmp_path, model) -> None:
    (tmp_path / "broken.webp").write_bytes(b"RIFF")
    done = call(tmp_path, "broken.webp", "--model", model)
    assert done.returncode == 2
    last = done.stderr.decode().splitlines()[-1]
    assert last.startswith("error: none of the 1 images could be read; the first: broken.webp: ")
    photograph(tmp_path / "photo.png")
    done = call(tmp_path, "broken.webp", "photo.png", "--model", model)
    assert done.returncode == 0 and b"1 image left out:\n  broken.webp: " in done.stdout
    model.with_suffix(".json").write_text("[" * 100_000)
    done = call(tmp_path, "photo.png", "--model", model)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and b"export it again" in done.stderr
