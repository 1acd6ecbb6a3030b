"""Pictures: pixels where they belong, labels inside the picture and beside one another."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from maskrcnn.errors import EvaluationError
from maskrcnn.inference.visualize import (
    DrawnObject,
    _label_place,
    class_colour,
    draw_objects,
    is_own_picture,
    objects_from_annotations,
    objects_from_records,
    save_picture,
    segmentation_bitmap,
    side_by_side,
)


def test_colours_of_neighbouring_classes_differ() -> None:
    colours = np.array([class_colour(label) for label in range(1, 81)], float)
    assert len(np.unique(colours, axis=0)) == 80
    assert (np.abs(np.diff(colours, axis=0)).sum(1) > 100).all()


def test_draws_the_mask_inside_and_leaves_the_rest() -> None:
    grey = np.full((1000, 1200, 3), 100, np.uint8)
    bitmap = np.zeros((1000, 1200), np.uint8)
    bitmap[400:600, 300:700] = 1
    rle = coco_mask.encode(np.asfortranarray(bitmap))
    picture = draw_objects(grey, [DrawnObject((300, 400, 700, 600), rle, 1, "thing 0.93")])
    assert picture.shape == grey.shape and (grey == 100).all()
    colour = np.array(class_colour(1))
    np.testing.assert_allclose(picture[500, 500], 100 * 0.55 + colour * 0.45, atol=1)
    assert (picture[700:] == 100).all() and (picture[:, 800:] == 100).all()
    assert (picture[400, 500] == colour).all()  # the box's edge
    label = picture[370:399, 300:420]
    assert (label == colour).all(-1).mean() > 0.3 and ((label < 30) | (label > 225)).all(-1).any()


def test_small_images_are_enlarged_and_nothing_to_draw_is_fine() -> None:
    assert draw_objects(np.zeros((24, 48, 3), np.uint8), []).shape == (96, 192, 3)
    assert draw_objects(np.zeros((240, 480, 3), np.uint8), []).shape == (480, 960, 3)
    tiny = DrawnObject((0, 0, 0, 0), None, 3, "empty")
    assert draw_objects(np.zeros((1, 1, 3), np.uint8), [tiny]).shape == (4, 4, 3)


def test_labels_stay_in_the_picture_and_apart() -> None:
    taken: list[tuple[int, ...]] = []
    for corner in [(-5, -5), (0, 0), (2, 3), (190, 95), (150, 50), (150, 52)]:
        box = np.array([*corner, corner[0] + 30, corner[1] + 40])
        x, y = _label_place(box, (60, 12), (200, 100), taken)
        assert 0 <= x <= 140 and 0 <= y <= 88
        assert all(x >= r or x + 60 <= left or y >= b or y + 12 <= t for left, t, r, b in taken)
        taken.append((x, y, x + 60, y + 12))


def test_records_below_the_score_and_unknown_categories_are_left_out() -> None:
    bbox = [{"category_id": 9, "bbox": [1, 2, 3, 4], "score": s} for s in (0.9, 0.5, 0.49)]
    segm = [{"segmentation": {"size": [9, 9], "counts": "i2"}}] * 3
    drawn = objects_from_records(bbox, segm, [4, 9], ["a", "b"], 0.5)
    assert [item.text for item in drawn] == ["b 0.90", "b 0.50"]
    assert drawn[0].box == (1, 2, 4, 6) and drawn[0].label == 2
    annotations = [
        {"category_id": 4, "bbox": [0, 0, 1, 1], "iscrowd": 1, "segmentation": []},
        {"category_id": 5, "bbox": [0, 0, 1, 1], "iscrowd": 0},
    ]
    drawn = objects_from_annotations(annotations, [4, 9], ["猫", "b"])
    assert [item.text for item in drawn] == ["猫 (crowd)"]


def test_all_forms_of_segmentation() -> None:
    polygon = [1, 1, 6, 1, 6, 5, 1, 5]
    expected = segmentation_bitmap([polygon], 8, 9)
    assert expected.sum() == 20
    rle = coco_mask.encode(np.asfortranarray(expected))
    assert (segmentation_bitmap(rle, 8, 9) == expected).all()
    flat = expected.T.reshape(-1)
    edges = np.flatnonzero(np.diff(flat, prepend=0)).tolist()
    counts = np.diff([0, *edges, flat.size]).tolist()
    assert (segmentation_bitmap({"size": [8, 9], "counts": counts}, 8, 9) == expected).all()
    assert segmentation_bitmap([[1, 1, 2, 2]], 8, 9) is None
    assert segmentation_bitmap([], 8, 9) is None and segmentation_bitmap(None, 8, 9) is None


def test_huge_images_are_shrunk() -> None:
    wide = np.full((2, 66000, 3), 100, np.uint8)
    picture = draw_objects(wide, [DrawnObject((10, 0, 60000, 2), None, 1, "long")])
    assert picture.shape[1] == 32000 and picture.shape[0] >= 1


def test_saves_rgb_and_knows_its_own_pictures(tmp_path) -> None:
    red = np.zeros((20, 30, 3), np.uint8)
    red[..., 0] = 255
    both = side_by_side([red, red], ["left", "right"])
    assert both.shape == (50, 68, 3)
    path = tmp_path / "new" / "p.jpg"
    save_picture(path, both)
    assert np.abs(cv2.imread(str(path))[40, 10].astype(int) - [0, 0, 255]).max() <= 5
    assert Image.open(path).size == (68, 50)  # other readers take it, too
    assert is_own_picture(path)
    cv2.imwrite(str(tmp_path / "photo.jpg"), both)
    for other in (tmp_path / "photo.jpg", tmp_path / "missing.jpg", tmp_path):
        assert not is_own_picture(other)
    (tmp_path / "file").write_text("")
    with pytest.raises(EvaluationError, match="cannot write the picture"):
        save_picture(tmp_path / "file" / "p.jpg", red)
    with pytest.raises(EvaluationError, match="cannot encode the picture"):
        save_picture(tmp_path / "p.jpg", np.zeros((2, 66000, 3), np.uint8))
    assert not (tmp_path / "p.jpg").exists()
