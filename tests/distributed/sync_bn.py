"""One process that trains a small network with synchronised batch normalisation: ``sync_bn.py FOLDER``.

It leaves ``rank{rank}.npz`` with all weights, statistics and losses.
"""

from __future__ import annotations

import sys
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops

from maskrcnn import cli
from maskrcnn.config import Config
from maskrcnn.device import join_process_group
from maskrcnn.models.layers import normalisation
from maskrcnn.training.optimizer import MomentumSGD
from maskrcnn.training.step import TrainStep

IMAGES = 4  # a step, of all processes together
STEPS = 3


class Net(nn.Cell):
    """A convolution, the normalisation, and two losses that depend on each position."""

    def __init__(self) -> None:
        super().__init__()
        rng = np.random.default_rng(0)
        self.conv = nn.Conv2d(3, 4, 3, weight_init=Tensor(rng.normal(size=(4, 3, 3, 3)), ms.float32))
        self.norm = normalisation("sync_bn", 4)
        self.target = Parameter(Tensor(rng.normal(size=(4,)), ms.float32), name="target")

    def construct(self, x: Tensor) -> tuple[Tensor, ...]:
        y = ops.relu(self.norm(self.conv(x)))
        difference = y - self.target.reshape((1, -1, 1, 1))
        return (ops.square(difference).mean(), ops.abs(y).mean())


def main() -> int:
    group = join_process_group(Config(wait_timeout=120, device_target="CPU"))
    net = Net().set_train()
    optimizer = MomentumSGD(net.trainable_params(), 0.9, 1e-4)
    step = TrainStep(net, optimizer, world_size=group.world_size)
    size = IMAGES // group.world_size
    losses = []
    for number in range(STEPS):
        images = np.random.default_rng(number).normal(1.0, 2.0, (IMAGES, 3, 8, 10)).astype(np.float32)
        images *= np.arange(1, IMAGES + 1, dtype=np.float32).reshape(-1, 1, 1, 1)  # each with a deviation of its own
        own = Tensor(images[group.rank * size : (group.rank + 1) * size])
        losses.append(step(Tensor(0.05, ms.float32), Tensor(1.0, ms.float32), own)[0].asnumpy())
    arrays = {parameter.name: parameter.asnumpy() for parameter in net.get_parameters()}
    np.savez(Path(sys.argv[1]) / f"rank{group.rank}.npz", **arrays, losses=np.array(losses))
    group.barrier("all to be done")
    return 0


if __name__ == "__main__":
    cli.run(main)
