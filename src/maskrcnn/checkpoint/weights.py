"""Weights into a network, and an account of what matched: nothing is ever ignored silently."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import Parameter, nn

from maskrcnn.checkpoint.format import MOMENT_PREFIXES, load_checkpoint
from maskrcnn.errors import CheckpointError

BACKBONE = "backbone."
ZOO_CLASSIFIER = "end_point."  # in the ResNets of MindSpore's model zoo
# What MindSpore's optimizers and train cells leave in a checkpoint besides the network.
TRAINING_STATE = (*MOMENT_PREFIXES, "accum.", "stat.")
TRAINING_COUNTERS = {
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
class MatchReport:
    """What became of every entry of a checkpoint and every parameter of the network."""

    path: Path
    matched: list[str]  # network parameters that were loaded
    reshaped: list[str]  # left at their initialisation: the file's shape differs ("name (file) != (network)")
    missing: list[str]  # left at their initialisation: not in the file
    unused: list[str]  # entries of the file that the network has no parameter for
    notes: list[str] = field(default_factory=list)  # what a user should know

    def lines(self) -> list[str]:
        """Returns the report as text, one aspect a line, every name that did not match included."""
        total = len(self.matched) + len(self.reshaped) + len(self.missing)
        lines = [f"pre_trained {self.path}: {len(self.matched)} of the network's {total} parameters loaded"]
        for what, names in (
            ("of another shape, left at initialisation", self.reshaped),
            ("not in the file, left at initialisation", self.missing),
            ("in the file but not in the network", self.unused),
        ):
            if names:
                lines.append(f"  {len(names)} {what}: {', '.join(names)}")
        return lines + [f"  note: {note}" for note in self.notes]


def load_pretrained(network: nn.Cell, path: str | Path) -> MatchReport:
    """Starts ``network`` from a checkpoint of a backbone or of a whole network.

    Names must match exactly, or with ``backbone.`` put in front of all of the file's. Outside the backbone a parameter
    of another shape (the predictors of another number of classes) is reported and left as it is.

    Args:
        network: Changed in place.
        path: The checkpoint.

    Returns:
        What became of every entry and every parameter.

    Raises:
        CheckpointError: The file is unreadable, matches nothing, has another backbone, or values that are not finite.
    """
    path = Path(path)
    arrays, meta = load_checkpoint(path)
    notes = [] if meta else _notes_on_foreign(arrays, path)
    arrays = {name: array for name, array in arrays.items() if not _is_training_state(name)}
    parameters = network.parameters_dict()
    if not parameters.keys() & arrays.keys():
        arrays = {BACKBONE + name: array for name, array in arrays.items()}
    matched, reshaped = [], []
    for name in parameters.keys() & arrays.keys():
        expected, found = tuple(parameters[name].shape), arrays[name].shape
        if expected == found:
            matched.append(name)
        elif name.startswith(BACKBONE):
            raise CheckpointError(
                f"{path} has another backbone: {name} is {found}, the network's is {expected}; set backbone to match"
            )
        else:
            reshaped.append(f"{name} {found} != {expected}")
    if not matched:
        raise CheckpointError(
            f"{path} matches nothing in the network: it has {_abridged(sorted(arrays)) or 'no parameters'}, "
            f"the network has {_abridged(sorted(parameters))}; python -m maskrcnn.convert reads weights from elsewhere"
        )
    assign(parameters, {name: arrays[name] for name in matched}, path)
    return MatchReport(
        path,
        sorted(matched),
        sorted(reshaped),
        missing=[name for name in parameters if name not in arrays],
        unused=[name for name in arrays if name not in parameters],
        notes=notes,
    )


def assign(parameters: Mapping[str, Parameter], arrays: Mapping[str, np.ndarray], path: Path) -> None:
    """Sets the parameters named in ``arrays``, whose shapes fit.

    Args:
        parameters: Parameters by name.
        arrays: Their values.
        path: Where the values come from, for the message.

    Raises:
        CheckpointError: A value is NaN or infinite.
    """
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise CheckpointError(f"{path} holds values that are not finite in {name}: use another checkpoint")
        dtype = ms.dtype_to_nptype(parameters[name].dtype)
        parameters[name].set_data(ms.Tensor(np.asarray(array, dtype)))


def _notes_on_foreign(names: Iterable[str], path: Path) -> list[str]:
    """Returns what a user should know of a ResNet of the model zoo.

    It has our names, but its batch normalisation another eps, which the converter folds in.
    """
    if not any(name.startswith(ZOO_CLASSIFIER) for name in names):
        return []
    return [
        "the eps of its batch normalisation is 1e-4, ours 1e-5: features differ slightly from the model zoo's; "
        f"exactly the same ones give python -m maskrcnn.convert {path} OUT.ckpt and --pre_trained OUT.ckpt"
    ]


def _is_training_state(name: str) -> bool:
    return name.startswith(TRAINING_STATE) or name in TRAINING_COUNTERS


def _abridged(names: list[str], shown: int = 4) -> str:
    more = f", ... and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more
