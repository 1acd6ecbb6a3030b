"""Exported models as detectors: the right model for each canvas, and files that cannot be used."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from maskrcnn.config import Config
from maskrcnn.errors import ExportError
from maskrcnn.export.metadata import Metadata, ModelFile, describe
from maskrcnn.files import sha256
from maskrcnn.inference.exported import load_exported


def write_constant_model(path: Path, height: int, width: int, score: float) -> None:
    """An ONNX model with the interface of an export that gives one detection with a fixed score."""
    float32 = TensorProto.FLOAT
    inputs = [("image", TensorProto.UINT8, [1, height, width, 3]), ("image_shape", float32, [1, 2])]
    values = {
        "boxes": (float32, [1, 1, 4], [1, 2, 3, 4]), "scores": (float32, [1, 1], [score]),
        "labels": (TensorProto.INT32, [1, 1], [2]), "valid": (TensorProto.UINT8, [1, 1], [1]),
        "masks": (float32, [1, 1, 2, 2], [0, 1, 0, 1]),
    }  # fmt: skip
    nodes = [
        helper.make_node("Constant", [], [name], value=helper.make_tensor(name, kind, shape, value))
        for name, (kind, shape, value) in values.items()
    ]
    graph = helper.make_graph(
        nodes, "constant",
        [helper.make_tensor_value_info(*one) for one in inputs],
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape, _) in values.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    path.write_bytes(model.SerializeToString())


@pytest.fixture
def metadata(tmp_path) -> Metadata:
    """Of a landscape and an upright model in ``tmp_path``."""
    models = []
    for name, height, width, score in (("net.onnx", 64, 128, 0.25), ("net_upright.onnx", 128, 64, 0.75)):
        write_constant_model(tmp_path / name, height, width, score)
        models.append(ModelFile(name, height, width, 1, sha256(tmp_path / name)))
    made = describe(Config(img_width=128, img_height=64), ("a", "b"), (1, 2), tmp_path / "net.onnx", 13)
    return replace(made, models=tuple(models))


def test_model_of_the_canvas(metadata, tmp_path) -> None:
    model = load_exported(tmp_path / "net.onnx", metadata)
    assert model.both_canvases
    for height, width, score in ((64, 128, 0.25), (128, 64, 0.75)):
        found = model(np.zeros((1, height, width, 3), np.uint8), np.float32([[height, width]]))
        assert found.scores.tolist() == [[score]] and found.labels.tolist() == [[2]]
        assert found.valid.dtype == bool and found.valid.all()


def test_one_canvas(metadata, tmp_path) -> None:
    model = load_exported(tmp_path / "net.onnx", replace(metadata, models=metadata.models[:1]))
    assert not model.both_canvases


def refused(path: Path, metadata: Metadata) -> str:
    with pytest.raises(ExportError) as caught:
        load_exported(path, metadata)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_files_that_cannot_be_used(metadata, tmp_path) -> None:
    assert "not '.om'" in refused(tmp_path / "net.om", metadata)
    assert "not listed in its metadata" in refused(tmp_path / "other.onnx", metadata)
    upright = tmp_path / "net_upright.onnx"
    content = upright.read_bytes()
    upright.write_bytes(content[:-1])
    assert "net_upright.onnx is damaged or from another export" in refused(tmp_path / "net.onnx", metadata)
    upright.unlink()
    assert "net_upright.onnx is missing" in refused(tmp_path / "net.onnx", metadata)


@pytest.mark.parametrize("name, runtime", [("net.onnx", "ONNX Runtime"), ("net.mindir", "MindSpore")])
def test_files_that_the_runtime_refuses(metadata, tmp_path, name: str, runtime: str) -> None:
    (tmp_path / name).write_bytes(b"not a model")
    model = ModelFile(name, 64, 128, 1, sha256(tmp_path / name))
    assert f"{runtime} cannot load" in refused(tmp_path / name, replace(metadata, models=(model,)))


def test_without_the_runtime(metadata, tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert "pip install onnxruntime" in refused(tmp_path / "net.onnx", metadata)
