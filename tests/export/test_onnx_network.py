"""The whole network as ONNX against MindSpore, in ONNX Runtime and OpenVINO, and what the file is made of."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from mindspore import nn
from tests.export.networks import assert_same_detections, pictures, small_config, small_network

from maskrcnn.config.parsing import read_yaml
from maskrcnn.errors import ExportError
from maskrcnn.export.fold import fold_norms
from maskrcnn.export.onnx_network import onnx_model
from maskrcnn.inference.detector import Detector
from maskrcnn.inference.results import Detections
from maskrcnn.models.box_head import DetectionSettings
from maskrcnn.models.rpn import ProposalSettings
from maskrcnn.ops.box_coder import BoxCoder
from maskrcnn.ops.roi_align import RoIAlignSettings

HEIGHT, WIDTH = 128, 192

# Operators that CANN's ONNX parsers register for opsets up to 18, ATC's documentation up to 15: those of
# github.com/Ascend's and gitcode.com/cann's *_onnx_plugin.cpp and its list of operators that need no parser.
ATC_OPERATORS = {
    "Add", "And", "Cast", "Concat", "Conv", "ConvTranspose", "Div", "Exp", "Expand", "Gather", "Gemm", "Greater",
    "Identity", "InstanceNormalization", "Less", "MatMul", "Max", "MaxPool", "Min", "Mul", "NonMaxSuppression", "Not",
    "Pad", "ReduceSum", "Relu", "Reshape", "Resize", "RoiAlign", "ScatterND", "Shape", "Sigmoid", "Slice", "Softmax",
    "Squeeze", "Sub", "TopK", "Transpose", "Unsqueeze", "Where",
}  # fmt: skip


class Exported:
    """What MindSpore detects in two pictures, and the model exported for batches of them."""

    def __init__(self, images: int, **settings) -> None:
        self.network = small_network(small_config(**settings))
        self.inputs = pictures(images, HEIGHT, WIDTH)
        self.detections = Detector(self.network)(*self.inputs)
        fold_norms(self.network)
        self.model = onnx_model(self.network, images, HEIGHT, WIDTH)


@pytest.fixture(scope="module")
def pair() -> Exported:
    """Aligned RoIAlign, frozen batch norm, two images at a time."""
    return Exported(2)


@pytest.fixture(scope="module")
def single() -> Exported:
    """The older RoIAlign, group norm, proposals of a least size, one image at a time."""
    return Exported(1, norm="gn", roi_aligned=False, rpn_min_bbox_min_size=2.0, rcnn_num_layers=1)


@pytest.fixture(scope="module")
def zoo() -> Exported:
    """The arithmetic of MindSpore's model zoo, and no small detections."""
    file = Path(__file__).resolve().parents[2] / "configs" / "mindspore_zoo.yaml"
    return Exported(2, **read_yaml(file), test_min_bbox_size=6.0, rcnn_num_layers=1)


def run(model: onnx.ModelProto, image: np.ndarray, image_shape: np.ndarray) -> Detections:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return Detections(*session.run(None, {"image": image, "image_shape": image_shape}))


@pytest.mark.parametrize("name", ["pair", "single", "zoo"])
def test_detections_are_those_of_mindspore(name: str, request) -> None:
    exported = request.getfixturevalue(name)
    found = run(exported.model, *exported.inputs)
    assert found.valid.dtype == np.uint8 and found.labels.dtype == np.int32
    found = found._replace(valid=found.valid.astype(bool))
    assert exported.detections.valid.sum() >= 20 * len(found.valid)
    assert len(set(exported.detections.labels[exported.detections.valid])) > 1
    assert_same_detections(found, exported.detections)
    for row, valid in enumerate(found.valid):  # best first, valid ones first, nothing behind them
        assert (np.diff(found.scores[row]) <= 0).all() and (np.diff(valid.astype(int)) <= 0).all()
        assert (found.scores[row][~valid] == 0).all()


def test_openvino_finds_the_same(pair) -> None:
    openvino = pytest.importorskip("openvino")
    model = openvino.Core().read_model(pair.model.SerializeToString(), b"")
    settings = {"INFERENCE_PRECISION_HINT": "f32", "EXECUTION_MODE_HINT": "ACCURACY"}
    compiled = openvino.Core().compile_model(model, "CPU", settings)
    found = Detections(*(np.array(value) for value in compiled(list(pair.inputs)).values()))
    assert_same_detections(found._replace(valid=found.valid.astype(bool)), pair.detections)


def test_no_detection_is_an_ordinary_result() -> None:
    network = small_network(small_config(test_score_thr=1.0))
    fold_norms(network)
    found = run(onnx_model(network, 1, HEIGHT, WIDTH), *pictures(1, HEIGHT, WIDTH))
    assert not found.valid.any() and (found.scores == 0).all()
    assert all(np.isfinite(value).all() for value in found)


@pytest.mark.parametrize("name, opset", [("pair", 16), ("single", 13), ("zoo", 13)])
def test_operators_are_known_to_atc(name: str, opset: int, request) -> None:
    model = request.getfixturevalue(name).model
    assert {node.op_type for node in model.graph.node} <= ATC_OPERATORS
    assert [(item.domain, item.version) for item in model.opset_import] == [("", opset)]
    assert not [node for node in model.graph.node if node.op_type == "Split" and len(node.output) < 2]


def test_shapes_are_fixed(pair) -> None:
    graph = pair.model.graph
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in [*graph.input, *graph.output]}
    assert shapes == {
        "image": [2, HEIGHT, WIDTH, 3], "image_shape": [2, 2], "boxes": [2, 40, 4], "scores": [2, 40],
        "labels": [2, 40], "valid": [2, 40], "masks": [2, 40, 28, 28],
    }  # fmt: skip
    onnx.checker.check_model(onnx.shape_inference.infer_shapes(pair.model, strict_mode=True), full_check=True)


def test_file_is_the_weights(pair) -> None:
    weights = sum(parameter.asnumpy().nbytes for parameter in pair.network.get_parameters())
    assert pair.model.ByteSize() <= 1.05 * weights


def names(kind: type) -> set[str]:
    return {item.name for item in fields(kind)}


def test_no_setting_is_left_out() -> None:
    """A new setting of the network must find its way into the ONNX graph: then add it here."""
    assert names(RoIAlignSettings) == {"size", "sampling", "aligned", "strides", "finest_scale"}
    assert names(BoxCoder) == {"means", "stds", "convention"}
    assert names(DetectionSettings) == {"score_thr", "iou_thr", "nms_pre", "max_per_img", "min_size"}
    assert names(ProposalSettings) == {"nms_pre", "nms_post", "max_num", "nms_thr", "min_size"}


class Other(nn.Cell):
    """A part that no ONNX graph knows."""


@pytest.mark.parametrize("place", ["mask_head", "backbone.bn1", "fpn.upsample", "backbone.layer2.0"])
def test_an_unknown_part_is_one_clear_error(place: str) -> None:
    network = small_network(small_config())
    fold_norms(network)
    *owners, name = place.split(".")
    owner = network
    for one in owners:
        owner = getattr(owner, one)
    if name.isdigit():
        owner[int(name)] = Other()
    else:
        setattr(owner, name, Other())
    with pytest.raises(ExportError, match=r"^Other has no ONNX form here: export MINDIR instead$"):
        onnx_model(network, 1, HEIGHT, WIDTH)
