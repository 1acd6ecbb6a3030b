"""What single formats can say beyond a polygon and a box: each against the shape it means, or a closed form."""

from __future__ import annotations

import base64
import json
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask
from tests.data.formats import label_files as files
from tests.data.formats.label_files import CAT, DOG, HEIGHT, NAMES, WIDTH

from maskrcnn.data.formats import read_labels
from maskrcnn.data.formats.geometry import ellipse, widened_line
from maskrcnn.data.formats.labels import LabelledImage, LabelledObject, LabelSet, ReadOptions
from maskrcnn.data.prepare.prepare import PrepareOptions, prepare
from maskrcnn.data.sources.report import Reason


def read(source: Path, **options) -> tuple[dict[str, LabelledImage], LabelSet]:
    labels = read_labels(source, ReadOptions(**options))
    return {image.name: image for image in labels.images}, labels


def mask_of(item: LabelledObject, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    if isinstance(item.segmentation, dict):
        return coco_mask.decode(item.segmentation) > 0
    return coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(item.segmentation, height, width))) > 0


def by_formula(height: int, width: int, inside) -> np.ndarray:
    y, x = np.mgrid[:height, :width] + 0.5
    return inside(x, y)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return (a & b).sum() / (a | b).sum()


# ---- geometry --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rx", "ry", "angle"), [(90, 40, 0.0), (90, 40, 0.5), (3, 3, 0.0), (120, 30, -1.2)])
def test_ellipse_is_the_ellipse(rx: float, ry: float, angle: float):
    points = np.reshape(ellipse(150, 130, rx, ry, angle), (-1, 2))
    area = 0.5 * abs(np.dot(points[:, 0], np.roll(points[:, 1], 1)) - np.dot(points[:, 1], np.roll(points[:, 0], 1)))
    assert area == pytest.approx(math.pi * rx * ry, rel=1e-9)

    def inside(x, y):
        u = (x - 150) * math.cos(angle) + (y - 130) * math.sin(angle)
        v = -(x - 150) * math.sin(angle) + (y - 130) * math.cos(angle)
        return (u / rx) ** 2 + (v / ry) ** 2 <= 1

    drawn = mask_of(LabelledObject("x", "", segmentation=[points.ravel().tolist()]), 300, 300)
    assert iou(drawn, by_formula(300, 300, inside)) > (0.97 if rx > 10 else 0.6)


def test_widened_line_covers_what_lies_within_half_its_width():
    line = [20.0, 30.0, 80.0, 30.0, 80.0, 90.0]
    drawn = mask_of(LabelledObject("x", "", segmentation=widened_line(line, 10)), 120, 120)

    def inside(x, y):
        first = np.hypot(x - np.clip(x, 20, 80), y - 30)
        second = np.hypot(x - 80, y - np.clip(y, 30, 90))
        return np.minimum(first, second) <= 5

    assert iou(drawn, by_formula(120, 120, inside)) > 0.95


# ---- LabelMe ---------------------------------------------------------------------------------------------


def labelme(folder: Path, *shapes: dict, **content) -> Path:
    files.photograph(folder / "a.png")
    complete = [{"label": "cat", "group_id": None, "shape_type": "polygon", **shape} for shape in shapes]
    files.write_json(folder / "a.json", {**files.labelme_content("a.png"), "shapes": complete, **content})
    return folder


def test_labelme_shapes_of_one_group_are_one_object(tmp_path: Path):
    parts = [{"points": files.corners(box), "group_id": 4} for box in (CAT, DOG)]
    other = {"points": files.corners(DOG), "group_id": 4, "label": "dog"}  # another class, another object
    images, _ = read(labelme(tmp_path, *parts, other))
    cat, dog = images["a.png"].objects
    assert (cat.label, dog.label) == ("cat", "dog")
    assert len(cat.segmentation) == 2 and mask_of(cat).sum() == 600 + 600
    assert cat.where == "shape 1, shape 2"


def test_labelme_boxes_of_one_group_are_one_box(tmp_path: Path):
    parts = [{"points": [box[:2], box[2:]], "group_id": 0, "shape_type": "rectangle"} for box in (CAT, DOG)]
    images, _ = read(labelme(tmp_path, *parts))
    (cat,) = images["a.png"].objects
    assert cat.box == (10, 10, 70, 50) and cat.segmentation is None


