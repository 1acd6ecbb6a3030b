"""One process of a job that trains a small Mask R-CNN: ``program.py FOLDER``, with or without the launcher.

It leaves ``rank{rank}.npz`` with all weights, moments and losses, and ``rank{rank}.json`` with what the ranks told each
other.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from functools import partial
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn
from tests.models import parts
from tests.models.test_mask_rcnn import CLASSES, DETECTION, PROPOSALS, make_batch

from maskrcnn import cli
from maskrcnn.checkpoint.folder import CheckpointFolder
from maskrcnn.checkpoint.state import RunIdentity, RunState
from maskrcnn.config import Config
from maskrcnn.data.batches.batch import Batch
from maskrcnn.device import join_process_group
from maskrcnn.distributed import process_group as process_group_module
from maskrcnn.distributed.parameters import share_parameters
from maskrcnn.distributed.process_group import ProcessGroup
from maskrcnn.models.mask_rcnn import MaskRCNN
from maskrcnn.training.logs import TrainLog
from maskrcnn.training.optimizer import MomentumSGD
from maskrcnn.training.schedule import LearningRate
from maskrcnn.training.step import TrainStep
from maskrcnn.training.trainer import Trainer, TrainingPlan

IMAGES = 4  # a step, of all ranks together
STEPS = 3  # done when the run stops
LAST_RANK_IS_STOPPED_IN = 2  # the step; the others hear of it in the next
LABELS = [[1, 2, 3, 1, 1], [0] * 5, [2, -1, 0, 0, 0], [3, 0, 0, 0, 0]]  # very unequal images


class Backbone(nn.Cell):
    """Four convolutions, where there are 50: C2 to C5."""

    def __init__(self) -> None:
        super().__init__()
        self.out_channels = (4, 4, 4, 4)
        self.first = nn.Conv2d(3, 4, 3, stride=4, has_bias=True)
        self.rest = nn.CellList([nn.Conv2d(4, 4, 3, stride=2, has_bias=True) for _ in range(3)])

    def construct(self, x: Tensor) -> tuple[Tensor, ...]:
        levels = (self.first(x),)
        for layer in self.rest:
            levels += (layer(levels[-1]),)
        return levels


def small_network(rank: int, ranks: int) -> MaskRCNN:
    """The real RPN and heads, narrow, on the pyramid of a backbone without batch statistics.

    Each rank draws other weights, so that only those that rank 0 sends can make them one network.
    """
    ms.set_seed(1 + rank)
    return parts.small_network(Backbone(), 4, PROPOSALS, DETECTION, CLASSES, world_size=ranks)


class Loader:
    """This rank's part of batches that do not depend on the number of ranks."""

    steps_per_epoch = 6
    objects_left_out = 0

    def __init__(self, group: ProcessGroup) -> None:
        self.group = group

    def epoch(self, epoch: int, start_step: int = 0):
        size = IMAGES // self.group.world_size
        own = slice(self.group.rank * size, (self.group.rank + 1) * size)
        for step in range(start_step, self.steps_per_epoch):
            if (
                not self.group.alone
                and self.group.rank == self.group.world_size - 1
                and step + 1 == LAST_RANK_IS_STOPPED_IN
            ):
                os.kill(os.getpid(), signal.SIGTERM)
            yield Batch(*(array[own] for array in make_batch(step, LABELS)))


def train(group: ProcessGroup, folder: Path) -> tuple[Trainer, int]:
    """Train until a signal stops all ranks, or alone for as many steps; with the exit code."""
    net = small_network(group.rank, group.world_size).set_train()
    loader = Loader(group)
    checkpoints = None
    if group.rank == 0:
        checkpoints = CheckpointFolder(folder / "checkpoint", 3)
        checkpoints.prepare()
    step = TrainStep(
        net, MomentumSGD(net.trainable_params(), 0.9, 1e-4), clip_grad_norm=1.0, world_size=group.world_size
    )
    trainer = Trainer(
        step,
        loader,
        LearningRate(0.05, 12, warmup_steps=0),
        TrainingPlan(epochs=2, max_steps=STEPS if group.alone else 0),
        state=RunState(
            [*net.get_parameters(), *step.optimizer.moments],
            RunIdentity(1, ["a", "b", "c"], loader.steps_per_epoch, IMAGES // group.world_size, group.world_size),
            group=group,
        ),
        log=partial(TrainLog, folder, group.rank),
        checkpoints=checkpoints,
    )
    trainer.state.share()
    return trainer, trainer.train()


def exchanged(group: ProcessGroup) -> dict:
    """What comes back of messages of unequal lengths, longer than the pieces they are sent in."""
    process_group_module.CHUNK = 100
    own = bytes((7 * i + group.rank) % 256 for i in range(1001 * group.rank))
    parameter = Parameter(Tensor(np.float32([group.rank, -0.0, np.nan, 1e-42])), name="p")
    share_parameters([parameter], group)
    gathered = group.gather(own, "nothing")
    return {
        "all": [part.hex() for part in group.all_gather(own, "nothing")],
        "on rank 0": gathered and [part.hex() for part in gathered],
        "from rank 0": group.broadcast(f"text of {group.rank}".encode(), "nothing").decode(),
        "parameter": parameter.asnumpy().tobytes().hex(),
        "local_rank": group.local_rank,
    }


def main() -> int:
    folder = Path(sys.argv[1])
    group = join_process_group(Config(wait_timeout=120))
    told = exchanged(group)
    trainer, told["exit code"] = train(group, folder)
    np.savez(folder / f"rank{group.rank}.npz", **dict(trainer.state.arrays()))
    (folder / f"rank{group.rank}.json").write_text(json.dumps({**told, "steps": trainer.state.global_step}))
    group.barrier("all to be done")
    return 0


if __name__ == "__main__":
    cli.run(main)
