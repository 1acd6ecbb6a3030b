"""The metadata file beside an exported model: what an app must know to feed it and to read its answers."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from maskrcnn.config import Config
from maskrcnn.errors import ExportError
from maskrcnn.files import sha256, write_json

FORMAT = "maskrcnn-export-2"
OLDER_FORMAT = "maskrcnn-export-1"  # said paste_integer_boxes, true or false, where there is a paste rule now


@dataclass(frozen=True)
class ModelFile:
    """A model of fixed input size, and the file it is in, relative to the metadata file."""

    file: str
    height: int
    width: int
    batch_size: int
    sha256: str


@dataclass(frozen=True)
class Metadata:
    """Content of the metadata file; settings have the meaning of the configuration's keys.

    classes, category_ids: of the labels 1..K. pixel_mean and pixel_std are applied inside the graph. opset: of an ONNX
    model, 0 where there is none. weights_sha256: of the checkpoint file.
    """

    models: tuple[ModelFile, ...]
    classes: tuple[str, ...]
    category_ids: tuple[int | str, ...]
    batch_size: int
    image_height: int
    image_width: int
    keep_ratio: bool
    channel_order: str
    pixel_mean: tuple[float, ...]
    pixel_std: tuple[float, ...]
    max_detections: int
    mask_size: int
    mask_threshold: float
    paste: str
    score_threshold: float
    iou_threshold: float
    opset: int
    mindspore_version: str
    maskrcnn_version: str
    weights_sha256: str

    @classmethod
    def read(cls, path: Path) -> Metadata:
        """Reads and checks a metadata file.

        Raises:
            ExportError: It is missing, or is none that this version understands.
        """
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ExportError(f"{path} is missing: export.py writes it beside the model; keep them together") from None
        except (OSError, ValueError, RecursionError) as error:
            raise ExportError(f"{path} cannot be read as metadata of a model: {error}; export it again") from error
        found = values.get("format") if isinstance(values, dict) else None
        if found not in (FORMAT, OLDER_FORMAT):
            raise ExportError(f"{path} is of format {found!r}, this version reads {FORMAT!r}: export the model again")
        try:
            if found == OLDER_FORMAT:
                values["paste"] = "torchvision" if values["paste_integer_boxes"] else "exact"
            models = tuple(ModelFile(**model) for model in values["models"])
            values = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
            return cls(**{**{item.name: values[item.name] for item in fields(cls)}, "models": models})
        except (KeyError, TypeError) as error:
            raise ExportError(f"{path} is incomplete ({error}): export the model again") from error

    def write(self, path: Path) -> None:
        """Writes the file, all or nothing.

        Raises:
            MaskRCNNError: It cannot be written.
        """
        write_json(path, {"format": FORMAT, **asdict(self)}, indent=1)

    def with_others(self, older: Metadata | None) -> Metadata:
        """Adds the model files of other formats that ``older`` lists, if all the rest of it is the same."""
        if older is None or replace(older, models=(), opset=0) != replace(self, models=(), opset=0):
            return self
        own = {model.file for model in self.models}
        kept = tuple(model for model in older.models if model.file not in own)
        return replace(self, models=self.models + kept, opset=max(self.opset, older.opset))

    def of_format(self, suffix: str) -> list[ModelFile]:
        """Returns the model files with a suffix such as ".onnx"."""
        return [model for model in self.models if Path(model.file).suffix == suffix]

    def input_settings(self) -> dict[str, Any]:
        """Returns the configuration's keys that the model's input has decided."""
        return {
            "img_height": self.image_height,
            "img_width": self.image_width,
            "test_batch_size": self.batch_size,
        }

    def pixel_settings(self) -> dict[str, Any]:
        """Returns the configuration's keys for what happens to pixels before and after the model."""
        return {"keep_ratio": self.keep_ratio, "mask_thr_binary": self.mask_threshold, "paste": self.paste}


def describe(
    cfg: Config, classes: tuple[str, ...], category_ids: tuple[int | str, ...], weights: Path, opset: int
) -> Metadata:
    """Returns the metadata of an export, model files still to be named.

    Args:
        cfg: Its settings.
        classes: Names of the labels, that of label 1 first.
        category_ids: Their ids in the data set the network was trained on.
        weights: The checkpoint.
        opset: Of an ONNX model, 0 for other formats.
    """
    import mindspore

    from maskrcnn import __version__

    return Metadata(
        models=(),
        classes=classes,
        category_ids=category_ids,
        batch_size=cfg.test_batch_size,
        image_height=cfg.img_height,
        image_width=cfg.img_width,
        keep_ratio=cfg.keep_ratio,
        channel_order="RGB",
        pixel_mean=cfg.pixel_mean,
        pixel_std=cfg.pixel_std,
        max_detections=cfg.test_max_per_img,
        mask_size=cfg.mask_shape[0],
        mask_threshold=cfg.mask_thr_binary,
        paste=cfg.paste,
        score_threshold=cfg.test_score_thr,
        iou_threshold=cfg.test_iou_thr,
        opset=opset,
        mindspore_version=mindspore.__version__,
        maskrcnn_version=__version__,
        weights_sha256=sha256(weights),
    )


def metadata_path(model: Path) -> Path:
    """Returns the metadata file of a model file."""
    return model.with_suffix(".json")
