"""The same two objects, written in every format: what the tests of the readers start from.

Image ``NAME`` has 80 x 60 pixels, a cat with a mask (columns 10 to 39, rows 10 to 29) and a dog, of which most formats
know the box only (columns 50 to 69, rows 20 to 49).
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

WIDTH, HEIGHT = 80, 60
CAT = (10.0, 10.0, 40.0, 30.0)
DOG = (50.0, 20.0, 70.0, 50.0)
CAT_AREA = 600
NAMES = ("a.png", "b.png")


def corners(box: tuple[float, ...]) -> list[list[float]]:
    """The four points of a box."""
    x1, y1, x2, y2 = box
    return [[x1, y1], [x2, y1], [x2, y2], [x1, y2]]


def photograph(path: Path, seed: int = 0, height: int = HEIGHT, width: int = WIDTH) -> Path:
    """Writes an image of random pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    path.write_bytes(cv2.imencode(path.suffix, pixels)[1].tobytes())
    return path


def write_json(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def write_text(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def write_png(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    return path


def filled(box: tuple[float, ...], value: int = 255, dtype=np.uint8) -> np.ndarray:
    """A mask image of one box."""
    x1, y1, x2, y2 = map(int, box)
    mask = np.zeros((HEIGHT, WIDTH), dtype)
    mask[y1:y2, x1:x2] = value
    return mask


def coco_content(names: tuple[str, ...] = NAMES) -> dict[str, Any]:
    images, annotations = [], []
    for number, name in enumerate(names, 1):
        images.append({"id": number, "file_name": name, "height": HEIGHT, "width": WIDTH})
        flat = [value for point in corners(CAT) for value in point]
        common = {"image_id": number, "iscrowd": 0}
        annotations.append(
            {**common, "id": 2 * number, "category_id": 5, "bbox": [10, 10, 30, 20], "segmentation": [flat]}
        )
        annotations.append({**common, "id": 2 * number + 1, "category_id": 3, "bbox": [50, 20, 20, 30]})
    categories = [{"id": 5, "name": "cat"}, {"id": 3, "name": "dog"}]
    return {"images": images, "annotations": annotations, "categories": categories}


def write_coco(folder: Path) -> Path:
    for seed, name in enumerate(NAMES):
        photograph(folder / name, seed)
    return write_json(folder / "annotations.json", coco_content()).parent


def labelme_content(name: str) -> dict[str, Any]:
    shapes = [
        {"label": "cat", "points": corners(CAT), "group_id": None, "shape_type": "polygon", "flags": {}},
        {"label": "dog", "points": [[70, 50], [50, 20]], "group_id": None, "shape_type": "rectangle", "flags": {}},
    ]
    return {
        "version": "5.2.1",
        "shapes": shapes,
        "imagePath": name,
        "imageData": None,
        "imageHeight": HEIGHT,
        "imageWidth": WIDTH,
    }


def write_labelme(folder: Path) -> Path:
    for seed, name in enumerate(NAMES):
        photograph(folder / name, seed)
        write_json(folder / Path(name).with_suffix(".json"), labelme_content(name))
    return folder


def via_regions() -> list[dict[str, Any]]:
    xs, ys = zip(*corners(CAT))
    return [
        {
            "shape_attributes": {"name": "polygon", "all_points_x": xs, "all_points_y": ys},
            "region_attributes": {"label": "cat"},
        },
        {
            "shape_attributes": {"name": "rect", "x": 50, "y": 20, "width": 20, "height": 30},
            "region_attributes": {"label": "dog"},
        },
    ]


def via_content() -> dict[str, Any]:
    return {
        f"{name}123": {"filename": name, "size": 123, "regions": via_regions(), "file_attributes": {}} for name in NAMES
    }


def write_via(folder: Path) -> Path:
    for seed, name in enumerate(NAMES):
        photograph(folder / name, seed)
    return write_json(folder / "via_region_data.json", via_content()).parent


def write_via_csv(path: Path, regions: dict[str, list[dict[str, Any]]]) -> Path:
    with open(path, "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(
            [
                "filename",
                "file_size",
                "file_attributes",
                "region_count",
                "region_id",
                "region_shape_attributes",
                "region_attributes",
            ]
        )
        for name, of_image in regions.items():
            for number, region in enumerate(of_image):
                texts = [json.dumps(region[key]) for key in ("shape_attributes", "region_attributes")]
                rows.writerow([name, 1, "{}", len(of_image), number, *texts])
    return path


def cvat_image(number: int, name: str, shapes: str | None = None) -> str:
    points = ";".join(f"{x},{y}" for x, y in corners(CAT))
    default = (
        f'<polygon label="cat" points="{points}" z_order="0"></polygon>'
        '<box label="dog" xtl="50" ytl="20" xbr="70" ybr="50" z_order="0"><attribute name="age">3</attribute></box>'
    )
    return (
        f'<image id="{number}" name="{name}" width="{WIDTH}" height="{HEIGHT}">{default if shapes is None else shapes}'
        "</image>"
    )


def cvat_text(*images: str) -> str:
    labels = "".join(f"<label><name>{name}</name></label>" for name in ("dog", "cat", "bird"))
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version>'
        f"<meta><task><labels>{labels}</labels></task></meta>{''.join(images)}</annotations>"
    )


def write_cvat(folder: Path) -> Path:
    images = []
    for number, name in enumerate(NAMES):
        photograph(folder / "images" / name, number)
        images.append(cvat_image(number, name))
    return write_text(folder / "annotations.xml", cvat_text(*images)).parent


def yolo_lines() -> str:
    polygon = " ".join(f"{x / WIDTH:.6f} {y / HEIGHT:.6f}" for x, y in corners(CAT))
    return f"1 {polygon}\n0 {60 / WIDTH:.6f} {35 / HEIGHT:.6f} {20 / WIDTH:.6f} {30 / HEIGHT:.6f}\n"


def write_yolo(folder: Path) -> Path:
    for seed, name in enumerate(NAMES):
        photograph(folder / "images" / name, seed)
        write_text(folder / "labels" / Path(name).with_suffix(".txt"), yolo_lines())
    return write_text(folder / "data.yaml", "nc: 2\nnames: [dog, cat]\n").parent


def voc_xml(name: str, objects: str | None = None, database: str = "Unknown") -> str:
    default = (
        "<object><name>cat</name><bndbox><xmin>10</xmin><ymin>10</ymin><xmax>40</xmax><ymax>30</ymax></bndbox></object>"
        "<object><name>dog</name><bndbox><xmin>50</xmin><ymin>20</ymin><xmax>70</xmax><ymax>50</ymax></bndbox></object>"
    )
    return (
        f"<annotation><folder></folder><filename>{name}</filename><source><database>{database}</database></source>"
        f"<size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>3</depth></size>"
        f"{default if objects is None else objects}</annotation>"
    )


def write_voc(folder: Path) -> Path:
    red, green = (0, 0, 128), (0, 128, 0)  # blue, green, red: OpenCV's order
    for seed, name in enumerate(NAMES):
        photograph(folder / "JPEGImages" / name, seed)
        write_text(folder / "Annotations" / Path(name).with_suffix(".xml"), voc_xml(name))
        mask = filled(CAT, 1)
        write_png(folder / "SegmentationObject" / name, mask[..., None] * np.array(green, np.uint8))
        write_png(folder / "SegmentationClass" / name, mask[..., None] * np.array(red, np.uint8))
    return write_text(
        folder / "labelmap.txt", "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncat:128,0,0::\n"
    ).parent


def write_instance_png(folder: Path) -> Path:
    for seed, name in enumerate(NAMES):
        photograph(folder / "images" / name, seed)
        write_png(folder / "masks" / "cat" / name, filled(CAT, 300, np.uint16))
        write_png(folder / "masks" / "dog" / name, filled(DOG, 7, np.uint16))
    return folder


def write_object_png(folder: Path) -> Path:
    for seed, name in enumerate(NAMES):
        stem = Path(name).stem
        photograph(folder / stem / "images" / name, seed)
        write_png(folder / stem / "masks" / "cat" / "1.png", filled(CAT))
        write_png(folder / stem / "masks" / "dog" / "2.png", filled(DOG))
    return folder


def write_txt(folder: Path) -> Path:
    lines = []
    for seed, name in enumerate(NAMES):
        photograph(folder / name, seed)
        lines.append(f"{name} 10,10,40,30,2 50,20,70,50,1\n")
    write_text(folder / "classes.txt", "dog\ncat\n")
    return write_text(folder / "labels_list.txt", "".join(lines)).parent


WRITERS: dict[str, Callable[[Path], Path]] = {
    "coco": write_coco,
    "labelme": write_labelme,
    "via": write_via,
    "cvat": write_cvat,
    "yolo": write_yolo,
    "voc": write_voc,
    "instance_png": write_instance_png,
    "object_png": write_object_png,
    "txt": write_txt,
}
CAT_HAS_MASK = frozenset(WRITERS) - {"txt"}
DOG_HAS_MASK = frozenset({"instance_png", "object_png"})
