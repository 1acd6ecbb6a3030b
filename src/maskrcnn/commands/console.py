"""The console command ``maskrcnn``: which subcommand is in which module."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import NamedTuple

from maskrcnn.config.parsing import hint
from maskrcnn.errors import ConfigError


class Command(NamedTuple):
    """A subcommand: the module whose ``main`` it calls, and what it does."""

    module: str
    summary: str


COMMANDS = {
    "train": Command("train", "train a network, or go on with a run"),
    "eval": Command("evaluate", "evaluate a checkpoint or an exported model on COCO data"),
    "predict": Command("predict", "find objects in images: pictures and JSON"),
    "export": Command("export", "write a checkpoint as MINDIR, ONNX or AIR"),
    "postprocess": Command("postprocess", "score COCO result files"),
    "report": Command("report", "show what result files hold: one HTML page"),
    "serve": Command("serve", "try a model in a browser, or use it over HTTP"),
    "compare": Command("compare", "show the curves of several runs: one HTML page"),
    "convert": Command("convert", "bring weights from elsewhere, and take them back"),
    "prepare": Command("prepare", "make a data set of labels in any format"),
    "check": Command("check", "look a data set over before training"),
    "download": Command("download", "fetch COCO 2017"),
    "shapes": Command("shapes", "draw a small data set of shapes"),
    "config": Command("config", "translate a configuration of MindSpore's model zoo"),
    "launch": Command("launch", "run train.py or eval.py as several processes"),
}


def help_text() -> str:
    """Returns the list of subcommands, which fits on a screen."""
    lines = ["usage: maskrcnn COMMAND [ARGUMENT]...", "", "Mask R-CNN on MindSpore. Commands:", ""]
    lines += [f"  {name:<12} {command.summary}" for name, command in COMMANDS.items()]
    return "\n".join([*lines, "", "maskrcnn COMMAND --help shows a command's options; --version the version."])


def main(argv: Sequence[str] | None = None) -> int | None:
    """Runs a subcommand, whose module is imported only then.

    Returns:
        Its exit code; None for 0.

    Raises:
        MaskRCNNError: There is no such subcommand, or it fails.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    if not argv or argv[0] in ("--help", "-h", "--help_all", "help"):
        print(help_text())
        return None
    if argv[0] == "--version":
        from maskrcnn import __version__

        print(f"maskrcnn {__version__}")
        return None
    name, *arguments = argv
    if name not in COMMANDS:
        raise ConfigError(f"there is no command '{name}'{hint(name, COMMANDS)}; maskrcnn --help lists them")
    module = importlib.import_module(f"maskrcnn.commands.{COMMANDS[name].module}")
    return module.main(arguments)
