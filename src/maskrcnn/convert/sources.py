"""Whose weights a file has, by the names of its tensors; and what such networks compute with."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from maskrcnn.convert import detectron2, mindspore_zoo, torchvision
from maskrcnn.convert.adapting import Conversion
from maskrcnn.convert.files import Weights
from maskrcnn.errors import CheckpointError
from maskrcnn.models.layers import BATCH_NORM_EPS

BACKBONE = "backbone."
OUR_HEADS = ("fpn.lateral.", "rpn.conv.", "box_head.", "mask_head.")
TORCH_STATISTICS = "running_mean"
ZOO_SPELLINGS = ("conv_down_sample", "bn_down_sample", "down_sample.0", mindspore_zoo.ZOO_CLASSIFIER)
# What whole networks compute with, for checkpoints of ours that were converted before they held it.
SETTINGS_OF_LAYOUT = {source.LAYOUT: source.SETTINGS for source in (torchvision, detectron2, mindspore_zoo)}


def is_ours(names: Collection[str]) -> bool:
    """Tells whether parameters of these names are those of a network of ours, or of its backbone."""
    if any(name.startswith(OUR_HEADS) for name in names):
        return True
    foreign = any(TORCH_STATISTICS in name or spelling in name for name in names for spelling in ZOO_SPELLINGS)
    return any(name.startswith(BACKBONE) for name in names) and not foreign and not _is_detector(names)


def _is_detector(names: Collection[str]) -> bool:
    return any(name.startswith(("proposal_generator.", "rpn_with_loss.", "backbone.body.")) for name in names)


def convert_weights(
    weights: Weights, where: str, norm_eps: float | None = None, all_classes: bool = False
) -> Conversion:
    """Recognises whose network ``weights`` are by their names, and brings them into our layout.

    Args:
        weights: Tensors of a file.
        where: What to call the source in messages.
        norm_eps: eps of the source's batch normalisation; None for what is usual there.
        all_classes: Keep torchvision's 91 classes instead of COCO's 80.

    Raises:
        CheckpointError: An unknown network, or a tensor that does not match, is missing or misshapen.
    """
    if weights.meta or is_ours(weights.arrays):
        raise CheckpointError(
            f"{where} is a checkpoint of ours already: name an OUT.safetensors or OUT.npz to export it"
        )
    result = _convert(weights.arrays, where, norm_eps, all_classes)
    result.notes[:0] = weights.notes
    result.format = weights.format
    return result


def _convert(arrays: Mapping[str, np.ndarray], where: str, norm_eps: float | None, all_classes: bool) -> Conversion:
    def has(prefix: str) -> bool:
        return any(name.startswith(prefix) for name in arrays)

    eps = BATCH_NORM_EPS if norm_eps is None else norm_eps
    if has("proposal_generator."):
        _refuse_eps(norm_eps, where)
        return detectron2.convert_detector(arrays, where)
    if has("rpn_with_loss."):
        _refuse_eps(norm_eps, where)
        return mindspore_zoo.convert_detector(arrays, where)
    if has("backbone.body."):
        return torchvision.convert_detector(arrays, where, eps, all_classes)
    bare = {name.removeprefix(BACKBONE): array for name, array in arrays.items()}
    if "bn1.running_mean" in bare:
        return torchvision.convert_classifier(bare, where, eps)
    if "bn1.moving_mean" in bare:
        return mindspore_zoo.convert_classifier(bare, where, norm_eps)
    shown = ", ".join(sorted(arrays)[:4]) or "no tensors"
    raise CheckpointError(
        f"{where} is no network that can be converted (torchvision, detectron2, MindSpore model zoo): it has {shown}"
    )


def _refuse_eps(norm_eps: float | None, where: str) -> None:
    if norm_eps is not None:
        raise CheckpointError(f"{where}: norm_eps is for torchvision's networks and ResNet classifiers only")
