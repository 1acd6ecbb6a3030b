"""Images and folders in, pictures and JSON out, and every image its own fate."""

from __future__ import annotations

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from tests.data.exif import FORMATS, with_orientation
from tests.evaluation.oracle import Oracle, draw_data_set, nothing, settings

from maskrcnn.errors import DataError
from maskrcnn.inference.open import OpenedModel
from maskrcnn.inference.predictor import PredictionOptions, find_images, predict
from maskrcnn.inference.results import Detections
from maskrcnn.inference.visualize import is_own_picture

NAMES = ("ring", "ellipse", "spare")


def model(detector, category_ids=None, **keys) -> OpenedModel:
    return OpenedModel(detector, NAMES, category_ids, settings(**keys))


def run(detector, paths, out, apply_exif: bool = True, **keys):
    options = PredictionOptions(out, apply_exif=apply_exif, progress=False)
    return predict(model(detector, **keys), find_images(paths), options)


def everywhere(image: np.ndarray, image_shape: np.ndarray) -> Detections:
    """A detector that finds one ring, as large as the image."""
    count = len(image)
    boxes = np.zeros((count, 1, 4), np.float32)
    boxes[:, 0, 2:] = image_shape[:, ::-1]
    ones = np.ones((count, 1))
    masks = np.ones((count, 1, 28, 28), np.float32)
    return Detections(boxes, ones.astype(np.float32), ones.astype(np.int32), ones.astype(bool), masks)


