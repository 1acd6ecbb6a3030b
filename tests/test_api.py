"""The Python interface: every kind of image gives what the file gives, results in every form say the same."""

from __future__ import annotations

import base64
import itertools
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask
from tests.conftest import ROOT
from tests.evaluation.oracle import Oracle, annotation_bitmap, draw_data_set, settings
from tests.export.networks import SMALL, small_config, small_network

import maskrcnn
from maskrcnn.api import Model
from maskrcnn.data.formats import read_labels
from maskrcnn.data.formats.labels import ReadOptions
from maskrcnn.data.prepare.checking import check_image
from maskrcnn.data.prepare.classes import ClassMap
from maskrcnn.errors import DataError, EvaluationError, MaskRCNNError
from maskrcnn.inference.images import ImageSource, decode_file
from maskrcnn.inference.labelme import mask_polygons
from maskrcnn.inference.open import OpenedModel

NAMES = ("ellipse", "ring", "spare")


class Data:
    """Pictures, their annotations by file, and a model that finds exactly those."""

    def __init__(self, folder: Path, **keys) -> None:
        self.content = json.loads(draw_data_set(folder).read_text())
        self.folder = folder / "images"
        self.files = [self.folder / image["file_name"] for image in self.content["images"]]
        detector = Oracle(self.content, self.folder, NAMES)
        self.model = Model(OpenedModel(detector, NAMES, (7, 3, 40), settings(**keys)))

    def truth(self, file: Path) -> list[dict]:
        (image,) = (image for image in self.content["images"] if image["file_name"] == file.name)
        return [a for a in self.content["annotations"] if a["image_id"] == image["id"] and not a["iscrowd"]]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    return Data(tmp_path_factory.mktemp("pictures"))


def test_arrays_are_the_objects(data: Data):
    for file in data.files:
        result, truth = data.model(file), data.truth(file)
        height, width = cv2.imread(str(file)).shape[:2]
        assert result.size == (height, width) and len(result) == len(truth) and result.source.path == file
        assert [array.dtype for array in (result.boxes, result.scores, result.labels)] == [np.float32] * 2 + [np.int32]
        assert result.masks.shape == (len(truth), height, width) and result.masks.dtype == bool
        for found, mask, annotation in zip(result, result.masks, truth):
            x, y, w, h = annotation["bbox"]
            assert np.allclose(found.box, (x, y, x + w, y + h), atol=1e-3)
            assert found.name == {7: "ellipse", 3: "ring"}[annotation["category_id"]] == NAMES[found.label - 1]
            bitmap = annotation_bitmap(annotation, height, width) > 0
            assert (mask & bitmap).sum() / (mask | bitmap).sum() > 0.8 and np.array_equal(mask, found.mask)


def test_every_kind_of_image_gives_the_same(data: Data):
    file = data.files[1]
    expected = data.model(str(file))
    pixels = cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB)
    for image in (file, file.read_bytes(), bytearray(file.read_bytes()), pixels):
        result = data.model(image)
        assert np.array_equal(result.boxes, expected.boxes) and result.rles == expected.rles
        assert np.array_equal(result.image, pixels)


@pytest.mark.parametrize("batch", [1, 2])
def test_lists_folders_and_generators_keep_the_order(batch: int, data: Data, tmp_path: Path):
    model = Data(tmp_path, test_batch_size=batch).model
    files = sorted((tmp_path / "images").iterdir())
    mixed = [files[0], files[1].read_bytes(), *files[2:]]
    for images in (files, mixed):
        results = model(images)
        assert [r.size for r in results] == [cv2.imread(str(f)).shape[:2] for f in files]
    assert [r.source.path for r in model(tmp_path / "images")] == files
    assert [r.source.path for r in model.stream(iter(files))] == files
    endless = model.stream(itertools.cycle(files))
    assert [r.source.path for r in itertools.islice(endless, 20)] == list(itertools.islice(itertools.cycle(files), 20))
    assert model([]) == []


