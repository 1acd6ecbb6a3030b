"""One training step as a static graph: forward, backward, update."""

from __future__ import annotations

import mindspore as ms
from mindspore import Parameter, Tensor, nn, ops

from maskrcnn.training.optimizer import AdamW, MomentumSGD


class TrainStep(nn.Cell):
    """Forward, backward and update in one graph, compiled once for each shape of its inputs (two canvases).

    Clipping, scaling and skipping are decided when the graph is built: what is not asked for costs nothing.

    Args:
        network: Returns the five weighted losses for the arrays of a batch, see ``data/batches/batch.py``.
        optimizer: Updates the network's parameters.
        clip_grad_norm: Largest global L2 norm of the gradients; larger ones are scaled down to it. 0: off.
        scaled: Multiply the loss by the step's ``scale`` and divide the gradients by it.
        skip_overflow: Leave the weights as they are when a gradient is not finite.
        world_size: Processes that train together, whose gradients are averaged before all else.
    """

    def __init__(
        self,
        network: nn.Cell,
        optimizer: MomentumSGD | AdamW,
        *,
        clip_grad_norm: float = 0.0,
        scaled: bool = False,
        skip_overflow: bool = False,
        world_size: int = 1,
    ) -> None:
        super().__init__(auto_prefix=False)
        self.network = network
        self.optimizer = optimizer
        self.scaled = scaled
        self.update = Update(
            optimizer,
            clip_grad_norm=clip_grad_norm,
            scaled=scaled,
            skip_overflow=skip_overflow,
            world_size=world_size,
        )
        self.backward = ops.value_and_grad(self.forward, None, optimizer.parameters, has_aux=True)

    @property
    def all_reduce(self) -> AllReduceMean | None:
        """What averages over the ranks."""
        return self.update.all_reduce

    def forward(self, scale: Tensor, *batch: Tensor) -> tuple[Tensor, Tensor]:
        """Returns what is differentiated, the (scaled) sum of the losses, and the five losses beside it."""
        losses = ops.stack(self.network(*batch))
        total = losses.sum()
        if self.scaled:
            total = total * scale
        return total, losses

    def construct(self, lr: Tensor, scale: Tensor, *batch: Tensor) -> tuple[Tensor, Tensor]:
        """Trains on one batch.

        Args:
            lr: Learning rate, float32 scalar.
            scale: Factor on the loss, float32 scalar.
            batch: The ten arrays that the network takes.

        Returns:
            The losses (float32 [losses], order of the network's ``loss_names``) and the global L2 norm of the gradients
            (float32 scalar, before clipping), which is not finite if and only if a gradient is not (or all but
            overflows). Both are those of all ranks together.
        """
        (_, losses), gradients = self.backward(scale, *batch)
        return self.update(gradients, losses, lr, scale)


class Update(nn.Cell):
    """What a training step does with its gradients; the arguments are those of ``TrainStep``."""

    def __init__(
        self,
        optimizer: MomentumSGD | AdamW,
        *,
        clip_grad_norm: float = 0.0,
        scaled: bool = False,
        skip_overflow: bool = False,
        world_size: int = 1,
    ) -> None:
        super().__init__(auto_prefix=False)
        self.optimizer = optimizer
        self.clip_grad_norm = clip_grad_norm
        self.scaled = scaled
        self.skip_overflow = skip_overflow
        self.all_reduce = AllReduceMean(optimizer.parameters, world_size) if world_size > 1 else None

    def construct(
        self, gradients: tuple[Tensor, ...], losses: Tensor, lr: Tensor, scale: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Updates the weights; returns the losses and the norm of the gradients, see ``TrainStep.construct``."""
        if self.all_reduce is not None:
            gradients, losses = self.all_reduce(gradients, losses)
        if self.scaled:
            gradients = scaled_by(gradients, 1.0 / scale)
        norm = global_norm(gradients)
        if self.clip_grad_norm > 0.0:
            gradients = scaled_by(gradients, self.clip_grad_norm / ops.maximum(norm, self.clip_grad_norm))
        finite = ops.isfinite(norm) if self.skip_overflow else None
        updated = self.optimizer(gradients, lr, finite)
        return ops.depend(losses, updated), norm


class AllReduceMean(nn.Cell):
    """Means over all ranks inside the step's graph, and the one thing that ranks must agree on: when to stop.

    A signal reaches the processes of a job between different steps; one that went on alone would wait for ever. So each
    step also counts the ranks that want to stop, and all see the same count after the same step.

    Args:
        parameters: The parameters whose gradients are averaged.
        world_size: Number of ranks.
    """

    def __init__(self, parameters: tuple[Parameter, ...], world_size: int) -> None:
        super().__init__(auto_prefix=False)
        self.world_size = world_size
        self.mean_gradients = nn.DistributedGradReducer(parameters, mean=True, degree=world_size)
        self.sum = ops.AllReduce()
        self.stop_wanted = Parameter(Tensor([0.0], ms.float32), name="stop_wanted", requires_grad=False)
        self.stop_count = Parameter(Tensor([0.0], ms.float32), name="stop_count", requires_grad=False)

    def construct(self, gradients: tuple[Tensor, ...], losses: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """Returns the means of the gradients and of the losses."""
        totals = self.sum(ops.concat((losses, self.stop_wanted)))
        counted = ops.assign(self.stop_count, totals[-1:])
        return self.mean_gradients(gradients), ops.depend(totals[:-1] / self.world_size, counted)

    def want_stop(self) -> None:
        """Has all ranks stop after the next step."""
        self.stop_wanted.set_data(Tensor([1.0], ms.float32))

    def stopping(self) -> bool:
        """Returns whether any rank wanted to stop before the step that was last done."""
        return float(self.stop_count.asnumpy()[0]) > 0


def global_norm(gradients: tuple[Tensor, ...]) -> Tensor:
    """Returns the L2 norm of all gradients taken as one vector, float32 scalar."""
    total = 0.0
    for gradient in gradients:
        total = total + ops.square(gradient.astype(ms.float32)).sum()
    return ops.sqrt(total)


def scaled_by(gradients: tuple[Tensor, ...], factor: Tensor) -> tuple[Tensor, ...]:
    """Returns every gradient times a scalar."""
    result = ()
    for gradient in gradients:
        result += (gradient * factor,)
    return result
