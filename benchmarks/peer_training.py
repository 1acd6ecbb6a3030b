"""torchvision's half of ``bench_parity_training.py``; runs where torch and torchvision are, and needs nothing of ours.

    PYTHON peer_training.py start FOLDER     make a network, calibrate its batch norms, write FOLDER/start.npz
    PYTHON peer_training.py train FOLDER     train from start.npz on data.npz, write FOLDER/peer.npz
    PYTHON peer_training.py train FOLDER --perturb 1e-6    from weights changed by so much: its distance from itself

FOLDER/data.npz: images uint8 [N,H,W,3] (padded), sizes int [N,2]; of each image i boxes_i float32 [n,4], labels_i int
[n] and masks_i uint8 [n,h,w]; order int [steps,batch] of the images, rates float [steps], settings (JSON).
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torchvision.models import resnet
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.backbone_utils import _resnet_fpn_extractor
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops.misc import FrozenBatchNorm2d
from torchvision.ops.poolers import initLevelMapper


class Fixed(GeneralizedRCNNTransform):
    """Images arrive resized; every batch is padded to the one canvas."""

    canvas = (0, 0)

    def resize(self, image, target=None):
        return image, target

    def batch_images(self, images, size_divisible=32):
        out = images[0].new_zeros(len(images), 3, *self.canvas)
        for canvas, image in zip(out, images):
            canvas[:, : image.shape[1], : image.shape[2]] = image
        return out


def build(data, settings: dict) -> MaskRCNN:
    """The network: all of it is trained, its batch norms stay fixed."""
    torch.manual_seed(settings["seed"])
    body = getattr(resnet, settings["backbone"])(weights=None, norm_layer=FrozenBatchNorm2d)
    proposals = {f"rpn_{when}_nms_top_n_{mode}": settings["proposals"] for when in ("pre", "post") for mode in MODES}
    net = MaskRCNN(
        _resnet_fpn_extractor(body, 5),
        num_classes=settings["classes"] + 1,
        rpn_batch_size_per_image=settings["anchors"],
        box_batch_size_per_image=settings["rois"],
        box_positive_fraction=settings["positives"] / settings["rois"],
        box_detections_per_img=100,
        **proposals,
    )
    net.transform = Fixed(800, 1333, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    net.transform.canvas = data["images"].shape[1:3]
    for pool in (net.roi_heads.box_roi_pool, net.roi_heads.mask_roi_pool):
        # It would guess them from the sizes of maps and images, wrongly where much of the canvas is padding.
        pool.scales = [1 / 4, 1 / 8, 1 / 16, 1 / 32]
        pool.map_levels = initLevelMapper(2, 5)
    return net


MODES = ("train", "test")


def load(folder: Path):
    data = np.load(folder / "data.npz")
    images, targets = [], []
    for i, (height, width) in enumerate(data["sizes"]):
        rgb = torch.tensor(data["images"][i, :height, :width])
        images.append(rgb.permute(2, 0, 1).float() / 255)
        boxes, labels, masks = (torch.tensor(data[f"{name}_{i}"]) for name in ("boxes", "labels", "masks"))
        targets.append({"boxes": boxes, "labels": labels.long(), "masks": masks})
    return data, json.loads(str(data["settings"])), images, targets


@torch.no_grad()
def calibrate(net: MaskRCNN, images: list) -> None:
    """Give every batch norm the statistics of some images, as a trained backbone would have them."""

    def measure(norm, arguments):
        x = arguments[0]
        norm.running_mean.copy_(x.mean((0, 2, 3)))
        norm.running_var.copy_(x.var((0, 2, 3)).clamp(min=1e-6))

    norms = [m for m in net.modules() if isinstance(m, FrozenBatchNorm2d)]
    hooks = [norm.register_forward_pre_hook(measure) for norm in norms]
    net.backbone(net.transform(images)[0].tensors)
    for hook in hooks:
        hook.remove()


def start(folder: Path) -> None:
    data, settings, images, _ = load(folder)
    net = build(data, settings)
    calibrate(net, images[:8])
    np.savez(folder / "start.npz", **{name: value.numpy() for name, value in net.state_dict().items()})


def train(folder: Path, perturbation: float = 0.0) -> None:
    data, settings, images, targets = load(folder)
    net = build(data, settings)
    net.load_state_dict({name: torch.tensor(value) for name, value in np.load(folder / "start.npz").items()})
    torch.manual_seed(settings["sampling_seed"])
    with torch.no_grad():
        for weight in net.parameters() if perturbation else ():
            weight *= 1 + perturbation * torch.randn_like(weight)
    net.train()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.0, momentum=settings["momentum"], weight_decay=1e-4)
    losses = []
    for step, (rows, rate) in enumerate(zip(data["order"], data["rates"])):
        began = time.perf_counter()
        optimizer.param_groups[0]["lr"] = float(rate)
        found = net([images[i] for i in rows], [targets[i] for i in rows])
        losses.append([float(found[name].detach()) for name in LOSSES])
        optimizer.zero_grad()
        sum(found.values()).backward()
        optimizer.step()
        if step % 10 == 0:
            print(f"peer step {step} loss {sum(losses[-1]):.4f} {time.perf_counter() - began:.2f} s", flush=True)
    net.eval()
    arrays = {"losses": np.array(losses)}
    with torch.no_grad():
        for i, image in enumerate(images):
            shapes = [tuple(image.shape[-2:])]
            batch, _ = net.transform([image])
            features = net.backbone(batch.tensors)
            detections, _ = net.roi_heads(features, net.rpn(batch, features)[0], shapes)
            arrays.update({f"{name}_{i}": value.numpy() for name, value in detections[0].items()})
    np.savez(folder / "peer.npz", **arrays)


LOSSES = ("loss_objectness", "loss_rpn_box_reg", "loss_classifier", "loss_box_reg", "loss_mask")

if __name__ == "__main__":
    if sys.argv[3:4] == ["--perturb"]:
        train(Path(sys.argv[2]), float(sys.argv[4]))
    else:
        {"start": start, "train": train}[sys.argv[1]](Path(sys.argv[2]))
