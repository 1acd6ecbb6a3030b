"""Weights into a network, and an account of what matched: nothing is ever ignored silently."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Parameter, nn

from maskrcnn.checkpoint.classes import ClassMatch, abridged, class_outputs
from maskrcnn.checkpoint.format import MOMENT_PREFIXES
from maskrcnn.errors import CheckpointError

BACKBONE = "backbone."
ZOO_CLASSIFIER = "end_point."  # in the ResNets of MindSpore's model zoo
STATISTICS = ("moving_mean", "moving_variance")  # of batch normalisation alone
# What MindSpore's optimizers and train cells leave in a checkpoint besides the network.
TRAINING_STATE = (*MOMENT_PREFIXES, "accum.", "stat.")
TRAINING_COUNTERS = {
    "beta1_power",
    "beta2_power",
    "global_step",
    "learning_rate",
    "momentum",
    "loss_scale",
    "scale_sense",
    "epoch_num",
    "step_num",
    "current_iterator_step",
    "last_overflow_iterator_step",
}


@dataclass(frozen=True)
class LoadedWeights:
    """A network's weights by our names, wherever they come from.

    Attributes:
        path: The file that they come from.
        arrays: In our layout, without the state of an optimizer.
        meta: As in a checkpoint of ours: ``config``, ``class_names``, ``category_ids``, ``source``; {} if unknown.
        notes: What a user should know of where they come from.
    """

    path: Path
    arrays: dict[str, np.ndarray]
    meta: dict[str, Any]
    notes: Sequence[str] = ()

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes without the background; () if the file does not say them."""
        return tuple(self.meta.get("class_names") or ())


