"""What ``maskrcnn shapes`` does, from the command line to the folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from maskrcnn.cli import Parser
from maskrcnn.data.shapes.dataset import make_shapes

DESCRIPTION = "Draw a data set of coloured shapes with exact masks; the same seed draws the same pictures."


def main(argv: Sequence[str] | None = None) -> None:
    """Draws the data set, and says where it is."""
    parser = Parser(prog="python -m maskrcnn.data.shapes", description=DESCRIPTION)
    parser.add_argument("out", type=Path, help="folder to draw into, new or empty")
    parser.add_argument("--train", type=int, default=400, help="training pictures (400)")
    parser.add_argument("--val", type=int, default=80, help="validation pictures (80)")
    parser.add_argument("--height", type=int, default=256, help="of a landscape picture in pixels (256)")
    parser.add_argument("--width", type=int, default=320, help="of a landscape picture in pixels (320)")
    parser.add_argument("--seed", type=int, default=0, help="another seed draws other pictures (0)")
    args = parser.parse_args(argv)
    root = make_shapes(args.out, args.train, args.val, (args.height, args.width), args.seed)
    print(f"{root}: {args.train} training and {args.val} validation pictures of shapes")
