"""A trained model from its file, whichever kind it is: a checkpoint, or a model that export.py wrote."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from maskrcnn.config import Config
from maskrcnn.config.stored import with_stored
from maskrcnn.data.sources.classes import without_background
from maskrcnn.errors import CheckpointError, ConfigError
from maskrcnn.export.metadata import Metadata, metadata_path
from maskrcnn.inference.pipeline import DetectorFunction
from maskrcnn.inference.results import CategoryId
from maskrcnn.inference.settings import InferenceSettings

if TYPE_CHECKING:
    from maskrcnn.checkpoint.weights import LoadedWeights


@dataclass(frozen=True)
class OpenedModel:
    """A model that is ready to run.

    Attributes:
        detector: The network.
        class_names: The name of each label, that of label 1 first.
        category_ids: Their ids in the data set the model was trained on; None where the file does not say.
        settings: How image files become what the network takes, and its masks pixels.
        notes: A line for each setting that the user gave and that differs from the model's own.
        proposer: Its region proposal network alone; None for an exported model.
    """

    detector: DetectorFunction
    class_names: tuple[str, ...]
    category_ids: tuple[CategoryId, ...] | None
    settings: InferenceSettings
    notes: tuple[str, ...] = ()
    proposer: DetectorFunction | None = None


@dataclass(frozen=True)
class CheckpointContent:
    """What a checkpoint says about itself, joined with a run's settings.

    Attributes:
        weights: Its weights.
        cfg: The settings: the checkpoint's own, except where the user gave others.
        class_names: The name of each label, that of label 1 first.
        category_ids: Their ids in the data set the network was trained on; None where the checkpoint does not say.
        notes: Where the weights come from, and a line for each setting that the user gave and that differs from the
            checkpoint's own.
    """

    weights: LoadedWeights
    cfg: Config
    class_names: tuple[str, ...]
    category_ids: tuple[CategoryId, ...] | None
    notes: tuple[str, ...]


def model_file(cfg: Config) -> Path:
    """Returns the file of a run's model: ``model`` if that is given, otherwise ``checkpoint_path``.

    Raises:
        ConfigError: Both are given.
        CheckpointError: None is given, or the file does not exist.
    """
    if cfg.model and cfg.checkpoint_path:
        raise ConfigError("both --model and --checkpoint_path are given: name one of them")
    if not (cfg.model or cfg.checkpoint_path):
        raise CheckpointError("no checkpoint is given: name one with --checkpoint_path FILE, or a --model FILE")
    path = Path(cfg.model or cfg.checkpoint_path)
    if not path.is_file():
        raise CheckpointError(f"{'model' if cfg.model else 'checkpoint'} {path} does not exist")
    return path


def needs_mindspore(path: Path) -> bool:
    """Tells whether a model runs in MindSpore, whose device has to be set before the model is opened."""
    return path.suffix != ".onnx"


def open_model(cfg: Config, unnamed: Sequence[str] = ()) -> OpenedModel:
    """Opens the model of a run.

    Settings come from the model's file, except for those that the user gave and that may differ in inference.

    Args:
        cfg: The run's settings.
        unnamed: The classes of a checkpoint that does not name them, where ``coco_classes`` does not either.

    Raises:
        MaskRCNNError: The file cannot be used, or contradicts what the user gave.
    """
    path = model_file(cfg)
    return _open_exported(cfg, path) if cfg.model else _open_checkpoint(cfg, path, unnamed)


def read_checkpoint(cfg: Config, path: Path, unnamed: Sequence[str] = ()) -> CheckpointContent:
    """Reads a checkpoint, or weights of any other source that can be converted, and what they say about themselves.

    Args:
        cfg: The run's settings.
        path: The file.
        unnamed: The names of the classes, where neither the checkpoint nor ``coco_classes`` names them.

    Raises:
        CheckpointError: It is unreadable, its classes have no names, or the user gave other ones.
        ConfigError: The user gave a setting that contradicts the weights.
    """
    from maskrcnn.convert.reading import read_weights  # imports MindSpore, which takes seconds

    weights = read_weights(path)
    own = weights.class_names
    cfg, notes = with_stored(cfg, weights.meta.get("config") or {}, str(path))
    given = without_background(cfg.coco_classes)
    _check_classes(cfg, path, own)
    names = own or given or tuple(unnamed)
    if not names:
        raise CheckpointError(f"{path} does not say its class names: name them with --coco_classes")
    ids = weights.meta.get("category_ids") if own else None
    return CheckpointContent(weights, cfg, names, tuple(ids) if ids else None, (*weights.notes, *notes))


def _check_classes(cfg: Config, path: Path, own: tuple[str, ...]) -> None:
    """Refuses ``coco_classes`` that the user gave and that are not those of the model, where it names its own."""
    given = without_background(cfg.coco_classes)
    if own and "coco_classes" in cfg.given and given not in ((), own):
        raise CheckpointError(
            f"{path} was trained on other classes than coco_classes says: {_difference(own, given)}; "
            "leave coco_classes out"
        )


def _difference(own: Sequence[str], given: Sequence[str]) -> str:
    if len(own) != len(given):
        return f"{len(own)} classes instead of {len(given)}"
    label = next(label for label, pair in enumerate(zip(own, given), 1) if pair[0] != pair[1])
    return f"class {label} is '{own[label - 1]}' instead of '{given[label - 1]}'"


def _open_checkpoint(cfg: Config, path: Path, unnamed: Sequence[str]) -> OpenedModel:
    from maskrcnn.inference.detector import Detector  # imports MindSpore, which takes seconds
    from maskrcnn.inference.proposals import ProposalDetector

    content = read_checkpoint(cfg, path, unnamed)
    detector = Detector.from_config(content.cfg, len(content.class_names) + 1)
    detector.load(content.weights)
    settings = InferenceSettings.from_config(content.cfg)
    proposer = ProposalDetector(detector.network)  # compiled when it is first called
    return OpenedModel(detector, content.class_names, content.category_ids, settings, content.notes, proposer)


def _open_exported(cfg: Config, path: Path) -> OpenedModel:
    from maskrcnn.inference.exported import load_exported  # imports a runtime, which takes seconds

    metadata = Metadata.read(metadata_path(path))
    _check_classes(cfg, path, metadata.classes)
    model = load_exported(path, metadata)
    given = {key: value for key, value in cfg.given.items() if key not in metadata.input_settings()}
    cfg = Config.from_given({**cfg.to_dict(), **metadata.input_settings()}, given)
    cfg, notes = with_stored(cfg, metadata.pixel_settings(), str(path))
    settings = InferenceSettings.from_config(cfg, model.both_canvases)
    return OpenedModel(model, metadata.classes, metadata.category_ids, settings, tuple(notes))