def test_labelme_circle_and_rectangle_as_mask(tmp_path: Path):
    circle = {"points": [[40, 30], [40, 45]], "shape_type": "circle"}
    rectangle = {"points": [[70, 50], [50, 20]], "shape_type": "rectangle"}
    images, _ = read(labelme(tmp_path, circle, rectangle), rectangles_are_masks=True)
    first, second = images["a.png"].objects
    assert iou(mask_of(first), by_formula(HEIGHT, WIDTH, lambda x, y: np.hypot(x - 40, y - 30) <= 15)) > 0.95
    assert np.array_equal(mask_of(second), files.filled(DOG) > 0)


def test_labelme_mask_is_pasted_where_it_belongs(tmp_path: Path):
    crop = np.random.default_rng(1).integers(0, 2, (20, 30), np.uint8) * 255
    text = base64.b64encode(cv2.imencode(".png", crop)[1].tobytes()).decode()
    images, _ = read(labelme(tmp_path, {"points": [[10, 10], [39, 29]], "shape_type": "mask", "mask": text}))
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[10:30, 10:40] = crop > 0
    assert np.array_equal(mask_of(images["a.png"].objects[0]), expected)


def test_labelme_lines_count_or_are_widened(tmp_path: Path):
    line = {"points": [[10, 30], [70, 30]], "shape_type": "linestrip"}
    images, _ = read(labelme(tmp_path, line, {"points": [[3, 3]], "shape_type": "point"}))
    assert [issue.reason for issue in images["a.png"].issues] == [Reason.NO_AREA] * 2
    images, _ = read(tmp_path, line_width=4)
    assert mask_of(images["a.png"].objects[0]).sum() == pytest.approx(60 * 4 + 4 * math.pi, rel=0.05)


def test_labelme_embedded_image_serves_where_the_file_is_missing(tmp_path: Path):
    folder = labelme(tmp_path, {"points": files.corners(CAT)})
    data = (folder / "a.png").read_bytes()
    files.write_json(
        folder / "a.json", {**json.loads((folder / "a.json").read_text()), "imageData": base64.b64encode(data).decode()}
    )
    (folder / "a.png").unlink()
    images, _ = read(folder)
    assert images["a.png"].path is None and images["a.png"].data == data


@pytest.mark.parametrize(
    "name", ["..\\pictures\\a.png", "C:\\Users\\me\\a.png", "/home/me/pictures/a.png", "../img/a.png"]
)
def test_labelme_paths_of_another_computer_are_followed_by_their_last_parts(name: str, tmp_path: Path):
    files.photograph(tmp_path / "pictures" / "a.png")
    content = files.labelme_content(name)
    files.write_json(tmp_path / "labels" / "a.json", content)
    images, _ = read(tmp_path)
    assert images["a.png"].path.name == "a.png" and images["a.png"].path.is_file()


def test_labelme_images_without_a_file_are_unlabelled(tmp_path: Path):
    folder = files.write_labelme(tmp_path)
    files.photograph(folder / "c.png")
    images, _ = read(folder)
    assert not images["c.png"].labelled and images["a.png"].labelled


# ---- VIA -------------------------------------------------------------------------------------------------


def test_via_csv_project_and_version_1_are_the_same(tmp_path: Path):
    files.write_via(tmp_path / "json")
    expected, _ = read(tmp_path / "json")
    numbered = {str(i): region for i, region in enumerate(files.via_regions())}
    writers = {
        "csv": lambda path: files.write_via_csv(path / "via.csv", {name: files.via_regions() for name in NAMES}),
        "project": lambda path: files.write_json(
            path / "p.json", {"_via_settings": {}, "_via_img_metadata": files.via_content(), "_via_attributes": {}}
        ),
        "one": lambda path: files.write_json(
            path / "p.json", {name: {"filename": name, "regions": numbered} for name in NAMES}
        ),
    }
    for kind, write in writers.items():
        for name in NAMES:
            files.photograph(tmp_path / kind / name)
        write(tmp_path / kind)
        images, labels = read(tmp_path / kind)
        assert labels.format == "via" and images.keys() == expected.keys()
        for name, image in images.items():
            found = [(o.label, o.box, o.segmentation) for o in image.objects]
            assert found == [(o.label, o.box, o.segmentation) for o in expected[name].objects], kind


