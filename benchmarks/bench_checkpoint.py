"""What a checkpoint of the R50-FPN network costs the training: the wait for the copy, and the load of the writer.

The weights change in place before every save, as in training, by the optimizer's own step, which is also what is timed
beside the writer. ``--step_seconds`` is what a whole training step takes (bench_model.py).

Usage: python benchmarks/bench_checkpoint.py [--folder DIR] [--saves 7] [--step_seconds 16.2] [--key value]...
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn

from maskrcnn.checkpoint.folder import CheckpointFolder
from maskrcnn.checkpoint.writer import CheckpointWriter
from maskrcnn.config import load_config
from maskrcnn.device import set_device
from maskrcnn.models.build import build_network
from maskrcnn.training.optimizer import MomentumSGD

CLASSES = 81


class Update(nn.Cell):
    """The optimizer's step, with small gradients."""

    def __init__(self, optimizer: MomentumSGD) -> None:
        super().__init__(auto_prefix=False)
        self.optimizer = optimizer

    def construct(self, lr: Tensor) -> tuple[Tensor, ...]:
        gradients = ()
        for parameter in self.optimizer.parameters:
            gradients += (parameter * 1e-6,)
        return self.optimizer(gradients, lr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", help="where to write; a temporary folder by default")
    parser.add_argument("--saves", type=int, default=7)
    parser.add_argument("--step_seconds", type=float, default=16.2)
    arguments, settings = parser.parse_known_args()
    defaults = Path(__file__).resolve().parents[1] / "default_config.yaml"
    cfg = load_config(settings, defaults=defaults)
    set_device(cfg.device_target, cfg.device_id)
    network = build_network(cfg, CLASSES)
    network.set_train()
    optimizer = MomentumSGD(network.trainable_params(), cfg.momentum, cfg.weight_decay)
    update, rate = Update(optimizer), Tensor(0.01, ms.float32)

    def state():
        for parameter in (*network.get_parameters(), *optimizer.moments):
            yield parameter.name, parameter.asnumpy()

    def step() -> float:
        start = time.perf_counter()
        update(rate)
        optimizer.parameters[-1].asnumpy()  # a device may still be computing
        return time.perf_counter() - start

    step()
    alone = median(step() for _ in range(20))
    size = sum(array.nbytes for _, array in state())
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        writer = CheckpointWriter(CheckpointFolder(folder, keep=2), state)
        writer.prepare()
        waits, writes, beside = [], [], []
        for number in range(1, arguments.saves + 1):
            step()
            waits.append(writer.save({"global_step": number}, 1, number))
            start = time.perf_counter()
            while writer.busy:
                beside.append(step())
            writes.append(time.perf_counter() - start)
            writer.wait()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    rows = {
        "parameters": int(sum(np.prod(p.shape) for p in network.get_parameters())),
        "state_mib": round(size / 2**20, 1),
        "wait_seconds": {"median": round(median(waits), 4), "largest": round(max(waits), 4)},
        "largest_wait_share_of_a_step": round(max(waits) / arguments.step_seconds, 5),
        "write_seconds": {"median": round(median(writes), 3), "largest": round(max(writes), 3)},
        "optimizer_step_seconds": {"alone": round(alone, 4), "beside_the_writer": round(median(beside), 4)},
        "peak_memory_mib": round(peak),
    }
    print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