def photograph(path: Path, height: int = 60, width: int = 80, seed: int = 0) -> bytes:
    """Writes an image of noise in the format of the path's suffix; returns its bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rgb = np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)
    data = cv2.imencode(path.suffix, rgb)[1].tobytes()
    path.write_bytes(data)
    return data


def written(out: Path) -> list[dict]:
    return json.loads((out / "predictions.json").read_text(encoding="utf-8"))["images"]


def test_predicts_files_and_folders(tmp_path) -> None:
    ann_file = draw_data_set(tmp_path, images=5)
    folder = tmp_path / "images"
    content = json.loads(ann_file.read_text())
    oracle = Oracle(content, folder)
    (folder / "broken.jpg").write_bytes(b"x")
    out = tmp_path / "out"
    prediction = run(oracle, [folder / "picture_3.png", folder], out, test_batch_size=2)
    entries = written(out)
    assert entries == prediction.images and len(entries) == 5
    assert [item.path.name for item in prediction.skipped] == ["broken.jpg"] and not prediction.not_drawn
    assert entries[0]["file"].endswith("picture_3.png")  # once, though named twice
    truth = {image["file_name"]: image for image in content["images"]}
    for entry in entries:
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
        run(oracle, [folder], out, strict=True)


def test_finds_images_and_names_their_pictures_apart(tmp_path) -> None:
    files = ("a/x.png", "a/x.jpg", "a/deep/x.JPG", "b/x.jpg", "b/X.bmp")
    for file in files:
        photograph(tmp_path / file)
    (tmp_path / "a" / "notes.txt").write_text("")
    found = find_images([tmp_path / "a", tmp_path / "b" / "x.jpg", tmp_path / "b" / "X.bmp", tmp_path / "a" / "x.png"])
    assert [file.relative_to(tmp_path).as_posix() for file in found.files] == [
        "a/deep/x.JPG", "a/x.jpg", "a/x.png", "b/x.jpg", "b/X.bmp",
    ]  # fmt: skip
    options = PredictionOptions(tmp_path / "out", progress=False)
    prediction = predict(model(nothing), found, options)
    # X.jpg would be x.jpg to some file systems
    assert [e["picture"] for e in prediction.images] == ["deep/x.jpg", "x.jpg", "x_2.jpg", "x_3.jpg", "X_4.jpg"]
    with pytest.raises(DataError, match="no file or folder"):
        find_images([tmp_path / "missing"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no image"):
        find_images([tmp_path / "empty"])


def test_masks_of_an_earlier_run_are_no_photographs(tmp_path) -> None:
    photograph(tmp_path / "photo.jpg")
    for _ in range(2):
        options = PredictionOptions(tmp_path, masks=True, progress=False)
        found = find_images([tmp_path])
        assert [file.name for file in found.files] == ["photo.jpg"]
        predict(model(everywhere), found, options)
    (mask,) = (tmp_path / "masks").rglob("*.png")
    assert is_own_picture(mask) and not is_own_picture(tmp_path / "photo.jpg")
    ((found,),) = [entry["detections"] for entry in written(tmp_path)]
    with Image.open(mask) as png:  # checks the checksum of every chunk
        assert np.array_equal(np.asarray(png), coco_mask.decode(found["segmentation"]) * 255)
        assert png.text == {"Software": "drawn by maskrcnn"}


def test_labelme_files_are_never_written_over(tmp_path) -> None:
    photograph(tmp_path / "in" / "photo.jpg")
    corrected = tmp_path / "labelme" / "photo.json"
    corrected.parent.mkdir()
    corrected.write_text("by hand")
    options = PredictionOptions(tmp_path, labelme=True, progress=False)
    with pytest.raises(DataError, match=r"labelme/photo\.json is there already, .*--predict_output"):
        predict(model(everywhere), find_images([tmp_path / "in"]), options)
    assert corrected.read_text() == "by hand" and not (tmp_path / "predictions.json").exists()
    corrected.unlink()
    predict(model(everywhere), find_images([tmp_path / "in"]), options)
    assert json.loads(corrected.read_text())["shapes"]


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp", ".tiff"])
def test_photographs_are_never_written_over(tmp_path, suffix: str) -> None:
    """The pictures go into the folder of the photographs, twice."""
    content = photograph(tmp_path / f"photo{suffix}")
    other = photograph(tmp_path / "photo_2.jpg", seed=1)
    for _ in range(2):
        prediction = run(everywhere, [tmp_path], tmp_path)
        assert [Path(entry["file"]).name for entry in prediction.images] == [f"photo{suffix}", "photo_2.jpg"]
        assert (tmp_path / f"photo{suffix}").read_bytes() == content and (
            tmp_path / "photo_2.jpg"
        ).read_bytes() == other
    expected = ["photo_3.jpg", "photo_2_2.jpg"] if suffix == ".jpg" else ["photo.jpg", "photo_2_2.jpg"]
    assert [entry["picture"] for entry in prediction.images] == expected
    assert len(list(tmp_path.iterdir())) == 5


def test_photographs_that_are_no_input_are_not_written_over_either(tmp_path) -> None:
    photograph(tmp_path / "new" / "photo.png")
    old = photograph(tmp_path / "old" / "photo.jpg", seed=1)
    (entry,) = run(everywhere, [tmp_path / "new" / "photo.png"], tmp_path / "old").images
    assert entry["picture"] == "photo_2.jpg" and (tmp_path / "old" / "photo.jpg").read_bytes() == old


def test_own_pictures_are_not_looked_at_again(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    photograph(tmp_path / "sub" / "photo.jpg")
    for _ in range(3):  # ``predict.py .`` with its output in a folder of it
        found = find_images(["."])
        assert [file.as_posix() for file in found.files] == ["sub/photo.jpg"]
        predict(model(everywhere), found, PredictionOptions("predictions", progress=False))
    assert found.own_pictures == 1 and (tmp_path / "predictions" / "sub" / "photo.jpg").is_file()
    (tmp_path / "predictions").rename(tmp_path / "kept")  # and wherever they are moved to
    assert find_images(["."]).own_pictures == 1
    with pytest.raises(DataError, match="holds no image but 1 pictures of earlier runs"):
        find_images(["kept"])
    assert find_images(["kept/sub/photo.jpg"]).files == [Path("kept/sub/photo.jpg")]  # named, it is wanted
    before = (tmp_path / "kept" / "sub" / "photo.jpg").read_bytes()
    run(everywhere, ["kept/sub/photo.jpg"], "kept/sub")
    assert (tmp_path / "kept" / "sub" / "photo.jpg").read_bytes() == before


def test_a_name_that_is_no_utf8(tmp_path) -> None:
    strange = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9 \xff.jpg"))
    try:
        photograph(strange)
    except OSError:
        pytest.skip("this file system wants UTF-8")
    photograph(tmp_path / "猫.jpg")
    prediction = run(everywhere, [tmp_path], tmp_path / "out")
    assert {entry["file"] for entry in written(tmp_path / "out")} == {str(strange), str(tmp_path / "猫.jpg")}
    assert not prediction.skipped and not prediction.not_drawn
    for entry in written(tmp_path / "out"):
        assert (tmp_path / "out" / entry["picture"]).is_file()


def test_an_image_that_cannot_be_drawn(tmp_path, monkeypatch) -> None:
    """The predictions are there before pictures are drawn, and stay whatever happens to one of those."""
    for number in range(4):
        photograph(tmp_path / f"{number}.png")
    out = tmp_path / "out"
    (out / "2.jpg").mkdir(parents=True)  # its picture gets another name
    from maskrcnn.inference import predictor

    def fail(path, rgb):
        assert len(written(out)) == 4
        if path.name == "0.jpg":
            raise MemoryError
        if path.name == "1.jpg":
            (tmp_path / "3.png").unlink()  # gone before it could be drawn
        save(path, rgb)

    save = predictor.save_picture
    monkeypatch.setattr(predictor, "save_picture", fail)
    prediction = run(everywhere, [tmp_path], out, num_parallel_workers=1)
    assert [item.path.name for item in prediction.not_drawn] == ["0.png", "3.png"]
    assert "not enough memory" in prediction.not_drawn[0].reason and "missing" in prediction.not_drawn[1].reason
    assert [entry["picture"] for entry in written(out)] == [None, "1.jpg", "2_2.jpg", None]
    assert all(len(entry["detections"]) == 1 for entry in written(out))


def test_an_image_of_66000_pixels(tmp_path) -> None:
    photograph(tmp_path / "wide.png", 4, 66000)
    photograph(tmp_path / "photo.jpg")
    prediction = run(everywhere, [tmp_path], tmp_path / "out")
    assert [Path(entry["file"]).name for entry in prediction.images] == ["photo.jpg", "wide.png"]
    assert not prediction.not_drawn and prediction.images[1]["width"] == 66000
    assert cv2.imread(str(tmp_path / "out" / "wide.jpg")).shape[1] == 32000


def test_nothing_that_could_be_read(tmp_path) -> None:
    for name in ("a.jpg", "b.webp"):
        (tmp_path / name).write_bytes(b"RIFF no image")
    with pytest.raises(DataError, match=r"none of the 2 images could be read; the first: .*a\.jpg: "):
        run(everywhere, [tmp_path], tmp_path / "out")
    assert not (tmp_path / "out").exists()


# What to do to an upright picture so that a viewer shows the stored one upright again (Exif 2.3, section 4.6.4).
STORED = {
    1: lambda rgb: rgb,
    2: lambda rgb: rgb[:, ::-1],
    3: lambda rgb: rgb[::-1, ::-1],
    4: lambda rgb: rgb[::-1],
    5: lambda rgb: rgb.swapaxes(0, 1),
    6: lambda rgb: np.rot90(rgb),
    7: lambda rgb: rgb[::-1, ::-1].swapaxes(0, 1),
    8: lambda rgb: np.rot90(rgb, -1),
}


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("orientation", STORED)
def test_photographs_are_looked_at_as_viewers_show_them(tmp_path, orientation: int, suffix: str) -> None:
    coarse = np.random.default_rng(0).integers(0, 255, (4, 6, 3), np.uint8)
    upright = cv2.resize(coarse, (192, 128), interpolation=cv2.INTER_CUBIC)
    stored = np.ascontiguousarray(STORED[orientation](upright))
    photo = tmp_path / f"photo{suffix}"
    photo.write_bytes(with_orientation(stored, orientation, suffix))
    seen = []

    def watch(image, image_shape):
        height, width = image_shape[0].astype(int)
        seen.append(image[0, :height, :width])
        return everywhere(image, image_shape)

    (entry,) = run(watch, [photo], tmp_path / "out").images
    assert (entry["height"], entry["width"]) == (128, 192) == seen[0].shape[:2]
    assert np.abs(seen[0].astype(int) - upright).mean() < 3  # of JPEG
    drawn = cv2.imread(str(tmp_path / "out" / entry["picture"])).shape
    assert drawn[0] * 192 == drawn[1] * 128
    run(watch, [photo], tmp_path / "as stored", apply_exif=False)
    assert np.abs(seen[1].astype(int) - stored).mean() < 3