@dataclass(frozen=True)
class MatchReport:
    """What became of every entry of a checkpoint and every parameter of the network.

    Attributes:
        path: The file.
        matched: Network parameters that were loaded, those that got the outputs of some classes included.
        reshaped: Left at their initialisation: the file's shape differs ("name (file) != (network)").
        missing: Left at their initialisation: not in the file.
        unused: Entries of the file that the network has no parameter for.
        other_classes: Left at their initialisation: the file has their outputs for none of the network's classes.
        not_taken: Network parameters of parts that were not asked for.
        notes: What a user should know.
    """

    path: Path
    matched: list[str]
    reshaped: list[str]
    missing: list[str]
    unused: list[str]
    other_classes: list[str] = field(default_factory=list)
    not_taken: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Returns the report as text, one aspect a line, every name that did not match included."""
        left = (self.reshaped, self.missing, self.other_classes, self.not_taken)
        total = len(self.matched) + sum(map(len, left))
        lines = [f"pre_trained {self.path}: {len(self.matched)} of the network's {total} parameters loaded"]
        for what, names in (
            ("of another shape, left at initialisation", self.reshaped),
            ("for other classes, left at initialisation", self.other_classes),
            ("not in the file, left at initialisation", self.missing),
            ("in the file but not in the network", self.unused),
        ):
            if names:
                lines.append(f"  {len(names)} {what}: {', '.join(names)}")
        if self.not_taken:
            parts = dict.fromkeys(name.split(".")[0] for name in self.not_taken)
            lines.append(f"  {len(self.not_taken)} not asked for by load_parts: those of {', '.join(parts)}")
        return lines + [f"  note: {note}" for note in self.notes]


def load_pretrained(
    network: nn.Cell,
    weights: LoadedWeights,
    *,
    class_names: Sequence[str] = (),
    parts: Sequence[str] = (),
    allow_partial: bool = False,
) -> MatchReport:
    """Starts ``network`` from the weights of a backbone or of a whole network.

    Names must match. Of the layers that depend on the classes, the outputs of those classes are loaded whose names
    agree. Outside the backbone any other parameter of another shape is reported and left as it is.

    Args:
        network: The network to be trained.
        weights: See ``convert.read_weights``.
        class_names: The network's classes without the background; () if they are not known.
        parts: First words of the parameters to take, such as "backbone"; () for all.
        allow_partial: Start although the file lacks some of the backbone.

    Raises:
        CheckpointError: Nothing matched, another or an incomplete backbone, or values that are not finite.
    """
    path, arrays = weights.path, weights.arrays
    everything = network.parameters_dict()
    wanted = tuple(part + "." for part in parts)
    parameters = {name: p for name, p in everything.items() if not parts or name.startswith(wanted)}
    if parts:
        arrays = {name: array for name, array in arrays.items() if name.startswith(wanted)}
    if not parameters.keys() & arrays.keys():
        asked = f"'s {', '.join(parts)}" if parts else ""
        found = abridged(sorted(weights.arrays)) or "no parameters"
        raise CheckpointError(
            f"{path} matches nothing in the network{asked}: it has {found}, the network has "
            f"{abridged(sorted(parameters))}; python -m maskrcnn.convert --help lists the known sources"
        )
    if not parts or "backbone" in parts:
        _check_backbone(parameters, arrays, path, allow_partial)
    classes = ClassMatch(weights.class_names, tuple(class_names))
    loaded: dict[str, np.ndarray] = {}
    other_classes: list[str] = []
    reshaped: list[str] = []
    for name in [name for name in parameters if name in arrays]:
        array, shape = arrays[name], tuple(parameters[name].shape)
        if classes.apply_to(name, array, shape):
            if classes.pairs:
                loaded[name] = classes.merge(name, parameters[name].asnumpy(), array)
            else:
                other_classes.append(name)
        elif array.shape == shape:
            loaded[name] = array
        else:
            reshaped.append(f"{name} {array.shape} != {shape}")
    assign(parameters, loaded, path)
    depends_on_classes = any(class_outputs(name) for name in (*loaded, *other_classes))
    return MatchReport(
        path,
        matched=sorted(loaded),
        reshaped=sorted(reshaped),
        other_classes=sorted(other_classes),
        missing=[name for name in parameters if name not in arrays],
        unused=[name for name in arrays if name not in parameters],
        not_taken=[name for name in everything if name not in parameters],
        notes=[*weights.notes, *(classes.lines() if depends_on_classes else [])],
    )


def _check_backbone(
    parameters: Mapping[str, Parameter], arrays: Mapping[str, np.ndarray], path: Path, allow_partial: bool
) -> None:
    """Refuses a backbone that does not fit, or that would stay random in part, which training hardly repairs."""
    ours = {name: tuple(parameter.shape) for name, parameter in parameters.items() if name.startswith(BACKBONE)}
    theirs = {name: array.shape for name, array in arrays.items() if name.startswith(BACKBONE)}
    for name in ours.keys() & theirs.keys():
        if theirs[name] != ours[name]:
            raise CheckpointError(
                f"{path} has another backbone: {name} is {theirs[name]}, the network's is {ours[name]}; "
                "set backbone to match"
            )
    missing = [name for name in ours if name not in theirs]
    unused = [name for name in theirs if name not in ours]
    if allow_partial or not (missing or any(name.endswith(STATISTICS) for name in unused)):
        return
    if not missing:
        raise CheckpointError(
            f"{path} has a backbone with batch normalisation, the network's has none (norm gn): set norm to match, "
            "or --allow_partial true to start from its convolutions"
        )
    if not theirs:
        raise CheckpointError(
            f"{path} has no backbone: --load_parts names the parts to take, or --allow_partial true takes what there is"
        )
    raise CheckpointError(
        f"{path} lacks {len(missing)} of the backbone's {len(ours)} parameters ({abridged(missing)}), which would "
        "stay random: use a complete one, or --allow_partial true to insist"
    )


def load_weights(network: nn.Cell, weights: LoadedWeights) -> None:
    """Gives a network for inference every one of its weights.

    Args:
        network: The network.
        weights: See ``convert.read_weights``.

    Raises:
        CheckpointError: A weight is missing, of another shape, or not finite.
    """
    path, arrays, parameters = weights.path, weights.arrays, network.parameters_dict()
    for name, parameter in parameters.items():
        if name not in arrays:
            raise CheckpointError(
                f"{path} has no {name}: it belongs to another network; use the configuration it was trained with"
            )
        if arrays[name].shape != tuple(parameter.shape):
            raise CheckpointError(
                f"{path} has another network: {name} is {arrays[name].shape}, not {tuple(parameter.shape)}; "
                "use the configuration and classes it was trained with"
            )
    assign(parameters, {name: arrays[name] for name in parameters}, path)


def assign(parameters: Mapping[str, Parameter], arrays: Mapping[str, np.ndarray], path: Path) -> None:
    """Sets the parameters named in ``arrays``, whose shapes fit; CheckpointError for values that no network has."""
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise CheckpointError(f"{path} holds values that are not finite in {name}: use another checkpoint")
        if name.endswith("moving_variance") and (array < 0).any():
            raise CheckpointError(f"{path} holds negative variances in {name}: use another checkpoint")
        dtype = ms.dtype_to_nptype(parameters[name].dtype)
        parameters[name].set_data(ms.Tensor(np.asarray(array, dtype)))


def is_training_state(name: str) -> bool:
    """Tells whether an entry of a checkpoint is the state of an optimizer or a train cell, not of the network."""
    return name.startswith(TRAINING_STATE) or name in TRAINING_COUNTERS