@pytest.mark.parametrize(
    ("attributes", "options", "label"),
    [
        ({"kind": "cat"}, {}, "cat"),
        ({"age": "3", "Class": "cat"}, {}, "cat"),
        ({"age": "3", "what": "cat"}, {"label_attribute": "what"}, "cat"),
        ({"type": {"cat": True, "dog": False}}, {}, "cat"),
        ({"label": 7}, {}, "7"),
        ({}, {"class_name": "thing"}, "thing"),
    ],
)
def test_via_class_is_the_attribute_that_names_it(attributes: dict, options: dict, label: str, tmp_path: Path):
    files.photograph(tmp_path / "a.png")
    region = {**files.via_regions()[0], "region_attributes": attributes}
    files.write_json(tmp_path / "via.json", {"a": {"filename": "a.png", "regions": [region]}})
    images, _ = read(tmp_path, **options)
    assert [item.label for item in images["a.png"].objects] == [label]


def test_via_ellipse_is_rotated_by_theta(tmp_path: Path):
    files.photograph(tmp_path / "a.png")
    shape = {"name": "ellipse", "cx": 40, "cy": 30, "rx": 25, "ry": 10, "theta": 0.6}
    region = {"shape_attributes": shape, "region_attributes": {"label": "cat"}}
    files.write_json(tmp_path / "via.json", {"a": {"filename": "a.png", "regions": [region]}})
    images, _ = read(tmp_path)
    canvas = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.ellipse(canvas, (40, 30), (25, 10), math.degrees(0.6), 0, 360, 1, cv2.FILLED)
    assert iou(mask_of(images["a.png"].objects[0]), canvas > 0) > 0.9


# ---- CVAT ------------------------------------------------------------------------------------------------


def cvat(folder: Path, shapes: str, name: str = "a.png") -> Path:
    files.photograph(folder / "images" / "a.png")
    return files.write_text(folder / "annotations.xml", files.cvat_text(files.cvat_image(0, name, shapes))).parent


def test_cvat_mask_runs_along_its_own_rows(tmp_path: Path):
    rle = "1,4,2,3,5"  # 15 pixels of 5 x 3
    shapes = f'<mask label="cat" rle="{rle}" left="20" top="7" width="5" height="3"></mask>'
    images, _ = read(cvat(tmp_path, shapes))
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[7:10, 20:25] = np.reshape([0, 1, 1, 1, 1, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0], (3, 5))
    assert np.array_equal(mask_of(images["a.png"].objects[0]), expected)


def test_cvat_rotated_box_has_the_bounds_of_its_corners(tmp_path: Path):
    shapes = '<box label="cat" xtl="20" ytl="20" xbr="60" ybr="30" rotation="90.0"></box>'
    images, _ = read(cvat(tmp_path, shapes))
    assert np.allclose(images["a.png"].objects[0].box, (35, 5, 45, 45))


def test_cvat_groups_and_order_of_classes(tmp_path: Path):
    shapes = "".join(
        f'<polygon label="cat" group_id="{group}" points="{left},5;{left + 5},5;{left + 5},10"></polygon>'
        for left, group in ((5, 2), (15, 2), (25, 3), (35, 0), (45, 0))
    )
    images, labels = read(cvat(tmp_path, shapes))
    assert [len(item.segmentation) for item in images["a.png"].objects] == [2, 1, 1, 1]
    assert labels.classes == ("dog", "cat", "bird")


# ---- YOLO ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", ["names: [dog, cat]", "names:\n  0: dog\n  1: cat"])
def test_yolo_splits_of_data_yaml(names: str, tmp_path: Path):
    files.photograph(tmp_path / "batch1" / "images" / "a.png")
    files.photograph(tmp_path / "batch2" / "images" / "a.png", seed=1)
    for folder in ("batch1", "batch2"):
        files.write_text(tmp_path / folder / "labels" / "a.txt", files.yolo_lines())
    files.write_text(tmp_path / "data.yaml", f"path: .\ntrain: batch1/images\nval: batch2/images\n{names}\n")
    labels = read_labels(tmp_path, ReadOptions())
    found = {image.path.parent.parent.name: image for image in labels.images}
    assert {name: image.split for name, image in found.items()} == {"batch1": "train", "batch2": "val"}
    assert labels.classes == ("dog", "cat")
    assert [item.label for item in found["batch1"].objects] == ["cat", "dog"]


def test_yolo_folders_train_and_valid(tmp_path: Path):
    for folder in ("train", "valid", "test"):
        files.photograph(tmp_path / folder / "images" / "a.png")
        files.write_text(tmp_path / folder / "labels" / "a.txt", files.yolo_lines())
    files.write_text(tmp_path / "data.yaml", "train: ../train/images\nval: ../valid/images\nnames: [dog, cat]\n")
    labels = read_labels(tmp_path, ReadOptions())
    assert sorted(image.split for image in labels.images) == ["test", "train", "val"]


