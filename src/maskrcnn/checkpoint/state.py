"""The state of a training run: what its checkpoints hold, and how another run continues from one exactly."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import mindspore as ms
import numpy as np
from mindspore import Parameter

from maskrcnn import __version__
from maskrcnn.checkpoint.format import AVERAGE_PREFIX, MOMENT_PREFIXES, load_training_state
from maskrcnn.checkpoint.weights import assign
from maskrcnn.distributed.parameters import share_parameters
from maskrcnn.distributed.process_group import ProcessGroup
from maskrcnn.errors import CheckpointError


class Position(NamedTuple):
    """Place of a step in its run; all count from 1."""

    epoch: int
    step: int  # in the epoch
    global_step: int


@dataclass(frozen=True)
class RunIdentity:
    """What the order of the data and the shapes of the weights depend on."""

    seed: int
    class_names: Sequence[str]
    steps_per_epoch: int
    batch_size: int  # images of a step and process
    world_size: int = 1

    @property
    def images_per_step(self) -> int:
        """Images of a step in all processes together."""
        return self.batch_size * self.world_size

    def to_meta(self) -> dict[str, Any]:
        """Returns what a checkpoint keeps."""
        return {
            "seed": self.seed,
            "steps_per_epoch": self.steps_per_epoch,
            "batch_size": self.batch_size,
            "world": self.world_size,
            "class_names": list(self.class_names),
        }

    @classmethod
    def from_meta(cls, meta: Mapping[str, Any]) -> RunIdentity:
        """Returns the identity of the run that made a checkpoint."""
        return cls(meta["seed"], meta["class_names"], meta["steps_per_epoch"], meta["batch_size"], meta["world"])


class HostState(Protocol):
    """Part of the state that is kept on the host, and as JSON in a checkpoint."""

    def state(self) -> dict[str, Any]:
        """Returns what a checkpoint keeps."""

    def restore(self, state: dict[str, Any]) -> None:
        """Continues from what a checkpoint has kept."""


class RunState:
    """Everything that a run needs to continue exactly.

    These are the global step, the weights, the moments, averages and what is kept on the host. The order of the data,
    augmentation and sampling follow from (seed, epoch, step), and the learning rate from the step. What follows from
    the step depends on the images of a step in all processes together, and not on the number of processes.

    Args:
        parameters: All weights, moments and averages.
        identity: What a resumed run must share with its checkpoint.
        info: What else checkpoints hold (configuration, category ids).
        group: The processes that train together.

    Attributes:
        global_step: Number of steps done.
        host: The parts kept on the host, by their names in a checkpoint.
        resumed_at: Position of the checkpoint that the run continues, None for a new run. It counts as that run did.
    """

    def __init__(
        self,
        parameters: Sequence[Parameter],
        identity: RunIdentity,
        *,
        info: Mapping[str, Any] | None = None,
        group: ProcessGroup | None = None,
    ) -> None:
        self.parameters = tuple(parameters)
        self.identity = identity
        self.info = dict(info or {})
        self.group = group or ProcessGroup()
        self.global_step = 0
        self.host: dict[str, HostState] = {}
        self.resumed_at: Position | None = None

    @property
    def position(self) -> Position:
        """The last step done."""
        epoch, step = divmod(self.global_step - 1, self.identity.steps_per_epoch)
        return Position(epoch + 1, step + 1, self.global_step)

    def arrays(self) -> Iterator[tuple[str, np.ndarray]]:
        """Yields the names and values of all weights, moments and averages."""
        for parameter in self.parameters:
            yield parameter.name, parameter.asnumpy()

    def meta(self) -> dict[str, Any]:
        """Returns everything else that a checkpoint holds."""
        return {
            **self.identity.to_meta(),
            **self.info,
            **self.position._asdict(),
            **{name: part.state() for name, part in self.host.items()},
            "maskrcnn": __version__,
            "mindspore": ms.__version__,
        }

    def resume(self, path: Path) -> dict[str, Any]:
        """Continues from a checkpoint exactly.

        Args:
            path: The checkpoint.

        Returns:
            Its metadata.

        Raises:
            CheckpointError: It is damaged, holds no training state, or belongs to another network or another data set.
        """
        arrays, meta = load_training_state(path)
        if "global_step" not in meta:
            raise CheckpointError(f"{path} holds no training state: use --pre_trained to start from its weights")
        before = RunIdentity.from_meta(meta)
        for key in ("seed", "class_names"):
            then, now = meta[key], self.identity.to_meta()[key]
            if then != now:
                raise CheckpointError(
                    f"{path} was made with {key} {then}, this run has {now}: set it back, or use --pre_trained to "
                    "start anew from its weights"
                )
        global_step = self._continued_step(before, meta["global_step"], path)
        arrays = self._with_averages(arrays)
        self._check_shapes(arrays, path)
        assign({parameter.name: parameter for parameter in self.parameters}, arrays, path)
        for name, part in self.host.items():
            if name in meta:  # else the run that made the checkpoint did without it
                part.restore(meta[name])
        self.global_step = global_step
        self.resumed_at = Position(meta["epoch"], meta["step"], meta["global_step"])
        return meta

    def share(self) -> None:
        """Gives all processes the state of rank 0, which alone has loaded a checkpoint."""
        if self.group.alone:
            return
        own = {
            "global_step": self.global_step,
            "resumed_at": self.resumed_at,
            "host": {name: part.state() for name, part in self.host.items()},
        }
        shared = json.loads(self.group.broadcast(json.dumps(own).encode(), "rank 0 to load its checkpoint"))
        share_parameters(self.parameters, self.group)
        for name, part in self.host.items():
            part.restore(shared["host"][name])
        self.global_step = shared["global_step"]
        self.resumed_at = Position(*shared["resumed_at"]) if shared["resumed_at"] else None

    def _with_averages(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns a checkpoint's arrays with averages of weights if and only if this run keeps them.

        Those that it lacks begin with its weights; those that nobody needs are dropped.
        """
        own = [parameter.name for parameter in self.parameters if parameter.name.startswith(AVERAGE_PREFIX)]
        if not own:
            return {name: array for name, array in arrays.items() if not name.startswith(AVERAGE_PREFIX)}
        begun = {name: arrays[name[len(AVERAGE_PREFIX) :]] for name in own if name[len(AVERAGE_PREFIX) :] in arrays}
        return {**begun, **arrays}

    def _check_shapes(self, arrays: Mapping[str, np.ndarray], path: Path) -> None:
        """Raises CheckpointError unless a checkpoint has exactly this run's parameters."""
        shapes = {parameter.name: tuple(parameter.shape) for parameter in self.parameters}
        for name, shape in shapes.items():
            found = arrays[name].shape if name in arrays else "missing"
            if found != shape:
                what = "optimizer" if name.startswith(MOMENT_PREFIXES) else "network"
                raise CheckpointError(f"{path} has another {what}: {name} is {found}, not {shape}")
        extra = sorted(arrays.keys() - shapes.keys())
        if extra:
            raise CheckpointError(f"{path} has another network: this one has no parameter {extra[0]}")

    def _continued_step(self, before: RunIdentity, global_step: int, path: Path) -> int:
        """Returns the global step from which this run continues the one that made a checkpoint.

        With the same number of images a step, on however many processes, it is the checkpoint's own, and the order of
        the data goes on as it would have. With another number the share of the epoch that is done is kept, rounded down
        to a step: whole epochs stay whole, and an epoch begun shows some of its images twice, or not at all.

        Args:
            before: The identity of the run that made the checkpoint.
            global_step: The checkpoint's own.
            path: The checkpoint, for messages.

        Raises:
            CheckpointError: The run has other data.
        """
        now = self.identity
        if before.images_per_step == now.images_per_step:
            if before.steps_per_epoch != now.steps_per_epoch:
                raise CheckpointError(
                    f"{path} was made with steps_per_epoch {before.steps_per_epoch}, this run has "
                    f"{now.steps_per_epoch}: use the same data, or --pre_trained to start anew from its weights"
                )
            return global_step
        epochs, inside = divmod(global_step, before.steps_per_epoch)
        continued = epochs * now.steps_per_epoch + inside * now.steps_per_epoch // before.steps_per_epoch
        print(
            f"{path} was made with {before.images_per_step} images a step ({before.world_size} x {before.batch_size}), "
            f"this run has {now.images_per_step}: {global_step} of its steps count as {continued}"
            + (", in an epoch whose images may be seen twice or left out" if inside else ""),
            flush=True,
        )
        return continued
