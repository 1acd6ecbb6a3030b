"""What ``maskrcnn compare`` does, from the command line to compare.html."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from maskrcnn.report.build import build_comparison


def main(argv: Sequence[str] | None = None) -> None:
    """Writes one HTML file with the curves of several training runs over each other.

    Raises:
        EvaluationError: A folder holds no run, or the page cannot be written.
    """
    parser = argparse.ArgumentParser(
        prog="maskrcnn compare",
        description="Write one HTML file with the losses, learning rate, speed and AP of training runs over each "
        "other, and the settings in which they differ.",
    )
    parser.add_argument("runs", nargs="+", type=Path, help="log folders of the runs")
    parser.add_argument("--output", type=Path, default=Path("compare.html"), help="the HTML file (compare.html)")
    args = parser.parse_args(argv)
    print(build_comparison(args.output, args.runs))
