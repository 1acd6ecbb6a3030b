"""Photographs that viewers rotate: labels made on what is seen fit what is trained on, tiles included."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.data.formats import label_files as files

from maskrcnn.data.prepare.prepare import PrepareOptions, prepare
from maskrcnn.data.prepare.writer import TileOptions
from maskrcnn.data.sources.coco import CocoSource
from maskrcnn.data.sources.report import Reason


def rotated_photograph(path: Path, orientation: int) -> np.ndarray:
    """Writes a JPEG of 80 x 60 stored pixels with an EXIF orientation; returns it as viewers show it, BGR."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = cv2.resize(np.random.default_rng(3).integers(0, 256, (6, 8, 3), np.uint8), (80, 60))
    data = cv2.imencode(".jpg", pixels)[1].tobytes()
    tiff = (
        b"MM\x00\x2a\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01" + bytes([0, orientation, 0, 0]) + bytes(4)
    )
    segment = b"Exif\x00\x00" + tiff
    path.write_bytes(data[:2] + b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big") + segment + data[2:])
    return cv2.imread(str(path))  # applies the orientation


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_labels_without_sizes_are_those_of_the_image_as_shown(orientation: int, tmp_path: Path):
    shown = rotated_photograph(tmp_path / "in" / "images" / "a.jpg", orientation)
    files.write_text(tmp_path / "in" / "labels" / "a.txt", "0 0.5 0.25 0.5 0.1\n")
    files.write_text(tmp_path / "in" / "classes.txt", "cat\n")
    prepared = prepare([tmp_path / "in"], tmp_path / "out", PrepareOptions(val=0))
    assert prepared.skipped[Reason.EXIF_APPLIED] == 1
    source = CocoSource(tmp_path / "out" / "annotations" / "instances_train2017.json", tmp_path / "out" / "train2017")
    sample, _ = source.load(0)
    height, width = shown.shape[:2]
    assert (sample.height, sample.width, sample.orientation) == (height, width, orientation)
    assert np.allclose(sample.boxes, [[0.25 * width, 0.2 * height, 0.75 * width, 0.3 * height]], atol=1e-2)


@pytest.mark.parametrize("orientation", [3, 6])
def test_tiles_are_cut_from_the_image_as_shown(orientation: int, tmp_path: Path):
    shown = rotated_photograph(tmp_path / "in" / "images" / "a.jpg", orientation)
    files.write_text(tmp_path / "in" / "labels" / "a.txt", "0 0.5 0.5 0.5 0.5\n")
    files.write_text(tmp_path / "in" / "classes.txt", "cat\n")
    prepare([tmp_path / "in"], tmp_path / "out", PrepareOptions(val=0, tiles=TileOptions(64, 0.2, 0.25)))
    content = json.loads((tmp_path / "out" / "annotations" / "instances_train2017.json").read_text())
    assert len(content["images"]) == 2
    for image in content["images"]:
        tile = cv2.imread(str(tmp_path / "out" / "train2017" / image["file_name"])).astype(int)
        left, top = image["tile_left"], image["tile_top"]
        expected = shown[top : top + image["height"], left : left + image["width"]].astype(int)
        assert np.abs(tile - expected).mean() < 2  # JPEG again