def test_yolo_key_points_are_left_aside(tmp_path: Path):
    folder = files.write_yolo(tmp_path)
    files.write_text(folder / "data.yaml", "names: [dog, cat]\nkpt_shape: [2, 3]\n")
    for name in ("a", "b"):
        files.write_text(folder / "labels" / f"{name}.txt", "0 0.5 0.5 0.2 0.4 0.1 0.1 2 0.9 0.9 2\n")
    images, _ = read(folder)
    (item,) = images["a.png"].objects
    assert np.allclose(item.box, (0.4, 0.3, 0.6, 0.7)) and item.segmentation is None


def test_yolo_empty_file_is_an_empty_image_and_no_file_an_unlabelled_one(tmp_path: Path):
    folder = files.write_yolo(tmp_path)
    files.photograph(folder / "images" / "c.png")
    files.write_text(folder / "labels" / "b.txt", "")
    images, _ = read(folder)
    assert images["b.png"].labelled and not images["b.png"].objects
    assert not images["c.png"].labelled


# ---- Pascal VOC ------------------------------------------------------------------------------------------


def test_voc_masks_without_a_box_and_boxes_without_a_mask(tmp_path: Path):
    folder = files.write_voc(tmp_path)
    mask = filled_colours({1: CAT, 2: (60, 0, 80, 10)})
    files.write_png(folder / "SegmentationObject" / "a.png", mask * np.array([0, 100, 0], np.uint8))
    files.write_png(folder / "SegmentationClass" / "a.png", (mask > 0) * np.array([0, 0, 128], np.uint8))
    images, labels = read(folder)
    found = [(item.label, item.box, item.segmentation is not None) for item in images["a.png"].objects]
    assert found == [("cat", CAT, True), ("dog", DOG, False), ("cat", None, True)]
    assert labels.classes == ("cat",)


