"""Train the same network here and in torchvision, and compare the losses on the way and the AP at the end.

    python benchmarks/bench_parity_training.py COCO_ROOT --peer PYTHON [--steps 200] [--images 4] [--side 128]

PYTHON runs ``peer_training.py`` and has torch and torchvision. Both sides start from the same weights (made there,
converted here) and see the same images in the same order, at the same learning rates. Each would draw its own anchors
and RoIs, and what is drawn decides more than anything else; so all anchors and all proposals are taken. The images
are photographs of COCO_ROOT with a few large objects, so that a few hundred steps teach something.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

SPLIT = "train2017"
MOST_OBJECTS, LEAST_SIDE = 4, 30  # objects of an image; geometric mean of a box's sides in pixels of the network
WINDOW = 50  # steps that a loss is averaged over
WARMUP = 50  # steps
PROPOSALS, POSITIVES = 60, 48  # of an image; RoIs are all proposals and objects
ROIS = PROPOSALS + MOST_OBJECTS


def choose_images(coco_root: Path, folder: Path, number: int, side: int) -> Path:
    """A COCO data set of the first images with few and large objects; its images are those of ``coco_root``."""
    content = json.loads((coco_root / "annotations" / f"instances_{SPLIT}.json").read_text(encoding="utf-8"))
    objects: dict[int, list[dict]] = {}
    for annotation in content["annotations"]:
        objects.setdefault(annotation["image_id"], []).append(annotation)
    chosen = []
    for image in sorted(content["images"], key=lambda one: one["id"]):
        own, scale = objects.get(image["id"], []), side / max(image["height"], image["width"])
        large = all((o["bbox"][2] * o["bbox"][3]) ** 0.5 * scale >= LEAST_SIDE and not o["iscrowd"] for o in own)
        if 1 <= len(own) <= MOST_OBJECTS and large and len(chosen) < number:
            chosen.append(image)
    kept = [o for image in chosen for o in objects[image["id"]]]
    used = {o["category_id"] for o in kept}
    content.update(images=chosen, annotations=kept, categories=[c for c in content["categories"] if c["id"] in used])
    root = folder / "coco"
    (root / "annotations").mkdir(parents=True)
    (root / "annotations" / f"instances_{SPLIT}.json").write_text(json.dumps(content), encoding="utf-8")
    (root / SPLIT).symlink_to((coco_root / SPLIT).resolve())
    return root


def count_anchors(side: int) -> int:
    """Three at every position of P2 to P6."""
    return 3 * sum((side // stride) ** 2 for stride in (4, 8, 16, 32, 64))


def make_config(root: Path, folder: Path, backbone: str, side: int):
    """configs/torchvision.yaml, small; every layer is trained, batch norms stay as they are."""
    from maskrcnn.config import Config
    from maskrcnn.config.parsing import read_yaml

    values = read_yaml(ROOT / "configs" / "torchvision.yaml")
    anchors = count_anchors(side)
    for mode in ("rpn_proposal", "rpn"):
        values |= {f"{mode}_nms_pre": PROPOSALS, f"{mode}_nms_post": PROPOSALS, f"{mode}_max_num": PROPOSALS}
    values |= {"num_expected_pos": anchors // 2, "num_expected_neg": anchors}
    values |= {"num_expected_pos_stage2": POSITIVES, "num_expected_total_stage2": ROIS, "mask_roi_num": POSITIVES}
    values |= {"img_height": side, "img_width": side, "mask_crop_size": side + 4, "max_instance_count": MOST_OBJECTS}
    values |= {"backbone": backbone, "norm": "frozen_bn", "freeze_at": 0, "flip_ratio": 0.0, "batch_size": 2}
    values |= {"coco_root": str(root), "train_data_type": SPLIT, "val_data_type": SPLIT, "coco_classes": []}
    values |= {"mindrecord_dir": str(folder), "log_dir": str(folder), "save_checkpoint": False}
    values |= {"pre_trained": str(folder / "start.ckpt")}
    return Config.from_dict(values)


def write_data(cfg, record: Path, batches: list, rates: np.ndarray, path: Path, backbone: str, classes: int) -> None:
    """What the peer needs: images, objects and whole masks as they are on the canvas, and the order of the images."""
    from pycocotools import mask as coco_mask

    from maskrcnn.data.records.reader import RecordReader

    reader = RecordReader(record)
    samples = {sample.image_id: sample for sample in reader.iter_rows(range(len(reader)))}
    ids = sorted(samples)
    arrays: dict[str, np.ndarray] = {"images": np.zeros((len(ids), cfg.img_height, cfg.img_width, 3), np.uint8)}
    sizes = np.zeros((len(ids), 2), int)
    for batch in batches:
        for row, image_id in enumerate(batch.image_id):
            i, objects = ids.index(image_id), batch.gt_labels[row] > 0
            arrays["images"][i], sizes[i] = batch.image[row], batch.image_shape[row]
            arrays[f"boxes_{i}"], arrays[f"labels_{i}"] = batch.gt_boxes[row][objects], batch.gt_labels[row][objects]
    for i, image_id in enumerate(ids):
        sample, (height, width) = samples[image_id], sizes[i]
        rows = np.arange(height) * sample.height // height
        columns = np.arange(width) * sample.width // width
        rles = [{"size": [sample.height, sample.width], "counts": counts} for counts in sample.rles]
        arrays[f"masks_{i}"] = np.stack([coco_mask.decode(rle)[rows][:, columns] for rle in rles])
    order = np.array([[ids.index(image_id) for image_id in batch.image_id] for batch in batches])
    settings = {"seed": 0, "sampling_seed": 1, "backbone": backbone, "classes": classes, "momentum": cfg.momentum}
    settings |= {"anchors": count_anchors(cfg.img_height), "rois": ROIS, "proposals": PROPOSALS, "positives": POSITIVES}
    np.savez(path, **arrays, sizes=sizes, order=order, rates=rates, settings=json.dumps(settings))


def train(trainer, batches: list, rates: np.ndarray) -> np.ndarray:
    """The five losses of each step, float64 [steps,5]."""
    import mindspore as ms
    from mindspore import Tensor

    losses = []
    for step, (batch, rate) in enumerate(zip(batches, rates)):
        tensors = [Tensor.from_numpy(array) for array in batch[:-1]]
        losses.append(trainer.step(Tensor(rate, ms.float32), Tensor(1.0, ms.float32), *tensors)[0].asnumpy())
        if step % 10 == 0:
            print(f"step {step} loss {losses[-1].sum():.4f}", flush=True)
    return np.array(losses, np.float64)


class PeersDetections:
    """A detector that returns what the peer has found, by the image."""

    def __init__(self, data, peer, most: int) -> None:
        self.found = {image.tobytes(): i for i, image in enumerate(data["images"])}
        self.peer, self.most = peer, most

    def __call__(self, image: np.ndarray, image_shape: np.ndarray):
        from maskrcnn.inference.results import Detections

        shapes = {"boxes": (4,), "scores": (), "labels": (), "masks": (28, 28)}
        arrays = {name: np.zeros((len(image), self.most, *shape), np.float32) for name, shape in shapes.items()}
        valid = np.zeros((len(image), self.most), bool)
        for row in range(len(image)):
            i = self.found[image[row].tobytes()]
            for name, array in arrays.items():
                values = self.peer[f"{name}_{i}"]
                array[row, : len(values)] = values[:, 0] if name == "masks" else values
                valid[row, : len(values)] = True
        labels = arrays.pop("labels").astype(np.int32)
        return Detections(labels=labels, valid=valid, **arrays)


def smoothed(losses: np.ndarray) -> np.ndarray:
    """Means over WINDOW steps, [steps - WINDOW + 1, ...]."""
    sums = np.cumsum(np.concatenate([np.zeros_like(losses[:1]), losses]), 0)
    return (sums[WINDOW:] - sums[:-WINDOW]) / WINDOW


def compare(ours: np.ndarray, theirs: np.ndarray) -> dict:
    from maskrcnn.training.logs import LOSS_NAMES

    total = [smoothed(losses.sum(1)) for losses in (ours, theirs)]
    parts = [smoothed(losses) for losses in (ours, theirs)]
    difference = np.abs(total[0] - total[1]) / total[1]
    return {
        "first_step": [np.round(losses[0], 5).tolist() for losses in (ours, theirs)],
        "total_loss_every_25": [np.round(curve[::25], 4).tolist() for curve in total],
        "largest_difference": round(float(difference.max()), 4),
        "mean_difference": round(float(difference.mean()), 4),
        "parts_mean_ratio": dict(zip(LOSS_NAMES, np.round((parts[0] / parts[1]).mean(0), 4).tolist())),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("coco_root", type=Path)
    parser.add_argument("--peer", required=True, help="a Python with torch and torchvision")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--rate", type=float, default=0.005)
    parser.add_argument("--backbone", default="resnet18")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(run(args, Path(folder))))


def run(args: argparse.Namespace, folder: Path) -> dict:
    from maskrcnn.convert import convert_file
    from maskrcnn.data.batches.loader import TrainLoader
    from maskrcnn.data.records.conversion import convert_from_config
    from maskrcnn.data.records.info import read_info
    from maskrcnn.evaluation.evaluator import EvaluationOptions, evaluate, evaluation_files
    from maskrcnn.evaluation.ground_truth import load_ground_truth
    from maskrcnn.inference.detector import Detector
    from maskrcnn.inference.settings import InferenceSettings
    from maskrcnn.training.build import build_trainer

    root = choose_images(args.coco_root, folder, args.images, args.side)
    cfg = make_config(root, folder, args.backbone, args.side)
    record = convert_from_config(cfg)
    classes = read_info(record).classes
    loader, batches, epoch = TrainLoader.from_config(cfg, record), [], 0
    while len(batches) < args.steps:
        batches += loader.epoch(epoch)
        epoch += 1
    batches = batches[: args.steps]
    rates = args.rate * np.minimum(1.0, (np.arange(args.steps) + 1) / WARMUP)
    write_data(cfg, record, batches, rates, folder / "data.npz", args.backbone, len(classes))

    peer = [args.peer, str(Path(__file__).with_name("peer_training.py"))]
    subprocess.run([*peer, "start", str(folder)], check=True)
    convert_file(folder / "start.npz", folder / "start.ckpt", class_names=classes.names)
    trainer = build_trainer(cfg, record, None)
    with subprocess.Popen([*peer, "train", str(folder)]) as process:  # at the same time: nothing is timed here
        ours = train(trainer, batches, rates)
    if process.returncode:
        raise SystemExit(f"the peer failed with exit code {process.returncode}")

    data, found = np.load(folder / "data.npz"), np.load(folder / "peer.npz")
    ann_file, image_dir = evaluation_files(cfg)
    truth = load_ground_truth(ann_file)
    in_truth = truth.find_classes(classes.names, classes.category_ids)
    settings, options = InferenceSettings.from_config(cfg), EvaluationOptions.from_config(cfg)
    metrics = {}
    for name, detector in (
        ("ours", Detector(trainer.step.network)),
        ("torchvision", PeersDetections(data, found, cfg.test_max_per_img)),
    ):
        result = evaluate(detector, truth, image_dir, in_truth, settings, options)
        metrics[name] = {kind: round(result.metric(kind), 4) for kind in ("bbox", "segm")}
    arguments = {key: getattr(args, key) for key in ("steps", "images", "side", "rate", "backbone")}
    machine = {"machine": platform.machine(), "cores": os.cpu_count(), "date": str(date.today())}
    return {**arguments, **compare(ours, found["losses"]), "ap": metrics, **machine}


if __name__ == "__main__":
    main()
