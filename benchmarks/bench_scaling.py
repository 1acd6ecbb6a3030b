"""From one to two processes, each pinned to a core of its own: efficiency, and where the rest goes.

    python benchmarks/bench_scaling.py COCO_ROOT [--steps 8] [--key value]...

COCO_ROOT is a folder in COCO's layout. Every process takes ``batch_size`` images a step, so that two processes have
twice the work of one. Three runs are measured: one process; two that know nothing of each other; a job of two. One JSON
line says: seconds a step of each (medians, waiting for data included), the efficiency, and what became of the rest:

* contention: two processes share caches and memory; two independent ones show how much that costs;
* imbalance: a job waits for the slower of the two in every step; from the steps of the independent ones;
* all-reduce: the averaging of the gradients by itself, measured in the job;
* data: the share of the time in which a step waits for its batch.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

WORKER = "MASKRCNN_BENCH_WORKER"  # which core a measured process has, in one without rank
LEFT_OUT = 2  # steps at the beginning: the first compiles


def measure(cfg, folder: Path, steps: int, core: int) -> None:
    """The steps of this process, as {seconds, waited, all_reduce, parameters} in ``folder``/{core}.json."""
    import mindspore as ms
    from mindspore import Tensor

    from maskrcnn.data.records.conversion import convert_from_config
    from maskrcnn.device import join_process_group
    from maskrcnn.training.build import build_trainer
    from maskrcnn.training.logs import timed

    group = join_process_group(cfg)
    trainer = build_trainer(cfg, convert_from_config(cfg), None, group)
    seconds, waits = [], []
    epoch = 0
    while len(seconds) < steps + LEFT_OUT:
        for batch, waited, began in timed(trainer.loader.epoch(epoch)):
            if batch.image.shape[1] > batch.image.shape[2]:
                continue  # one canvas, compiled once
            trainer.train_step(batch)
            seconds.append(time.perf_counter() - began)
            waits.append(waited)
            if len(seconds) == steps + LEFT_OUT:
                break
        epoch += 1
    all_reduce = []
    trained = trainer.step.optimizer.parameters
    if not group.alone:
        gradients = tuple(Tensor(np.zeros(p.shape, np.float32)) for p in trained)
        for _ in range(steps + LEFT_OUT):
            group.barrier("the other process")
            began = time.perf_counter()
            reduced = trainer.step.all_reduce.mean_gradients(gradients)
            reduced[-1].asnumpy()
            all_reduce.append(time.perf_counter() - began)
    found = {
        "seconds": seconds[LEFT_OUT:],
        "waited": waits[LEFT_OUT:],
        "all_reduce": all_reduce[LEFT_OUT:],
        "parameters": sum(p.size for p in trainer.step.network.get_parameters()),
        "trained": sum(p.size for p in trained),
        "mindspore": ms.__version__,
    }
    (folder / f"{core}.json").write_text(json.dumps(found))
    group.barrier("the other process to be done")


def run(kind: str, processes: int, folder: Path, flags: Sequence[str]) -> list[dict]:
    """What the processes of one of the three runs measured."""
    place = folder / kind
    place.mkdir()
    command = [sys.executable, __file__, *flags, "--measure", str(place)]
    environment = {**os.environ, "GLOG_v": "3", "PYTHONPATH": str(ROOT / "src")}
    if kind == "job":
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = str(probe.getsockname()[1])
        launcher = [sys.executable, "-m", "maskrcnn.launch", "--workers", str(processes), "--log_dir", str(place)]
        launcher += ["--master_port", port]
        started = [subprocess.Popen([*launcher, *command[1:]], env=environment, stdout=subprocess.DEVNULL)]
    else:
        started = [
            subprocess.Popen(command, env={**environment, WORKER: str(core)}, stdout=subprocess.DEVNULL)
            for core in range(processes)
        ]
    codes = [process.wait() for process in started]
    if any(codes):
        sys.exit(f"error: the run '{kind}' ended with exit codes {codes}")
    return [json.loads((place / f"{core}.json").read_text()) for core in range(processes)]


def summary(one: list[dict], two: list[dict], job: list[dict]) -> dict:
    """The figures of all three runs."""

    def median(values) -> float:
        return float(np.median(values))

    def steps(found: list[dict], key: str = "seconds") -> np.ndarray:
        return np.array([process[key] for process in found])

    alone, apart, together = steps(one), steps(two), steps(job)
    mine, theirs, ours = median(alone), median(apart), median(together)
    reduce = median(steps(job, "all_reduce"))
    imbalance = float((apart.max(0) - apart.mean(0)).mean())
    rest = ours - mine
    return {
        "seconds_per_step": {"one": round(mine, 4), "two_apart": round(theirs, 4), "job_of_two": round(ours, 4)},
        "efficiency": round(mine / ours, 3),
        "of_the_jobs_step": {
            "one_process": round(mine / ours, 3),
            "contention": round((theirs - mine) / ours, 3),
            "all_reduce": round(reduce / ours, 3),
            "imbalance": round(imbalance / ours, 3),
            "unexplained": round((rest - (theirs - mine) - reduce - imbalance) / ours, 3),
        },
        "data_wait": {"one": round(share(one), 3), "job_of_two": round(share(job), 3)},
        "all_reduce_seconds": round(reduce, 4),
        "all_reduce_mb_per_second": round(job[0]["trained"] * 4 / 1e6 / reduce, 1),
        "parameters": job[0]["parameters"],
        "trained_parameters": job[0]["trained"],
        "bytes_all_reduced_per_step": job[0]["trained"] * 4 + 3 * 4 + 6 * 4,  # gradients, counts, losses and stop
    }


def share(found: list[dict]) -> float:
    """How much of the time went into waiting for data."""
    return sum(sum(process["waited"]) for process in found) / sum(sum(process["seconds"]) for process in found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("coco_root")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    args, flags = parser.parse_known_args()

    from maskrcnn.config import load_config

    if args.measure:
        core = int(os.environ.get(WORKER) or os.environ.get("RANK_ID", "0"))
        os.sched_setaffinity(0, {core})  # before MindSpore counts the cores
        own = ["--coco_root", args.coco_root, "--save_checkpoint", "false", "--log_dir", str(args.measure)]
        cfg = load_config([*flags, *own], defaults=ROOT / "default_config.yaml")
        measure(cfg, args.measure, args.steps, core)
        return
    if len(os.sched_getaffinity(0)) < 2:
        sys.exit("error: two processes need two cores")
    with tempfile.TemporaryDirectory() as folder:
        given = [args.coco_root, "--steps", str(args.steps), *flags, "--mindrecord_dir", f"{folder}/record"]
        one = run("one", 1, Path(folder), given)
        two = run("apart", 2, Path(folder), given)
        job = run("job", 2, Path(folder), given)
    cfg = load_config(flags, defaults=ROOT / "default_config.yaml")
    setting = {key: getattr(cfg, key) for key in ("backbone", "img_height", "img_width", "batch_size")}
    machine = {"machine": platform.machine(), "cores": os.cpu_count(), "date": str(date.today())}
    print(json.dumps({**summary(one, two, job), **setting, "mindspore": job[0]["mindspore"], **machine}))


if __name__ == "__main__":
    main()