def filled_colours(boxes: dict[int, tuple[float, ...]]) -> np.ndarray:
    """An image [h, w, 1] of boxes with a number each."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    for value, (x1, y1, x2, y2) in boxes.items():
        mask[int(y1) : int(y2), int(x1) : int(x2)] = value
    return mask[..., None]


def test_voc_without_label_map_has_its_own_colours_and_counts_from_1(tmp_path: Path):
    """The palette of the development kit: class 8 is (64, 0, 0), 15 is (192, 128, 128), void (224, 224, 192)."""
    files.photograph(tmp_path / "JPEGImages" / "a.png")
    box = "<bndbox><xmin>11</xmin><ymin>11</ymin><xmax>40</xmax><ymax>30</ymax></bndbox>"
    objects = f"<object><name>cat</name>{box}</object>"
    xml = files.voc_xml("a.png", objects, database="The VOC2012 Database")
    files.write_text(tmp_path / "Annotations" / "a.xml", xml)
    number = filled_colours({1: CAT, 2: (60, 0, 80, 10), 3: (0, 40, 5, 50)})[..., 0]
    of_objects = np.array([[0, 0, 0], [0, 0, 128], [0, 128, 0], [192, 224, 224]], np.uint8)
    of_classes = np.array([[0, 0, 0], [0, 0, 64], [128, 128, 192], [192, 224, 224]], np.uint8)
    files.write_png(tmp_path / "SegmentationObject" / "a.png", of_objects[number])
    files.write_png(tmp_path / "SegmentationClass" / "a.png", of_classes[number])
    files.write_text(tmp_path / "ImageSets" / "Segmentation" / "val.txt", "a\n")
    images, _ = read(tmp_path)
    found = [(item.label, item.box, item.segmentation is not None) for item in images["a.png"].objects]
    assert found == [("cat", CAT, True), ("person", None, True)]
    assert images["a.png"].split == "val"


def test_voc_grey_class_images_hold_indices(tmp_path: Path):
    folder = files.write_voc(tmp_path)
    files.write_text(folder / "labelmap.txt", "background:0,0,0::\ndog:9,9,9::\ncat:1,2,3::\n")
    for name in NAMES:
        files.write_png(folder / "SegmentationClass" / name, files.filled(CAT, 2))
    images, _ = read(folder)
    assert [item.label for item in images["a.png"].objects if item.segmentation] == ["cat"]


# ---- masks as images -------------------------------------------------------------------------------------


def test_instance_numbers_of_16_bits_and_colours(tmp_path: Path):
    number = np.zeros((HEIGHT, WIDTH), np.uint16)
    number[10:30, 10:40], number[20:50, 50:70] = 1000, 65535
    colours = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    colours[10:30, 10:40], colours[20:50, 50:70] = (1, 2, 3), (3, 2, 1)
    for kind, mask in (("grey", number), ("colour", colours)):
        files.photograph(tmp_path / kind / "a.jpg")
        files.write_png(tmp_path / kind / "a_mask.png", mask)
        images, labels = read(tmp_path / kind, class_name="pet")
        assert labels.format == "instance_png"
        masks = sorted(mask_of(item).sum() for item in images["a.jpg"].objects)
        assert masks == [600, 600] and {item.label for item in images["a.jpg"].objects} == {"pet"}


def test_parts_of_a_mask_of_one_number_can_be_objects(tmp_path: Path):
    files.photograph(tmp_path / "images" / "a.png")
    files.write_png(tmp_path / "masks" / "a.png", files.filled(CAT) | files.filled(DOG))
    assert len(read(tmp_path)[0]["a.png"].objects) == 1
    images, _ = read(tmp_path, split_parts=True)
    assert [mask_of(item).sum() for item in images["a.png"].objects] == [600, 600]


def test_one_mask_an_object_in_a_folder_of_the_image_name(tmp_path: Path):
    for name in NAMES:
        files.photograph(tmp_path / "images" / name)
        for number, box in enumerate((CAT, DOG)):
            files.write_png(tmp_path / "masks" / Path(name).stem / f"{number}.png", files.filled(box))
    images, labels = read(tmp_path)
    assert labels.format == "object_png"
    assert [len(images[name].objects) for name in NAMES] == [2, 2]


# ---- COCO ------------------------------------------------------------------------------------------------


def test_coco_of_roboflow_has_splits_and_no_root_category(tmp_path: Path):
    for folder in ("train", "valid"):
        content = files.coco_content(("a.png",))
        content["categories"].insert(0, {"id": 0, "name": "pets", "supercategory": "none"})
        files.write_json(tmp_path / folder / "_annotations.coco.json", content)
        files.photograph(tmp_path / folder / "a.png")
    labels = read_labels(tmp_path, ReadOptions())
    assert [(image.split, image.path.parent.name) for image in labels.images] == [("train", "train"), ("val", "valid")]
    prepared = prepare([tmp_path], tmp_path.with_name("out"), PrepareOptions())
    assert prepared.classes == ["dog", "cat"] and prepared.unused == ["pets"]


def test_coco_names_of_lvis_and_ids_that_are_text(tmp_path: Path):
    content = files.coco_content(("x.png",))
    content["images"][0] = {
        "id": "one",
        "coco_url": "http://images.cocodataset.org/train2017/000000000009.png",
        "height": HEIGHT,
        "width": WIDTH,
    }
    for annotation in content["annotations"]:
        annotation["image_id"] = "one"
    files.write_json(tmp_path / "annotations" / "lvis_v1_train.json", content)
    path = files.photograph(tmp_path / "train2017" / "000000000009.png")
    (image,) = read_labels(tmp_path, ReadOptions()).images
    assert image.path == path and len(image.objects) == 2 and image.split == "train"


def test_coco_masks_of_cvat_are_objects_and_crowds_are_regions_to_ignore(tmp_path: Path):
    content = files.coco_content(("a.png",))
    content["annotations"][0].update(iscrowd=1, attributes={"occluded": False})
    content["annotations"][1].update(iscrowd=1)
    files.write_json(tmp_path / "c.json", content)
    files.photograph(tmp_path / "a.png")
    images, _ = read(tmp_path)
    assert [item.crowd for item in images["a.png"].objects] == [False, True]


def test_coco_polygons_of_pairs_are_polygons(tmp_path: Path):
    flat = [value for point in files.corners(CAT) for value in point]
    for number, segmentation in enumerate((files.corners(CAT), [files.corners(CAT)], [flat])):
        content = files.coco_content(("a.png",))
        content["annotations"][0]["segmentation"] = segmentation
        files.write_json(tmp_path / f"in{number}" / "c.json", content)
        files.photograph(tmp_path / f"in{number}" / "a.png")
        prepare([tmp_path / f"in{number}"], tmp_path / f"out{number}", PrepareOptions(val=0))
        made = json.loads((tmp_path / f"out{number}" / "annotations" / "instances_train2017.json").read_text())
        assert made["annotations"][0]["segmentation"] == [flat]
