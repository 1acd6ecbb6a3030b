"""An exported model as a function from images to detections, run by ONNX Runtime or MindSpore."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from maskrcnn.errors import ExportError
from maskrcnn.export.metadata import Metadata, ModelFile
from maskrcnn.files import sha256
from maskrcnn.inference.results import Detections

Runner = Callable[[np.ndarray, np.ndarray], "list[np.ndarray]"]


class ExportedModel:
    """The models of one export, one for each canvas; called like a ``Detector``."""

    def __init__(self, runners: dict[tuple[int, int], Runner]) -> None:
        self.runners = runners

    @property
    def both_canvases(self) -> bool:
        """Whether upright images have a model of their own."""
        return len(self.runners) > 1

    def __call__(self, image: np.ndarray, image_shape: np.ndarray) -> Detections:
        """Finds the objects of a batch: image uint8 [N,H,W,3], image_shape float32 [N,2]."""
        boxes, scores, labels, valid, masks = self.runners[image.shape[1:3]](image, image_shape)
        return Detections(boxes, scores, labels, valid.astype(bool), masks)


def load_exported(path: Path, metadata: Metadata) -> ExportedModel:
    """Loads a model file and, if there is one, that of the other canvas.

    ONNX runs on the CPU, MINDIR on the device that MindSpore was set to.

    Args:
        path: The model file.
        metadata: What the file beside it says.

    Raises:
        ExportError: Another kind of file, a missing runtime, or a file that is not the one its metadata describes.
    """
    loaders = {".onnx": _onnx_runner, ".mindir": _mindir_runner}
    if path.suffix not in loaders:
        raise ExportError(f"{path}: models of the kinds {' and '.join(loaders)} can be run here, not '{path.suffix}'")
    models = metadata.of_format(path.suffix)
    if path.name not in [model.file for model in models]:
        raise ExportError(f"{path} is not listed in its metadata {path.with_suffix('.json')}: export it again")
    return ExportedModel({(model.height, model.width): loaders[path.suffix](_checked(path, model)) for model in models})


def _checked(path: Path, model: ModelFile) -> Path:
    """Returns the file of ``model``, beside ``path``."""
    file = path.parent / model.file
    if not file.is_file():
        raise ExportError(f"{file} is missing: export.py wrote it with {path.name}; keep them together")
    if sha256(file) != model.sha256:
        raise ExportError(f"{file} is damaged or from another export: its checksum is not that in the metadata")
    return file


def _onnx_runner(path: Path) -> Runner:
    try:
        onnxruntime = importlib.import_module("onnxruntime")
    except ImportError as error:
        raise ExportError(f"{path} needs ONNX Runtime ({error}): pip install onnxruntime") from error
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # its error classes have no common base of their own
        raise ExportError(f"ONNX Runtime cannot load {path}: {str(error).splitlines()[0]}") from error
    return lambda image, image_shape: session.run(None, {"image": image, "image_shape": image_shape})


def _mindir_runner(path: Path) -> Runner:
    import mindspore as ms

    try:
        network = ms.nn.GraphCell(ms.load(str(path)))
    except (RuntimeError, ValueError) as error:
        raise ExportError(f"MindSpore cannot load {path}: {str(error).strip().splitlines()[0]}") from error
    return lambda image, image_shape: [out.asnumpy() for out in network(ms.Tensor(image), ms.Tensor(image_shape))]
