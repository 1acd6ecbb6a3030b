"""One training step as a static graph: forward, backward, update."""

from __future__ import annotations

import mindspore as ms
from mindspore import Tensor, nn, ops

from maskrcnn.training.optimizer import AdamW, MomentumSGD


class TrainStep(nn.Cell):
    """Forward, backward and update in one graph, compiled once for each shape of its inputs (two canvases).

    Clipping, scaling and skipping are decided when the graph is built: what is not asked for costs nothing.
    """

    def __init__(
        self,
        network: nn.Cell,
        optimizer: MomentumSGD | AdamW,
        *,
        clip_grad_norm: float = 0.0,
        scaled: bool = False,
        skip_overflow: bool = False,
    ) -> None:
        """``network`` returns the five weighted losses for the arrays of a batch (``data/loader.py``).

        :param clip_grad_norm: largest global L2 norm of the gradients; larger ones are scaled down to it. 0:
            off.
        :param scaled: multiply the loss by the step's ``scale`` and divide the gradients by it.
        :param skip_overflow: leave the weights as they are when a gradient is not finite.
        """
        super().__init__(auto_prefix=False)
        self.network = network
        self.optimizer = optimizer
        self.clip_grad_norm = clip_grad_norm
        self.scaled = scaled
        self.skip_overflow = skip_overflow
        self.backward = ops.value_and_grad(self.forward, None, optimizer.parameters, has_aux=True)

    def forward(self, scale: Tensor, *batch: Tensor) -> tuple[Tensor, Tensor]:
        """What is differentiated: the (scaled) sum of the losses; the five losses ride along."""
        losses = ops.stack(self.network(*batch))
        total = losses.sum()
        if self.scaled:
            total = total * scale
        return total, losses

    def construct(self, lr: Tensor, scale: Tensor, *batch: Tensor) -> tuple[Tensor, Tensor]:
        """Train on one batch.

        ``lr`` and ``scale`` are float32 scalars, ``batch`` the ten arrays that the network takes. Returns the
        losses (float32 [5], order of ``mask_rcnn.LOSS_NAMES``) and the global L2 norm of the gradients
        (float32 scalar, before clipping), which is not finite if and only if a gradient is not (or all but
        overflows).
        """
        (_, losses), gradients = self.backward(scale, *batch)
        if self.scaled:
            gradients = scaled_by(gradients, 1.0 / scale)
        norm = global_norm(gradients)
        if self.clip_grad_norm > 0.0:
            gradients = scaled_by(gradients, self.clip_grad_norm / ops.maximum(norm, self.clip_grad_norm))
        finite = ops.isfinite(norm) if self.skip_overflow else None
        updated = self.optimizer(gradients, lr, finite)
        return ops.depend(losses, updated), norm


def global_norm(gradients: tuple[Tensor, ...]) -> Tensor:
    """L2 norm of all gradients taken as one vector, float32 scalar."""
    total = 0.0
    for gradient in gradients:
        total = total + ops.square(gradient.astype(ms.float32)).sum()
    return ops.sqrt(total)


def scaled_by(gradients: tuple[Tensor, ...], factor: Tensor) -> tuple[Tensor, ...]:
    """Every gradient times a scalar."""
    result = ()
    for gradient in gradients:
        result += (gradient * factor,)
    return result
