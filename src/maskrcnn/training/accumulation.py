"""Training steps on batches too large for the memory: the gradients of their parts are summed up before the update."""

from __future__ import annotations

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops

from maskrcnn.training.optimizer import AdamW, MomentumSGD
from maskrcnn.training.step import AllReduceMean, Update
from maskrcnn.training.weight_average import batch_norm_statistics


class AccumulatedStep:
    """Training step in place of ``TrainStep``, which computes on one part of the batch at a time.

    The losses are sums over anchors, RoIs and masks, divided by how many of these the whole batch has. So the parts are
    counted first, by a pass that ends with the sampled RoIs; then each loss of a part is weighted by the part's share,
    and the gradients add up to those of the whole batch, to rounding. Trained batch normalisation is the exception: it
    sees one part at a time.

    Args:
        network: Gives losses and counts for the arrays of a batch, see ``MaskRCNN.counts``.
        optimizer: Updates the network's parameters.
        parts: Number of parts.
        clip_grad_norm: See ``TrainStep``.
        scaled: See ``TrainStep``.
        skip_overflow: See ``TrainStep``.
        world_size: See ``TrainStep``.
    """

    def __init__(
        self,
        network: nn.Cell,
        optimizer: MomentumSGD | AdamW,
        parts: int,
        *,
        clip_grad_norm: float = 0.0,
        scaled: bool = False,
        skip_overflow: bool = False,
        world_size: int = 1,
    ) -> None:
        self.network, self.optimizer, self.parts = network, optimizer, parts
        self.statistics = batch_norm_statistics(network)
        self.counts = CountPass(network)
        self.gradients = GradientPass(network, optimizer.parameters, scaled)
        self.update = UpdatePass(
            Update(
                optimizer,
                clip_grad_norm=clip_grad_norm,
                scaled=scaled,
                skip_overflow=skip_overflow,
                world_size=world_size,
            ),
            self.gradients.sums,
        )

    @property
    def all_reduce(self) -> AllReduceMean | None:
        """What averages over the ranks."""
        return self.update.update.all_reduce

    def __call__(self, lr: Tensor, scale: Tensor, *batch: Tensor) -> tuple[Tensor, Tensor]:
        """Trains on one batch; see ``TrainStep.construct``."""
        parts = self.split(batch)
        kept = [statistic.asnumpy().copy() for statistic in self.statistics]
        counts = [self.counts(*part).asnumpy() for part in parts]
        for statistic, value in zip(self.statistics, kept):  # which the next pass moves once more
            statistic.set_data(Tensor(value))
        whole = np.maximum(np.sum(counts, 0), 1.0)
        losses = 0.0
        for number, (part, count) in enumerate(zip(parts, counts)):
            share = Tensor(np.maximum(count, 1.0) / whole, ms.float32)
            losses = losses + self.gradients(scale, share, Tensor(number > 0), *part).asnumpy()
        return self.update(lr, scale, Tensor(losses))

    def split(self, batch: tuple[Tensor, ...]) -> list[list[Tensor]]:
        """Returns the parts of a batch, each of the same number of images."""
        arrays = [tensor.asnumpy() for tensor in batch]
        size = len(arrays[0]) // self.parts
        return [
            [Tensor(np.ascontiguousarray(array[first : first + size])) for array in arrays]
            for first in range(0, self.parts * size, size)
        ]


class CountPass(nn.Cell):
    """How many samples each loss of a batch is a sum over; what only the losses need is not computed."""

    def __init__(self, network: nn.Cell) -> None:
        super().__init__(auto_prefix=False)
        self.network = network

    def construct(self, *batch: Tensor) -> Tensor:
        """Returns the counts, float32 [losses], of all ranks together."""
        return self.network.counts(*batch)


class GradientPass(nn.Cell):
    """Forward and backward for one part, whose gradients are added to those of the parts before it."""

    def __init__(self, network: nn.Cell, parameters: tuple[Parameter, ...], scaled: bool) -> None:
        super().__init__(auto_prefix=False)
        self.network = network
        self.scaled = scaled
        self.sums = parameters.clone(prefix="gradient_sum", init="zeros")
        for gradient in self.sums:
            gradient.requires_grad = False
        self.backward = ops.value_and_grad(self.forward, None, parameters, has_aux=True)

    def forward(self, scale: Tensor, share: Tensor, *batch: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the (scaled) sum of the part's shares of the losses, and these shares."""
        losses = ops.stack(self.network(*batch)) * share
        total = losses.sum()
        if self.scaled:
            total = total * scale
        return total, losses

    def construct(self, scale: Tensor, share: Tensor, further: Tensor, *batch: Tensor) -> Tensor:
        """Adds the gradients of a part.

        Args:
            scale: Factor on the loss, float32 scalar.
            share: The part's share of each loss, float32 [losses].
            further: Bool scalar, False for the first part of a batch.
            batch: The arrays that the network takes.

        Returns:
            The part's share of the losses, float32 [losses].
        """
        (_, losses), gradients = self.backward(scale, share, *batch)
        done = ()
        for i in range(len(self.sums)):
            # not a product with 0: what overflowed in the step before must not stay
            before = ops.where(further, self.sums[i], ops.zeros_like(self.sums[i]))
            done += (ops.assign(self.sums[i], before + gradients[i]),)
        return ops.depend(losses, done)


class UpdatePass(nn.Cell):
    """Update with the sums of the gradients."""

    def __init__(self, update: Update, sums: tuple[Parameter, ...]) -> None:
        super().__init__(auto_prefix=False)
        self.update = update
        self.sums = sums

    def construct(self, lr: Tensor, scale: Tensor, losses: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the losses and the norm of the gradients; see ``TrainStep.construct``."""
        gradients = ()
        for i in range(len(self.sums)):
            gradients += (self.sums[i] * 1.0,)
        return self.update(gradients, losses, lr, scale)
