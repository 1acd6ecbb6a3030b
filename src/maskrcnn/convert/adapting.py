"""What all sources have in common: tensors under our names, brought into our layout and checked one by one."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from maskrcnn.config.backbones import BACKBONES
from maskrcnn.config.names import COCO_CLASSES
from maskrcnn.convert.layout import NORM_PARTS, Shapes, backbone_of, backbone_shapes, heads_of, network_shapes
from maskrcnn.errors import CheckpointError
from maskrcnn.models.layers import BATCH_NORM_EPS

# COCO's 80 categories have ids up to 90; these were announced and never annotated.
COCO_UNUSED_IDS = frozenset((12, 26, 29, 30, 45, 66, 68, 69, 71, 83))
COCO_IDS = tuple(i for i in range(1, 91) if i not in COCO_UNUSED_IDS)
COCO_NAMES = COCO_CLASSES[1:]
CLASS_SCORE = "box_head.cls_score.weight"
TORCH_NORM = dict(zip(("weight", "bias", "running_mean", "running_var"), NORM_PARTS))


class Renamed(NamedTuple):
    """A tensor of the source: our name for it, or the reason for which it is left out."""

    target: str = ""
    left_out: str = ""


class Adapted(NamedTuple):
    """A tensor under our name: what it is called in the source, how it was changed, and its values."""

    source: str
    how: str
    array: np.ndarray


@dataclass
class Conversion:
    """The result of reading a source.

    Attributes:
        layout: What the source is.
        tensors: By our names, in our order.
        left_out: Names of the source with reasons.
        classes: Names and category ids of the labels 1..K, None if the source does not say them.
        config: The configuration file that describes such networks, "" for a backbone.
        settings: Values of configuration keys that make the network compute as there, {} for a backbone.
        notes: What a user should know.
        format: Of the file, and how it was read.
    """

    layout: str
    tensors: dict[str, Adapted]
    left_out: dict[str, str]
    classes: tuple[Sequence[str], Sequence[int]] | None = None
    config: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    format: str = ""

    def table(self) -> list[str]:
        """The mapping, one tensor a line."""
        lines = [f"{one.source} -> {name} {list(one.array.shape)} ({one.how})" for name, one in self.tensors.items()]
        return lines + [f"{name} -> left out ({reason})" for name, reason in self.left_out.items()]


def rename_all(
    arrays: Mapping[str, np.ndarray], rename: Callable[[str], Renamed | None], where: str
) -> tuple[dict[str, Adapted], dict[str, str]]:
    """Every tensor of the source under our name, and those left out with reasons.

    Raises:
        CheckpointError: a name that ``rename`` does not know, or two names for one of ours.
    """
    tensors: dict[str, Adapted] = {}
    left_out: dict[str, str] = {}
    for name, array in arrays.items():
        renamed = rename(name)
        if renamed is None:
            raise CheckpointError(
                f"{where}: tensor {name} {list(np.shape(array))} has no place in a Mask R-CNN with ResNet and FPN"
            )
        if renamed.left_out:
            left_out[name] = renamed.left_out
        elif renamed.target in tensors:
            raise CheckpointError(f"{where}: both {tensors[renamed.target].source} and {name} mean {renamed.target}")
        else:
            tensors[renamed.target] = Adapted(name, "as it is", np.asarray(array))
    return tensors, left_out


def change(tensors: dict[str, Adapted], name: str, how: str, function: Callable[[np.ndarray], np.ndarray]) -> None:
    """Replace the tensor ``name``, if it is there, by ``function`` of it."""
    if name in tensors:
        old = tensors[name]
        before = "" if old.how == "as it is" else old.how + ", "
        tensors[name] = Adapted(old.source, before + how, function(old.array))


def require_shape(tensors: Mapping[str, Adapted], name: str, shape: Sequence[int | None], where: str) -> None:
    """Refuse the tensor ``name`` if it is there and does not have ``shape``, where None stands for any length.

    Raises:
        CheckpointError: it names the tensor, its shape and the expected one.
    """
    if name in tensors:
        found = tensors[name].array.shape
        fits = len(found) == len(shape) and all(want in (None, have) for want, have in zip(shape, found))
        if not fits:
            wanted = ["any" if n is None else n for n in shape]
            raise CheckpointError(
                f"{where}: tensor {tensors[name].source} has shape {list(found)}, expected {wanted} for {name}"
            )


def start_detector(
    arrays: Mapping[str, np.ndarray], rename: Callable[[str], Renamed | None], where: str
) -> tuple[dict[str, Adapted], dict[str, str]]:
    """Does what is the same for every whole network: its tensors under our names, the mask predictor as a matrix.

    Raises:
        CheckpointError: See ``rename_all``, or the predictor is misshapen.
    """
    tensors, left_out = rename_all(arrays, rename, where)
    squeeze_mask_logits(tensors, where)
    return tensors, left_out


def count_classes(tensors: Mapping[str, Adapted], where: str) -> int:
    """Returns the outputs of the classifier, with the background; 0 if it is missing.

    Raises:
        CheckpointError: It is no matrix.
    """
    require_shape(tensors, CLASS_SCORE, (None, None), where)
    return len(tensors[CLASS_SCORE].array) if CLASS_SCORE in tensors else 0


def squeeze_mask_logits(tensors: dict[str, Adapted], where: str) -> None:
    """The mask predictor, a 1x1 convolution [K+1,C,1,1] elsewhere, is a matrix here."""
    require_shape(tensors, "mask_head.logits_weight", (None, None, 1, 1), where)
    change(tensors, "mask_head.logits_weight", "1x1 convolution as a matrix", lambda a: a[:, :, 0, 0])


def permute_columns(weight: np.ndarray, channels: int, size: int) -> np.ndarray:
    """Columns of the first fully connected layer from (channel, y, x) to (y, x, channel)."""
    grid = weight.reshape(len(weight), channels, size, size)
    return np.ascontiguousarray(grid.transpose(0, 2, 3, 1)).reshape(len(weight), -1)


def unpermute_columns(weight: np.ndarray, channels: int, size: int) -> np.ndarray:
    """The inverse of ``permute_columns``."""
    grid = weight.reshape(len(weight), size, size, channels)
    return np.ascontiguousarray(grid.transpose(0, 3, 1, 2)).reshape(len(weight), -1)


def fold_eps(tensors: dict[str, Adapted], eps: float, where: str) -> None:
    """Make a network trained with another ``eps`` in its batch normalisation give its own results with ours.

    gamma / sqrt(variance + eps) = gamma' / sqrt(variance + ours): gamma takes the difference, in float64, so that tiny
    variances lose nothing.
    """
    if eps == BATCH_NORM_EPS:
        return
    for name in [n for n in tensors if n.endswith(".moving_variance")]:
        variance = tensors[name].array.astype(np.float64)
        if (variance + eps <= 0).any():
            raise CheckpointError(f"{where}: {tensors[name].source} has no positive variance with eps {eps}")
        factor = np.sqrt((variance + BATCH_NORM_EPS) / (variance + eps))
        gamma = name[: -len("moving_variance")] + "gamma"
        require_shape(tensors, gamma, variance.shape, where)
        change(tensors, gamma, f"eps {eps:g} folded in", lambda a, f=factor: (a * f).astype(np.float32))


def finish(tensors: dict[str, Adapted], where: str, whole: bool) -> dict[str, Adapted]:
    """Our layout in our order, every tensor float32, finite and of the expected shape.

    Args:
        whole: a whole Mask R-CNN; otherwise a backbone alone.

    Raises:
        CheckpointError: a tensor is missing, has another shape, is not finite, or the backbone is none of ours.
    """
    raw = {name: one.array.shape for name, one in tensors.items()}
    backbone = backbone_of(raw)
    if backbone is None:
        raise CheckpointError(f"{where}: its blocks are not those of {', '.join(BACKBONES)}")
    expected: Shapes = backbone_shapes(backbone)
    if whole:
        try:
            heads = heads_of(raw)
        except (KeyError, IndexError, ValueError) as error:
            raise CheckpointError(f"{where}: the tensor for {error} is missing or misshapen") from error
        expected = network_shapes(backbone, heads)
        first = "box_head.fc.0.weight"
        require_shape(tensors, first, expected[first], where)
        change(
            tensors,
            first,
            "columns (channel, y, x) to (y, x, channel)",
            lambda a: permute_columns(a, heads.fpn, heads.roi_size),
        )
    for name in tensors:
        if name not in expected:
            raise CheckpointError(f"{where}: tensor {tensors[name].source} ({name}) has no place in a {backbone}")
    finished = {}
    for name, shape in expected.items():
        if name not in tensors:
            raise CheckpointError(f"{where} has no tensor for {name} {list(shape)} of a {backbone}")
        require_shape(tensors, name, shape, where)
        source, how, array = tensors[name]
        array = np.ascontiguousarray(array, np.float32)
        if not np.isfinite(array).all():
            raise CheckpointError(f"{where}: tensor {source} holds values that are not finite")
        finished[name] = Adapted(source, how, array)
    return finished


def rename_torch_resnet(name: str) -> Renamed | None:
    """A tensor of torchvision's ResNet, without a prefix, under our name."""
    if name.endswith(".num_batches_tracked"):
        return Renamed(left_out="a counter of training steps")
    name = name.replace("downsample", "down_sample_layer")
    block = r"layer[1-4]\.\d+\."
    if re.fullmatch(rf"(conv1|{block}conv[123]|{block}down_sample_layer\.0)\.weight", name):
        return Renamed(f"backbone.{name}")
    norm = re.fullmatch(
        rf"(bn1|{block}bn[123]|{block}down_sample_layer\.1)\.(weight|bias|running_mean|running_var)", name
    )
    return Renamed(f"backbone.{norm[1]}.{TORCH_NORM[norm[2]]}") if norm else None
