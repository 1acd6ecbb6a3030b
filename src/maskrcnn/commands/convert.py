"""Bring weights from elsewhere, and take them back: from the command line to the file."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from maskrcnn.cli import Parser
from maskrcnn.config import load_config
from maskrcnn.config.load import DEVICE_VARIABLE
from maskrcnn.config.parsing import split_flags
from maskrcnn.config.problems import Problems
from maskrcnn.config.schema import key_types, keys_of_role
from maskrcnn.config.stored import TO_USE
from maskrcnn.errors import CheckpointError, ConfigError

SWITCHES = ("list", "all_classes", "help", "help_all")
OPTIONS = ("norm_eps", "class_names", "entry")

DESCRIPTION = """\
Bring weights from elsewhere into a checkpoint (OUT.ckpt), or a checkpoint into torchvision's layout
(OUT.safetensors, OUT.npz). The source is recognised by its contents: torchvision's maskrcnn_resnet50_fpn and
ImageNet ResNets (.pth, .safetensors, .npz), detectron2's Mask R-CNN R50/R101-FPN (.pkl, .pth), ResNets and the
Mask R-CNN of MindSpore's model zoo (.ckpt). Nothing in a file is ever run. Training, evaluation and export read
these files without a conversion, too."""
EPILOG = (
    "--key value, for any key of the configuration: what the checkpoint shall say of its network, besides its source"
)


def main(argv: Sequence[str] | None = None) -> None:
    """Converts or exports, and says what was done.

    Raises:
        MaskRCNNError: The arguments, the settings or the source cannot be used.
    """
    own, others = _split(sys.argv[1:] if argv is None else argv)
    arguments = _parser().parse_args(own)
    settings = _network_settings(others)
    out = Path(arguments.out) if arguments.out else None
    if out is None and not arguments.list:
        raise CheckpointError("name the file to write: python -m maskrcnn.convert SOURCE OUT.ckpt")
    if out is not None and out.suffix not in (".safetensors", ".npz", ".ckpt"):
        raise CheckpointError(f"{out}: a conversion ends in .ckpt, an export in .safetensors or .npz")
    from maskrcnn.convert import convert_file, export_file  # imports MindSpore, which takes seconds

    if out is not None and out.suffix != ".ckpt":
        exported = export_file(arguments.source, out)
        if arguments.list:
            print("\n".join(f"{name} {list(array.shape)}" for name, array in exported.items()))
        print(f"{len(exported)} tensors in torchvision's layout written to {out}")
        return
    result = convert_file(
        arguments.source,
        out,
        norm_eps=arguments.norm_eps,
        all_classes=arguments.all_classes,
        class_names=[name.strip() for name in arguments.class_names.split(",") if name.strip()],
        entry=arguments.entry,
        settings=settings,
    )
    if arguments.list:
        print("\n".join(result.table()))
    counts = f"{len(result.tensors)} tensors, {len(result.left_out)} left out"
    print(f"{arguments.source}: {result.layout}, {result.format}, {counts}")
    for note in result.notes:
        print(f"note: {note}")
    if out is not None:
        print(f"written to {out}" + (f", with the settings of {result.config}" if result.config else ""))


def _split(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Splits a command line into this command's own arguments and the keys of the configuration."""
    problems = Problems()
    switches = [*SWITCHES, *(key for key, expected in key_types().items() if expected is bool)]
    flags, plain = split_flags(argv, [*SWITCHES, *OPTIONS, *key_types(), "config_path"], switches, problems)
    problems.raise_noted()
    own = [f"--{key}" if key in SWITCHES else f"--{key}={text}" for key, text in flags if key in (*SWITCHES, *OPTIONS)]
    return [*plain, *own], [f"--{key}={text}" for key, text in flags if key not in (*SWITCHES, *OPTIONS)]


def _network_settings(argv: Sequence[str]) -> dict[str, Any]:
    """Returns the given keys of the configuration, all of which have to say something of a network."""
    if not argv:
        return {}
    given = {key: value for key, (value, where) in load_config(argv).given.items() if where != DEVICE_VARIABLE}
    strangers = [key for key in given if key not in keys_of_role(*TO_USE)]
    if strangers:
        raise ConfigError(*(f"{key} says nothing of a network: remove it" for key in strangers))
    return given


def _parser() -> Parser:
    parser = Parser("python -m maskrcnn.convert", description=DESCRIPTION, epilog=EPILOG)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("source", metavar="SOURCE")
    parser.add_argument("out", metavar="OUT", nargs="?", help="may be left out with --list")
    parser.add_argument("--list", action="store_true", help="show what becomes of every tensor")
    parser.add_argument("--all_classes", action="store_true", help="keep torchvision's 91 classes, not COCO's 80")
    parser.add_argument("--norm_eps", type=float, help="eps of the source's batch normalisation, if it is unusual")
    parser.add_argument("--class_names", default="", help="names of the classes without background, comma-separated")
    parser.add_argument("--entry", default="", metavar="NAME", help="which weights of a training script's checkpoint")
    return parser