def test_choosing_and_indexing(data: Data):
    result = next(r for r in data.model(data.files) if len(set(r.names)) == 2)
    assert [o.score for o in result.above(0.989)] == [float(s) for s in result.scores if s >= 0.989]
    assert set(result.of_class("ring").names) == {"ring"} and len(result.of_class("spare")) == 0
    assert result[-1].score == result[len(result) - 1].score
    with pytest.raises(IndexError):
        result[len(result)]
    assert "ring 0.9" in repr(result)
    assert len(data.model(data.files[0], score=1.0)) == 0


def test_coco_records(data: Data):
    file = data.files[2]
    result = data.model(file)
    for record, annotation in zip(result.to_coco(5), data.truth(file)):
        assert record["image_id"] == 5 and record["category_id"] == annotation["category_id"]
        assert np.allclose(record["bbox"], annotation["bbox"], atol=1e-3)
    assert json.loads(json.dumps(result.to_coco()))[0]["segmentation"] == result.rles[0]


def test_labelme_files_are_read_back_as_the_same_objects(data: Data, tmp_path: Path):
    for file in data.files[:4]:
        result = data.model(file)
        (tmp_path / file.name).write_bytes(file.read_bytes())
        (tmp_path / file.with_suffix(".json").name).write_text(json.dumps(result.to_labelme()))
        (image,) = (i for i in read_labels(tmp_path, ReadOptions()).images if i.name == file.name)
        checked, issues = check_image(image, ClassMap({}))
        assert not [issue for issue in issues if issue.reason.fault] and len(checked.objects) == len(result)
        for item, found in zip(checked.objects, result):
            assert item.label == found.name
            outlines = coco_mask.merge(coco_mask.frPyObjects(item.segmentation, *result.size))
            filled = np.zeros(result.size, np.uint8)  # LabelMe has no holes
            contours, _ = cv2.findContours(found.mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(filled, contours, -1, 1, cv2.FILLED)
            assert coco_mask.iou([outlines], [coco_mask.encode(np.asfortranarray(filled))], [0]).item() > 0.93


def test_labelme_embeds_an_image_that_has_no_file(data: Data):
    result = data.model(data.files[0].read_bytes())
    text = result.to_labelme()["imageData"]
    pixels = cv2.imdecode(np.frombuffer(base64.b64decode(text), np.uint8), cv2.IMREAD_COLOR)
    assert np.array_equal(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), result.image)
    assert data.model(data.files[0]).to_labelme()["imageData"] is None


@pytest.mark.parametrize("shape", ["rectangle", "single pixel", "row", "two parts"])
def test_outlines_of_small_and_broken_masks(shape: str):
    mask = np.zeros((20, 30), np.uint8)
    rectangles = {
        "rectangle": [(3, 9, 4, 20)],
        "single pixel": [(5, 6, 7, 8)],
        "row": [(5, 6, 3, 12)],
        "two parts": [(2, 8, 2, 8), (10, 18, 12, 28)],
    }[shape]
    for top, bottom, left, right in rectangles:
        mask[top:bottom, left:right] = 1
    polygons = mask_polygons(mask)
    assert len(polygons) == len(rectangles)
    for polygon, (top, bottom, left, right) in zip(polygons, rectangles[::-1]):
        points = np.array(polygon)
        assert np.allclose(points.min(0), (left, top), atol=0.6) and np.allclose(
            points.max(0), (right, bottom), atol=0.6
        )


def test_crops(data: Data):
    result = data.model(data.files[3])
    for found, part, cut_out in zip(result, result.crop(), result.crop(cut_out=True)):
        x1, y1, x2, y2 = found.box
        left, top, right, bottom = int(x1), int(y1), int(np.ceil(x2)), int(np.ceil(y2))
        assert np.array_equal(part, result.image[top:bottom, left:right])
        assert np.array_equal(cut_out[..., 3] > 0, found.mask[top:bottom, left:right])
    for wide, part in zip(result.crop(margin=0.5), result.crop()):
        assert wide.shape[0] > part.shape[0] and wide.shape[1] > part.shape[1]


def test_saved_picture_shows_the_objects(data: Data, tmp_path: Path):
    result = data.model(data.files[0])
    path = result.save(tmp_path / "sub" / "out.jpg")
    picture = cv2.imread(str(path))
    plain = cv2.resize(cv2.imread(str(data.files[0])), picture.shape[1::-1])
    inside = cv2.resize(result.masks.any(0).astype(np.uint8), picture.shape[1::-1]) > 0
    assert np.abs(picture.astype(int) - plain)[inside].mean() > 20


