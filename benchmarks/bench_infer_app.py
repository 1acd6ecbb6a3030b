"""Images a second of the C++ app, from JPEG files to result files, beside peers measured in the same sitting.

    python benchmarks/bench_infer_app.py APP MODEL IMAGE_DIR [--images 16] [--threads 2] [--peer NAME=COMMAND]...

APP is ascend310_infer/build/maskrcnn_infer, MODEL an export with its metadata; only landscape images are used, as the
peers do. A peer is a command that prints a JSON line with ``seconds_per_image``, its median in ``median`` or
``all.median``, for instance python="python benchmarks/bench_model.py infer COCO_ROOT". Peers run before and
after the app.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shlex
import subprocess
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

import cv2
import numpy as np


def landscape(folder: Path, count: int) -> list[Path]:
    """The first images of a folder that are wider than high."""
    chosen = []
    for path in sorted(folder.glob("*.jpg")):
        height, width = cv2.imread(str(path)).shape[:2]
        if width >= height:
            chosen.append(path.resolve())
        if len(chosen) == count:
            break
    return chosen


def run_app(app: str, model: str, images: list[Path], threads: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        inputs = Path(folder) / "images"
        inputs.mkdir()
        for path in images:
            (inputs / path.name).symlink_to(path)
        command = [app, "--model", model, "--image_dir", str(inputs), "--output", folder, "--threads", str(threads)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        timing = json.loads((Path(folder) / "timing.json").read_text())
        size = sum((Path(folder) / name).stat().st_size for name in ("bbox.json", "segm.json"))
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    return {
        "engine": timing["engine"],
        "images": timing["images"],
        "detections": timing["detections"],
        "images_per_second": round(timing["images_per_second"], 3),
        "seconds_per_image": round(timing["elapsed_seconds"] / timing["images"], 3),
        "medians": {step: timing[step]["median_seconds"] for step in ("decode", "network", "postprocess")},
        "opening_seconds": round(timing["opening_seconds"], 2),
        "peak_rss_gib": round(peak, 2),
        "result_kib_per_image": round(size / timing["images"] / 2**10, 1),
    }


def run_peer(command: str) -> float:
    """Median seconds an image; where the peer prints several lines, the one that pastes to the original size."""
    out = subprocess.run(shlex.split(command), capture_output=True, text=True, check=True).stdout
    lines = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    seconds = next((line for line in lines if line.get("output") == "orig"), lines[0])["seconds_per_image"]
    return float(seconds.get("all", seconds)["median"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("app")
    parser.add_argument("model")
    parser.add_argument("image_dir", type=Path)
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=COMMAND")
    args = parser.parse_args()
    peers = dict(peer.split("=", 1) for peer in args.peer)
    images = landscape(args.image_dir, args.images)
    seconds = {name: [run_peer(command)] for name, command in peers.items()}
    result = run_app(args.app, args.model, images, args.threads)
    for name, command in peers.items():
        seconds[name].append(run_peer(command))
    result["peers_seconds_per_image"] = seconds
    result["times_faster"] = {
        name: round(float(np.mean(values)) / result["seconds_per_image"], 2) for name, values in seconds.items()
    }
    machine = {"machine": platform.machine(), "cores": os.cpu_count(), "date": str(date.today())}
    print(json.dumps({**result, **machine}))


if __name__ == "__main__":
    main()
