"""Weights from elsewhere into our checkpoints, and back: ``python -m maskrcnn.convert SOURCE OUT``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from maskrcnn.checkpoint.format import MOMENT_PREFIXES, save_checkpoint
from maskrcnn.convert import detectron2, mindspore_zoo, torchvision
from maskrcnn.convert.adapting import Conversion
from maskrcnn.convert.files import Weights, read_weights
from maskrcnn.convert.safetensors import write_safetensors
from maskrcnn.errors import CheckpointError
from maskrcnn.files import sha256, whole_file
from maskrcnn.models.layers import BATCH_NORM_EPS

# torchvision gives its own COCO weights of 2019 an eps of 0; the file's name says the start of its sha256.
EPS_ZERO_FILES = ("bf2d0c1e",)

__all__ = ["Conversion", "Weights", "convert_file", "convert_weights", "export_file", "read_weights"]


def convert_weights(
    weights: Weights, where: str, norm_eps: float | None = None, all_classes: bool = False
) -> Conversion:
    """Recognise whose network ``weights`` are by their names, and bring them into our layout.

    Args:
        where: what to call the source in messages.
        norm_eps: eps of the source's batch normalisation; None for what is usual there.
        all_classes: keep torchvision's 91 classes instead of COCO's 80.

    Raises:
        CheckpointError: an unknown network, or a tensor that does not match, is missing or misshapen.
    """
    names = weights.arrays.keys()

    def has(prefix: str) -> bool:
        return any(name.startswith(prefix) for name in names)

    if weights.meta:
        raise CheckpointError(
            f"{where} is a checkpoint of ours already: name an OUT.safetensors or OUT.npz to export it"
        )
    eps = BATCH_NORM_EPS if norm_eps is None else norm_eps
    if has("proposal_generator."):
        _refuse_eps(norm_eps, where)
        return detectron2.convert_detector(weights.arrays, where)
    if has("rpn_with_loss."):
        _refuse_eps(norm_eps, where)
        return mindspore_zoo.convert_detector(weights.arrays, where)
    if has("backbone.body."):
        return torchvision.convert_detector(weights.arrays, where, eps, all_classes)
    if "bn1.running_mean" in names:
        return torchvision.convert_classifier(weights.arrays, where, eps)
    if "bn1.moving_mean" in names:
        return mindspore_zoo.convert_classifier(weights.arrays, where, norm_eps)
    shown = ", ".join(sorted(names)[:4]) or "no tensors"
    raise CheckpointError(
        f"{where} is no network that can be converted (torchvision, detectron2, MindSpore model zoo): it has {shown}"
    )


def _refuse_eps(norm_eps: float | None, where: str) -> None:
    if norm_eps is not None:
        raise CheckpointError(f"{where}: norm_eps is for torchvision's networks and ResNet classifiers only")


def convert_file(
    source: str | Path,
    out: str | Path | None,
    *,
    norm_eps: float | None = None,
    all_classes: bool = False,
    class_names: Sequence[str] = (),
) -> Conversion:
    """Convert the weights in ``source`` and, unless ``out`` is None, write them as a checkpoint of ours.

    Args:
        class_names: names of the labels 1..K, for a source that does not say them.

    Raises:
        CheckpointError: see ``read_weights`` and ``convert_weights``; or the number of names is another.
    """
    source = Path(source)
    weights = read_weights(source)
    digest = sha256(source)
    if norm_eps is None and digest.startswith(EPS_ZERO_FILES):
        norm_eps = 0.0
    result = convert_weights(weights, str(source), norm_eps, all_classes)
    result.format = weights.format
    if class_names:
        score = result.tensors.get("box_head.cls_score.weight")
        found = 0 if score is None else len(score.array) - 1
        if found != len(class_names):
            raise CheckpointError(f"{source} has {found} classes besides the background, {len(class_names)} are named")
        result.classes = (tuple(class_names), tuple(range(1, found + 1)))
    if out is not None:
        meta: dict[str, object] = {
            "source": {"file": source.name, "sha256": digest, "format": weights.format, "layout": result.layout}
        }
        if result.classes:
            names, ids = result.classes
            meta.update(class_names=list(names), category_ids=list(ids))
        save_checkpoint(Path(out), ((name, one.array) for name, one in result.tensors.items()), meta)
    return result


def export_file(source: str | Path, out: str | Path) -> dict[str, np.ndarray]:
    """Write a checkpoint of ours as torchvision lays it out, .safetensors or .npz by the name of ``out``.

    Raises:
        CheckpointError: ``source`` is not a whole network of ours, torchvision's layout cannot hold it, or ``out`` has
            another ending or cannot be written.
    """
    source, out = Path(source), Path(out)
    weights = read_weights(source)
    if not weights.meta:
        raise CheckpointError(f"{source} is no checkpoint of ours: only these can be exported")
    arrays = {name: array for name, array in weights.arrays.items() if not name.startswith(MOMENT_PREFIXES)}
    result = torchvision.to_torchvision(arrays, str(source))
    if out.suffix == ".safetensors":
        names = weights.meta.get("class_names") or []
        write_safetensors(out, result, {"format": "pt", "class_names": "\n".join(names)})
    elif out.suffix == ".npz":
        _write_npz(out, result)
    else:
        raise CheckpointError(f"{out}: an export ends in .safetensors or .npz")
    return result


def _write_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    try:
        with whole_file(path) as file:
            np.savez(file, **arrays)
    except OSError as error:
        raise CheckpointError(f"cannot write {path}: {error.strerror or error}") from error
