"""Bring weights from elsewhere, and take them back: from the command line to the file."""

from __future__ import annotations

import argparse
from pathlib import Path

from maskrcnn.convert import convert_file, export_file
from maskrcnn.errors import CheckpointError

DESCRIPTION = """\
Bring weights from elsewhere into a checkpoint (OUT.ckpt), or a checkpoint into torchvision's layout
(OUT.safetensors, OUT.npz). The source is recognised by its contents: torchvision's maskrcnn_resnet50_fpn and
ImageNet ResNets (.pth, .safetensors, .npz), detectron2's Mask R-CNN R50/R101-FPN (.pkl, .pth), ResNets and the
Mask R-CNN of MindSpore's model zoo (.ckpt). Nothing in a file is ever run."""


def main(argv: list[str] | None = None) -> None:
    """Convert or export, and say what was done."""
    parser = argparse.ArgumentParser("python -m maskrcnn.convert", description=DESCRIPTION)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("source", metavar="SOURCE")
    parser.add_argument("out", metavar="OUT", nargs="?", help="may be left out with --list")
    parser.add_argument("--list", action="store_true", help="show what becomes of every tensor")
    parser.add_argument("--all_classes", action="store_true", help="keep torchvision's 91 classes, not COCO's 80")
    parser.add_argument("--norm_eps", type=float, help="eps of the source's batch normalisation, if it is unusual")
    parser.add_argument("--class_names", default="", help="names of the classes without background, comma-separated")
    arguments = parser.parse_args(argv)
    out = Path(arguments.out) if arguments.out else None
    if out is None and not arguments.list:
        raise CheckpointError("name the file to write: python -m maskrcnn.convert SOURCE OUT.ckpt")
    if out is not None and out.suffix in (".safetensors", ".npz"):
        exported = export_file(arguments.source, out)
        if arguments.list:
            print("\n".join(f"{name} {list(array.shape)}" for name, array in exported.items()))
        print(f"{len(exported)} tensors in torchvision's layout written to {out}")
        return
    if out is not None and out.suffix != ".ckpt":
        raise CheckpointError(f"{out}: a conversion ends in .ckpt, an export in .safetensors or .npz")
    names = [name.strip() for name in arguments.class_names.split(",") if name.strip()]
    result = convert_file(
        arguments.source, out, norm_eps=arguments.norm_eps, all_classes=arguments.all_classes, class_names=names
    )
    if arguments.list:
        print("\n".join(result.table()))
    counts = f"{len(result.tensors)} tensors, {len(result.left_out)} left out"
    print(f"{arguments.source}: {result.layout}, {result.format}, {counts}")
    for note in result.notes:
        print(f"note: {note}")
    if out is not None:
        print(f"written to {out}" + (f"; use it with --config_path {result.config}" if result.config else ""))
