"""Time and memory of a training step and of inference at full size, beside a peer measured in the same sitting.

    python benchmarks/bench_model.py train COCO_ROOT [--steps 7] [--key value]...
    python benchmarks/bench_model.py infer COCO_ROOT [--steps 7] [--key value]...
    ... --peer "PYTHON SCRIPT train"      also run this command, before and after ours, and print the ratio

COCO_ROOT is a folder in COCO's layout; only its landscape photographs are used, on one canvas, as the peer does. The
weights are random: an untrained network gives as many proposals, RoIs and (with the score threshold at 0) detections
as a trained one. A peer prints a JSON line with ``seconds_per_step`` or ``seconds_per_image`` {all: {median}} and
``peak_rss_gib``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))


def memory(key: str = "VmHWM") -> float:
    """A line of this process's status in GiB (VmHWM: the peak of what is resident)."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))
    return round(int(line.split()[1]) / 2**20, 2)


def summary(seconds: list[float]) -> dict[str, float]:
    return {"n": len(seconds), **{k: round(float(getattr(np, k)(seconds)), 3) for k in ("median", "min", "max")}}


def train(cfg, folder: str, steps: int) -> dict:
    """Steps on landscape batches, data loading not counted (the peer has its batches in memory too)."""
    import mindspore as ms
    from mindspore import Tensor

    from maskrcnn.data.records.conversion import convert_from_config
    from maskrcnn.training.build import build_trainer

    cfg = cfg.replace(mindrecord_dir=folder, log_dir=folder, save_checkpoint=False)
    trainer = build_trainer(cfg, convert_from_config(cfg), None)
    batches = (b for b in trainer.loader.epoch(0) if b.image.shape[1] <= b.image.shape[2])
    batches = [next(batches) for _ in range(4)]
    seconds = []
    for i in range(steps + 1):
        tensors = [Tensor.from_numpy(array) for array in batches[i % len(batches)][:-1]]
        began = time.perf_counter()
        losses, _ = trainer.step(Tensor(0.0, ms.float32), Tensor(1.0, ms.float32), *tensors)
        losses.asnumpy()
        seconds.append(time.perf_counter() - began)
    return {
        "first_step_with_compilation": round(seconds[0], 1),
        "seconds_per_step": summary(seconds[1:]),
        "peak_rss_gib": memory(),
    }


def infer(cfg, steps: int) -> dict:
    """One image at a time, detections pasted into the original image and encoded, decoding not counted."""
    from maskrcnn.data.batches.transforms import canvas_for, decode_image, fit_size, resize_image
    from maskrcnn.device import set_device
    from maskrcnn.inference.detector import Detector
    from maskrcnn.inference.paste import encode_masks
    from maskrcnn.inference.results import objects_of_image

    set_device(cfg.device_target, cfg.device_id)
    detector = Detector.from_config(cfg.replace(test_score_thr=0.0), 81)
    images = []
    for path in sorted((Path(cfg.coco_root) / cfg.val_data_type).glob("*.jpg")):
        image = decode_image(path.read_bytes())
        height, width = image.shape[:2]
        if width >= height:
            canvas = canvas_for(height, width, cfg.img_height, cfg.img_width)
            size = fit_size(height, width, *canvas)
            padded = np.zeros((*canvas, 3), np.uint8)
            padded[: size[0], : size[1]] = resize_image(image, *size)
            images.append((padded, size, (height, width)))
        if len(images) == 8:
            break
    seconds, network = [], []
    for i in range(steps + 1):
        image, size, original = images[i % len(images)]
        began = time.perf_counter()
        found = detector(image[None], np.array([size], np.float32))
        network.append(time.perf_counter() - began)
        objects = objects_of_image(found, 0, size, original)
        rles = encode_masks(objects.masks, objects.boxes, *original, cfg.mask_thr_binary)
        seconds.append(time.perf_counter() - began)
    return {
        "first_image_with_compilation": round(seconds[0], 1),
        "seconds_per_image": summary(seconds[1:]),
        "network": summary(network[1:]),
        "masks": len(rles),
        "peak_rss_gib": memory(),
    }


def run_peer(command: str) -> dict:
    """The JSON line that the peer prints for the detections pasted to the original size, or its only one."""
    out = subprocess.run(shlex.split(command), capture_output=True, text=True, check=True).stdout
    lines = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    return next((line for line in lines if line.get("output") == "orig"), lines[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=("train", "infer"))
    parser.add_argument("coco_root")
    parser.add_argument("--steps", type=int, default=7)
    parser.add_argument("--peer", default="")
    args, flags = parser.parse_known_args()
    if args.peer:  # a process of its own, so that neither's memory and threads touch the other's
        peers = [run_peer(args.peer)]
        own_command = [sys.executable, __file__, args.task, args.coco_root, "--steps", str(args.steps), *flags]
        own = json.loads(
            subprocess.run(own_command, capture_output=True, text=True, check=True).stdout.splitlines()[-1]
        )
        peers.append(run_peer(args.peer))
        key = "seconds_per_step" if args.task == "train" else "seconds_per_image"
        theirs = [peer[key]["all"]["median"] for peer in peers]
        own["peer"] = {key: theirs, "peak_rss_gib": [peer["peak_rss_gib"] for peer in peers]}
        own["ratio"] = round(own[key]["median"] / float(np.mean(theirs)), 3)
        print(json.dumps(own))
        return
    from maskrcnn.config import load_config

    cfg = load_config([*flags, "--coco_root", args.coco_root], defaults=ROOT / "default_config.yaml")
    with tempfile.TemporaryDirectory() as folder:
        result = train(cfg, folder, args.steps) if args.task == "train" else infer(cfg, args.steps)
    import mindspore

    machine = {"machine": platform.machine(), "cores": os.cpu_count(), "date": str(date.today())}
    print(json.dumps({"task": args.task, **result, "mindspore": mindspore.__version__, **machine}))


if __name__ == "__main__":
    main()
