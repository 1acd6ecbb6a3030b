"""A network written as MINDIR, ONNX or AIR: whole files or none."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import Tensor

from maskrcnn.errors import ExportError
from maskrcnn.files import move_into_place
from maskrcnn.models.mask_rcnn import MaskRCNN

SUFFIXES = {"MINDIR": ".mindir", "ONNX": ".onnx", "AIR": ".air"}
INSTEAD_OF_AIR = (
    "run the same command with --device_target Ascend on a machine with an Ascend card, or export ONNX, which atc "
    "--framework=5 reads, or MINDIR for MindSpore Lite"
)


def write_model(network: MaskRCNN, file_format: str, path: Path, images: int, height: int, width: int) -> int:
    """Writes a network whose batch normalisation is folded, for batches of a fixed size.

    Args:
        network: The network.
        file_format: A key of ``SUFFIXES``.
        path: The file.
        images: Images to a batch.
        height: Rows of the canvas in pixels.
        width: Columns of the canvas in pixels.

    Returns:
        The ONNX opset, 0 for the other formats.

    Raises:
        ExportError: The format is not possible here, or the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # MindSpore appends the suffix itself and leaves a file that only its owner can read.
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
            made = Path(folder) / path.name
            opset = _write(network, file_format, made, images, height, width)
            made.chmod(0o666 & ~_umask())
            move_into_place(made, path)
    except OSError as error:
        raise ExportError(f"cannot write {path}: {error.strerror or error}; choose another --file_name") from error
    return opset


def _write(network: MaskRCNN, file_format: str, path: Path, images: int, height: int, width: int) -> int:
    if file_format == "ONNX":
        try:
            from maskrcnn.export.onnx_network import onnx_model
        except ImportError as error:
            raise ExportError(f"ONNX needs the package onnx ({error}): pip install onnx") from error
        model = onnx_model(network, images, height, width)
        path.write_bytes(model.SerializeToString())
        return model.opset_import[0].version
    image = Tensor(np.zeros((images, height, width, 3), np.uint8))
    image_shape = Tensor(np.tile(np.float32([height, width]), (images, 1)))
    try:
        ms.export(network, image, image_shape, file_name=str(path.with_suffix("")), file_format=file_format)
    except (ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        todo = INSTEAD_OF_AIR if file_format == "AIR" else "try --file_format ONNX"
        raise ExportError(f"MindSpore cannot export {file_format} here ({reason}): {todo}") from error
    return 0


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
