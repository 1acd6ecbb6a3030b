"""Images a second of the training pipeline, with the memory it takes and where its time goes.

Usage: python benchmarks/bench_pipeline.py COCO_ROOT [--split train2017] [--workers 1 2] [--epochs 4]

Converts the split to a temporary record, then loads whole epochs at the default settings (768 x 1280, batch
2) as train.py does. The loader has the machine to itself here; in training it shares it with the network.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from maskrcnn import cli
from maskrcnn.config import Config
from maskrcnn.data.batches import batch as batch_module
from maskrcnn.data.batches.loader import TrainLoader
from maskrcnn.data.records.conversion import convert_to_mindrecord
from maskrcnn.data.sources.coco import CocoSource

STAGES = {
    "_decode": "decode",
    "draw_view": "view",
    "assign_anchors": "anchor targets",
    "mask_crop": "mask crops",
}


def peak_mib() -> float:
    """Return the largest resident size of this process so far in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(loader: TrainLoader, epochs: int) -> tuple[float, float, float]:
    """Return images a second, CPU milliseconds an image and megabytes a batch over ``epochs`` epochs."""
    images, size = 0, 0
    start, cpu = time.perf_counter(), time.process_time()
    for epoch in range(1, epochs + 1):
        for batch in loader.epoch(epoch):
            images += len(batch.image)
            size = sum(array.nbytes for array in batch)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    return images / seconds, 1e3 * cpu / images, size / 1e6


@contextmanager
def timed_stages():
    """Add up the seconds that each stage of a sample takes, by name."""
    seconds: dict[str, float] = defaultdict(float)

    def timed(function, stage):
        def run(*args):
            start = time.perf_counter()
            result = function(*args)
            seconds[stage] += time.perf_counter() - start
            return result

        return run

    patches = [
        mock.patch.object(batch_module, name, timed(getattr(batch_module, name), stage))
        for name, stage in STAGES.items()
    ]
    draw = batch_module.View.draw
    patches.append(mock.patch.object(batch_module.View, "draw", timed(draw, "flip, resize, pad")))
    patches.append(mock.patch("maskrcnn.data.batches.loader.fill_row", timed(batch_module.fill_row, "all of a sample")))
    for patch in patches:
        patch.start()
    try:
        yield seconds
    finally:
        for patch in patches:
            patch.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("coco_root", type=Path)
    parser.add_argument("--split", default="train2017")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--epochs", type=int, default=4)
    args = parser.parse_args()

    cfg = Config()
    source = CocoSource(args.coco_root / "annotations" / f"instances_{args.split}.json", args.coco_root / args.split)
    with tempfile.TemporaryDirectory() as folder:
        report = convert_to_mindrecord(
            source, folder, name=args.split, classes=source.classes, settings={}, progress=False
        )
        print("\n".join(report.lines()))
        print(f"{cfg.img_height}x{cfg.img_width}, batch {cfg.batch_size}, {len(os.sched_getaffinity(0))} cores")
        print(f"peak memory before loading (MindSpore imported, data converted): {peak_mib():.0f} MiB")
        for workers in args.workers:
            loader = TrainLoader.from_config(cfg.replace(num_parallel_workers=workers), report.path)
            measure(loader, 1)
            rate, cpu, size = measure(loader, args.epochs)
            print(
                f"workers {workers}: {rate:.1f} images/s, {cpu:.1f} CPU ms an image, {size:.1f} MB a batch, "
                f"peak memory {peak_mib():.0f} MiB"
            )
        loader = TrainLoader.from_config(cfg.replace(num_parallel_workers=1), report.path)
        with timed_stages() as seconds:
            images = sum(len(batch.image) for batch in loader.epoch(0))
        print("milliseconds an image in one worker:")
        for stage, total in sorted(seconds.items(), key=lambda item: -item[1]):
            print(f"  {stage:<18}{1e3 * total / images:6.2f}")


if __name__ == "__main__":
    cli.run(main)
