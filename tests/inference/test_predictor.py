"""Images and folders in, pictures and JSON out."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from tests.data.exif import with_orientation
from tests.evaluation.oracle import Oracle, draw_data_set, nothing

from maskrcnn.errors import DataError
from maskrcnn.inference.pipeline import InferenceSettings
from maskrcnn.inference.predictor import find_images, predict

SMALL = {"img_height": 128, "img_width": 192}


def settings(**others) -> InferenceSettings:
    return InferenceSettings(**SMALL, **others)


NAMES = ["ring", "ellipse", "spare"]


def test_predicts_files_and_folders(tmp_path) -> None:
    ann_file = draw_data_set(tmp_path, images=5)
    folder = tmp_path / "images"
    content = json.loads(ann_file.read_text())
    oracle = Oracle(content, folder, **SMALL)
    (folder / "broken.jpg").write_bytes(b"x")
    out = tmp_path / "out"
    prediction = predict(oracle, [folder / "picture_3.png", folder], NAMES, out, settings(batch_size=2), progress=False)
    written = json.loads((out / "predictions.json").read_text())["images"]
    assert written == prediction.images and len(written) == 5
    assert [item.path.name for item in prediction.skipped] == ["broken.jpg"]
    assert written[0]["file"].endswith("picture_3.png")  # once, though named twice
    truth = {image["file_name"]: image for image in content["images"]}
    for entry in written:
        image = truth[entry["file"].rsplit("/", 1)[1]]
        assert (entry["height"], entry["width"]) == (image["height"], image["width"])
        own = [a for a in content["annotations"] if a["image_id"] == image["id"] and not a["iscrowd"]]
        assert len(entry["detections"]) == len(own)
        first = entry["detections"][0]
        assert set(first) == {"class", "category_id", "score", "bbox", "segmentation"}
        assert first["class"] == {7: "ellipse", 3: "ring"}[own[0]["category_id"]]
        assert first["category_id"] == NAMES.index(first["class"]) + 1
        assert first["bbox"] == pytest.approx(own[0]["bbox"], abs=1e-4)
        assert cv2.imread(str(out / entry["picture"])) is not None
    with pytest.raises(DataError, match=r"broken\.jpg"):
        predict(oracle, [folder], NAMES, out, settings(strict=True), progress=False)


def test_finds_images_and_names_their_pictures_apart(tmp_path) -> None:
    for name in ("a/x.png", "a/x.jpg", "a/deep/x.JPG", "b/x.jpg", "a/notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    found = find_images([tmp_path / "a", tmp_path / "b" / "x.jpg"])
    assert [(file.relative_to(tmp_path).as_posix(), name.as_posix()) for file, name in found] == [
        ("a/deep/x.JPG", "deep/x.jpg"), ("a/x.jpg", "x.jpg"), ("a/x.png", "x_2.jpg"), ("b/x.jpg", "x_3.jpg"),
    ]  # fmt: skip
    with pytest.raises(DataError, match="no file or folder"):
        find_images([tmp_path / "missing"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no image"):
        find_images([tmp_path / "empty"])


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_photographs_are_looked_at_as_viewers_show_them(tmp_path, orientation) -> None:
    """A picture stored turned, with the EXIF orientation that turns it back, is found as the upright picture is."""
    ann_file = draw_data_set(tmp_path, images=1)
    content = json.loads(ann_file.read_text())
    image = content["images"][0]
    upright = cv2.imread(str(tmp_path / "images" / image["file_name"]))
    turns = {3: cv2.ROTATE_180, 6: cv2.ROTATE_90_COUNTERCLOCKWISE, 8: cv2.ROTATE_90_CLOCKWISE}
    stored = cv2.rotate(upright, turns[orientation]) if orientation > 1 else upright
    (tmp_path / "photo.jpg").write_bytes(with_orientation(stored[..., ::-1], orientation))
    seen = []

    def watch(image, image_shape):
        height, width = image_shape[0].astype(int)
        seen.append(image[0, :height, :width])
        return nothing(image, image_shape)

    out = tmp_path / "out"
    short, long = sorted((image["height"], image["width"]))
    whole = InferenceSettings(img_height=short, img_width=long)
    prediction = predict(watch, [tmp_path / "photo.jpg"], NAMES, out, whole, progress=False)
    (entry,) = prediction.images
    assert (entry["height"], entry["width"]) == (image["height"], image["width"])
    drawn = cv2.imread(str(out / entry["picture"])).shape
    assert drawn[0] * upright.shape[1] == drawn[1] * upright.shape[0]  # small pictures are drawn larger
    difference = np.abs(seen[0].astype(int) - upright[..., ::-1])
    assert difference.mean() < 2  # of JPEG at its best quality
    predict(watch, [tmp_path / "photo.jpg"], NAMES, out, whole, apply_exif=False, progress=False)
    difference = np.abs(seen[1].astype(int) - cv2.resize(stored, seen[1].shape[1::-1])[..., ::-1])
    assert difference.mean() < 2
