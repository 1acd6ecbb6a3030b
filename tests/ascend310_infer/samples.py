"""Small models and data sets for the app's tests."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from maskrcnn.files import sha256

ROOT = Path(__file__).resolve().parents[2]
HEIGHT, WIDTH, SIDE, SLOTS = 64, 128, 28, 3
CATEGORIES = [{"id": 3, "name": "cat"}, {"id": 17, "name": "dog"}]


def metadata(names: dict[str, tuple[int, int]], batch_size: int = 1, paste: str = "exact") -> dict[str, Any]:
    """What export.py writes, for model files of the sizes (height, width) given."""
    return {
        "format": "maskrcnn-export-2",
        "models": [
            {"file": name, "height": height, "width": width, "batch_size": batch_size, "sha256": ""}
            for name, (height, width) in names.items()
        ],
        "classes": ["cat", "dog"],
        "category_ids": [1, 2],
        "batch_size": batch_size,
        "image_height": HEIGHT,
        "image_width": WIDTH,
        "keep_ratio": True,
        "channel_order": "RGB",
        "pixel_mean": [0.0, 0.0, 0.0],
        "pixel_std": [1.0, 1.0, 1.0],
        "max_detections": 100,
        "mask_size": SIDE,
        "mask_threshold": 0.5,
        "paste": paste,
        "score_threshold": 0.05,
        "iou_threshold": 0.5,
        "opset": 13,
        "mindspore_version": "2.10.0",
        "maskrcnn_version": "0.1.0",
        "weights_sha256": "",
    }


def write_onnx(path: Path, images: int, height: int, width: int) -> None:
    """A network with the inputs and outputs of an export and arithmetic that is exact in every engine.

    Three slots, the last not valid. Boxes are fixed fractions of the picture's size, scores the values of its first
    pixel / 256, masks the first 28 x 28 pixels / 256.
    """
    from onnx import TensorProto, helper, numpy_helper

    def constant(name: str, value: np.ndarray) -> Any:
        return numpy_helper.from_array(value, name)

    fractions = np.float32([[0.25, 0.125, 0.75, 1.0], [0.0, 0.5, 0.5, 0.875], [0.5, 0.5, 1.0, 1.0]])
    constants = [
        constant("fractions", fractions[None]),
        constant("swap", np.int64([1, 0, 1, 0])),
        constant("one", np.int64([1])),
        constant("starts", np.int64([0, 0])),
        constant("pixel", np.int64([1, 1])),
        constant("corner", np.int64([SIDE, SIDE])),
        constant("rows", np.int64([1, 2])),
        constant("scale", np.float32(1 / 256)),
        constant("labels_value", np.tile(np.int32([2, 1, 1]), (images, 1))),
        constant("valid_value", np.tile(np.uint8([1, 1, 0]), (images, 1))),
        constant("per_slot", np.int64([images, SLOTS])),
    ]
    nodes = [
        helper.make_node("Gather", ["image_shape", "swap"], ["sides"], axis=1),  # width, height, width, height
        helper.make_node("Unsqueeze", ["sides", "one"], ["sides3"]),
        helper.make_node("Mul", ["fractions", "sides3"], ["boxes"]),
        helper.make_node("Cast", ["image"], ["values"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["values", "scale"], ["pixels"]),
        helper.make_node("Slice", ["pixels", "starts", "pixel", "rows"], ["first"]),
        helper.make_node("Reshape", ["first", "per_slot"], ["scores"]),
        helper.make_node("Slice", ["pixels", "starts", "corner", "rows"], ["crop"]),
        helper.make_node("Transpose", ["crop"], ["masks"], perm=[0, 3, 1, 2]),
        helper.make_node("Identity", ["labels_value"], ["labels"]),
        helper.make_node("Identity", ["valid_value"], ["valid"]),
    ]
    outputs = {
        "boxes": (TensorProto.FLOAT, [images, SLOTS, 4]),
        "scores": (TensorProto.FLOAT, [images, SLOTS]),
        "labels": (TensorProto.INT32, [images, SLOTS]),
        "valid": (TensorProto.UINT8, [images, SLOTS]),
        "masks": (TensorProto.FLOAT, [images, SLOTS, SIDE, SIDE]),
    }
    graph = helper.make_graph(
        nodes,
        "toy",
        [
            helper.make_tensor_value_info("image", TensorProto.UINT8, [images, height, width, 3]),
            helper.make_tensor_value_info("image_shape", TensorProto.FLOAT, [images, 2]),
        ],
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in outputs.items()],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    path.write_bytes(model.SerializeToString())


def write_export(folder: Path, images: int = 1, paste: str = "exact") -> Path:
    """A toy export for both canvases; returns the path of the landscape model."""
    folder.mkdir(parents=True, exist_ok=True)
    sizes = {"toy.onnx": (HEIGHT, WIDTH), "toy_upright.onnx": (WIDTH, HEIGHT)}
    for name, size in sizes.items():
        write_onnx(folder / name, images, *size)
    described = metadata(sizes, images, paste)
    for model in described["models"]:
        model["sha256"] = sha256(folder / model["file"])
    (folder / "toy.json").write_text(json.dumps(described))
    return folder / "toy.onnx"


def write_stand_in(folder: Path, suffix: str) -> Path:
    """A model that the stand-ins of vendors' libraries read."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"net{suffix}"
    path.write_text(f"1 {HEIGHT} {WIDTH} {SLOTS} {SIDE}\n")
    (folder / "net.json").write_text(json.dumps(metadata({path.name: (HEIGHT, WIDTH)})))
    return path


def records_of_python(model: Path, annotations: Path, images: Path, output: Path, count: int = 0) -> dict[str, Any]:
    """The records of eval.py with the same model, under "bbox" and "segm"."""
    command = [sys.executable, str(ROOT / "eval.py"), "--model", str(model), "--ann_file", str(annotations)]
    command += ["--image_dir", str(images), "--eval_output", str(output), "--eval_images", str(count)]
    result = subprocess.run([*command, "--eval_pictures", "0"], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return {kind: json.loads((output / f"{kind}.json").read_text()) for kind in ("bbox", "segm")}


def write_data(folder: Path, count: int = 6) -> tuple[Path, Path]:
    """Photograph-like JPEGs, landscape and upright, and annotations; returns image folder and annotation file."""
    rng = np.random.default_rng(1)
    images = folder / "val2017"
    images.mkdir(parents=True)
    entries, annotations = [], []
    for number in range(1, count + 1):
        size = (120, 90) if number % 3 == 0 else (100 + number, 150)
        coarse = rng.integers(0, 256, (6, 8, 3), np.uint8)
        cv2.imwrite(str(images / f"{number}.jpg"), cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC))
        entries.append({"id": 1000 + number, "file_name": f"{number}.jpg", "height": size[0], "width": size[1]})
        box = [size[1] // 4, size[0] // 8, size[1] // 2, size[0] * 7 // 8]
        x1, y1, x2, y2 = box[0], box[1], box[0] + box[2], box[1] + box[3]
        annotations.append(
            {
                "id": number,
                "image_id": 1000 + number,
                "category_id": 17,
                "bbox": box,
                "area": box[2] * box[3],
                "iscrowd": 0,
                "segmentation": [[x1, y1, x2, y1, x2, y2, x1, y2]],
            }
        )
    file = folder / "instances.json"
    file.write_text(json.dumps({"images": entries, "annotations": annotations, "categories": CATEGORIES}))
    return images, file