def test_a_picture_never_replaces_its_photograph(data: Data, tmp_path: Path):
    before = data.files[0].read_bytes()
    link = tmp_path / "link.jpg"
    link.symlink_to(data.files[0].resolve())
    result = data.model(data.files[0])
    for path in (data.files[0], link):
        with pytest.raises(EvaluationError, match="is the photograph itself"):
            result.save(path)
    assert data.files[0].read_bytes() == before


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("nowhere.jpg", "there is no file or folder nowhere.jpg"),
        (b"", "image 0: the image file is empty"),
        (b"no image", "image 0: "),
        (np.zeros((5, 5)), r"image 0: pixels are uint8 RGB \[h, w, 3\], not float64 \[5, 5\]"),
        (np.zeros((0, 5, 3), np.uint8), "image 0: pixels are"),
        (7, "image 0: a int is neither a path nor bytes nor an array"),
    ],
)
def test_images_that_are_none_are_one_line(image, message: str, data: Data):
    with pytest.raises(DataError, match=message) as error:
        data.model(image)
    assert "\n" not in str(error.value)


def test_results_before_a_bad_image_are_given(data: Data):
    stream = data.model.stream([data.files[0], b"no image", data.files[1]])
    assert len(next(stream)) == len(data.truth(data.files[0]))
    with pytest.raises(DataError, match="image 1: "):
        list(stream)


# ---- files --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from maskrcnn.checkpoint.format import save_checkpoint

    path = tmp_path_factory.mktemp("checkpoint") / "small.ckpt"
    cfg = small_config()
    arrays = {name: p.asnumpy() for name, p in small_network(cfg).parameters_dict().items()}
    names = [f"class {label}" for label in range(1, 12)]
    save_checkpoint(path, arrays.items(), {"class_names": names, "config": cfg.to_dict()})
    return path


def test_a_checkpoint_needs_no_settings(checkpoint: Path, data: Data, tmp_path: Path):
    model = maskrcnn.load(checkpoint, device_target="CPU")
    assert len(model.class_names) == 11
    result = model(data.files[0])
    assert len(result) and set(result.names) <= set(model.class_names)
    stricter = maskrcnn.load(str(checkpoint), device_target="CPU", test_score_thr=float(result.scores[0]) - 1e-4)
    assert 0 < len(stricter(data.files[0])) < len(result)
    hub = __import__("runpy").run_path(str(ROOT / "mindspore_hub_conf.py"))
    same = hub["create_network"]("maskrcnn", checkpoint_path=checkpoint, device_target="CPU")(data.files[0])
    assert np.array_equal(same.boxes, result.boxes)
    with pytest.raises(NotImplementedError, match="maskrcnn_resnet50"):
        hub["create_network"]("yolo")


@pytest.mark.parametrize(
    ("path", "settings", "message"),
    [
        ("nowhere.ckpt", {}, "nowhere.ckpt does not exist"),
        ("nowhere.onnx", {}, "nowhere.onnx does not exist"),
        ("", {}, "no checkpoint"),
        ("x.ckpt", {"img_widht": 5}, "img_width"),
    ],
)
def test_models_that_cannot_be_loaded_are_one_line(path: str, settings: dict, message: str):
    with pytest.raises(MaskRCNNError, match=message) as error:
        maskrcnn.load(path, **settings)
    assert "\n" not in str(error.value)


def test_importing_the_package_is_quick_and_names_load():
    code = "import sys, maskrcnn; assert 'load' in dir(maskrcnn); sys.exit('mindspore' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(ROOT / "src")}).returncode == 0
    with pytest.raises(AttributeError, match="no attribute 'laod'"):
        maskrcnn.laod  # noqa: B018


def test_pixels_are_not_changed(data: Data):
    pixels = decode_file(ImageSource(0, data.files[0]))
    before = pixels.copy()
    data.model(pixels).draw()
    assert np.array_equal(pixels, before) and SMALL["img_width"] == 192
