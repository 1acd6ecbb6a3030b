"""Convert a COCO split to a record: size against the originals, images a second, memory as the set grows.

The set grows by repetition: every image and annotation is listed again under new ids. Each row of the table
is a process of its own.

Usage: python benchmarks/bench_convert.py COCO_ROOT [--split train2017] [--repeat 1 100] [--workers 2]
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from maskrcnn.data.records.conversion import convert_to_mindrecord
from maskrcnn.data.records.reader import RecordReader
from maskrcnn.data.sources.coco import CocoSource

MIB = 1 << 20
MOST_READ = 1600


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def write_list(file: TextIO, name: str, entries: Iterable[dict]) -> None:
    file.write(f'"{name}": [')
    for i, entry in enumerate(entries):
        file.write(("," if i else "") + json.dumps(entry))
    file.write("]")


def repeat_annotations(ann_file: Path, repeat: int, target: Path) -> None:
    """List everything ``repeat`` times in ``target``, with image and annotation ids of its own each time."""
    content = json.loads(ann_file.read_text(encoding="utf-8"))
    image_step = max(image["id"] for image in content["images"]) + 1
    step = max(entry["id"] for entry in content["annotations"]) + 1
    rounds = range(repeat)
    with open(target, "w", encoding="utf-8") as file:
        file.write("{")
        write_list(file, "images", ({**i, "id": i["id"] + r * image_step} for r in rounds for i in content["images"]))
        file.write(",")
        write_list(
            file,
            "annotations",
            (
                {**a, "id": a["id"] + r * step, "image_id": a["image_id"] + r * image_step}
                for r in rounds
                for a in content["annotations"]
            ),
        )
        file.write(f', "categories": {json.dumps(content["categories"])}}}')


def measure(ann_file: Path, image_dir: Path, folder: Path, workers: int) -> dict[str, float]:
    """Convert once and read rows back in random order."""
    before = peak_mib()
    start, cpu_start = time.perf_counter(), time.process_time()
    source = CocoSource(ann_file, image_dir)
    indexed = time.perf_counter() - start
    report = convert_to_mindrecord(
        source, folder, name="bench", classes=source.classes, settings={}, workers=workers, progress=False
    )
    cpu = time.process_time() - cpu_start
    peak = peak_mib()
    reader = RecordReader(report.path)
    order = np.random.default_rng(0).permutation(len(reader))[:MOST_READ]
    start = time.perf_counter()
    read = sum(1 for _ in reader.iter_rows(order))
    return {
        "images": report.images,
        "objects": report.objects,
        "record_bytes": report.file_bytes,
        "index_seconds": indexed,
        "images_per_second": report.images / (report.seconds + indexed),
        "cpu_ms_per_image": 1000 * cpu / report.images,
        "import_mib": before,
        "peak_mib": peak,
        "read_per_second": read / (time.perf_counter() - start),
    }


def run_apart(ann_file: Path, image_dir: Path, folder: Path, workers: int) -> dict[str, float]:
    """:func:`measure` in a process of its own, so that its peak memory is its own."""
    arguments = [
        sys.executable,
        __file__,
        str(ann_file),
        str(image_dir),
        str(folder),
        str(workers),
        "--measure",
    ]
    done = subprocess.run(arguments, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    if sys.argv[-1] == "--measure":
        ann_file, image_dir, folder, workers = sys.argv[1:5]
        print(json.dumps(measure(Path(ann_file), Path(image_dir), Path(folder), int(workers))))
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("coco_root", type=Path)
    parser.add_argument("--split", default="train2017")
    parser.add_argument("--repeat", type=int, nargs="+", default=[1, 100])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="where to write; about COCO's size times repeat is needed")
    args = parser.parse_args()
    image_dir = args.coco_root / args.split
    ann_file = args.coco_root / "annotations" / f"instances_{args.split}.json"
    image_bytes = sum(path.stat().st_size for path in image_dir.iterdir())
    print(
        f"{'images':>7}{'objects':>9}{'originals':>13}{'record':>13}{'ratio':>7}{'index':>8}{'images/s':>10}"
        f"{'CPU/image':>11}{'peak memory':>13}{'of it imports':>15}{'rows/s read':>13}"
    )
    for repeat in args.repeat:
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            repeated = Path(folder) / "annotations.json"
            repeat_annotations(ann_file, repeat, repeated)
            original = image_bytes * repeat + (ann_file if repeat == 1 else repeated).stat().st_size
            found = run_apart(repeated, image_dir, Path(folder) / "record", args.workers)
        record = found["record_bytes"]
        print(
            f"{found['images']:>7}{found['objects']:>9}{original / MIB:>9.1f} MiB{record / MIB:>9.1f} MiB"
            f"{record / original:>7.3f}{found['index_seconds']:>6.2f} s{found['images_per_second']:>10.0f}"
            f"{found['cpu_ms_per_image']:>8.2f} ms{found['peak_mib']:>9.0f} MiB"
            f"{found['import_mib']:>11.0f} MiB{found['read_per_second']:>13.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
