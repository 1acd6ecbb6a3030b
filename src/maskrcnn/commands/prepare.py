"""Make a data set of labels in any format: from the command line to the folder."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from maskrcnn.data.formats import FORMATS
from maskrcnn.data.formats.labels import ReadOptions
from maskrcnn.data.prepare.classes import ClassMap
from maskrcnn.data.prepare.prepare import PrepareOptions, prepare
from maskrcnn.data.prepare.table import prepared_lines
from maskrcnn.data.prepare.writer import LINKS, TileOptions
from maskrcnn.errors import DataError

DESCRIPTION = """\
Make a data set in COCO's layout of labelled images: OUT/annotations/instances_{train,val}2017.json and the images in
OUT/train2017 and OUT/val2017. The format of each SOURCE, a folder or a label file, is recognised by its content:

"""


def main(argv: Sequence[str] | None = None) -> None:
    """Prepares the data set, and says what was read."""
    arguments = _parser().parse_args(argv)
    *sources, out = arguments.paths
    if not sources:
        raise DataError("name the labels and the folder to make: maskrcnn prepare SOURCE... OUT")
    print("\n".join(prepared_lines(prepare(sources, out, _options(arguments)))))
    print(f"\nWritten to {out}. Look it over with: maskrcnn check {out}")


def _parser() -> argparse.ArgumentParser:
    formats = "\n".join(f"  {name:14}{known.title}" for name, known in FORMATS.items())
    parser = argparse.ArgumentParser("maskrcnn prepare", description=DESCRIPTION + formats)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("paths", metavar="SOURCE... OUT", nargs="+", type=Path, help="labels, and the folder to make")
    parser.add_argument("--format", choices=FORMATS, default="", help="the format of every SOURCE, if not recognised")
    parser.add_argument("--images", type=Path, action="append", default=[], help="folder to look for images in, too")
    parser.add_argument("--link", choices=LINKS, default="link", help=_LINK_HELP)
    parser.add_argument("--strict", action="store_true", help="stop at the first fault instead of counting it")
    parser.add_argument("--workers", type=int, default=2, help="threads (2)")
    division = parser.add_argument_group("training and validation")
    division.add_argument("--val", type=float, help=_VAL_HELP)
    division.add_argument("--seed", type=int, default=0, help="another seed divides in another way (0)")
    division.add_argument("--group_by", choices=("folder", "prefix"), default="", help=_GROUP_HELP)
    classes = parser.add_argument_group("classes")
    classes.add_argument("--classes", default="", help="keep only these, in this order: book,person")
    classes.add_argument("--merge", action="append", default=[], help="a,b=c: a and b become c (may be repeated)")
    classes.add_argument("--rename", action="append", default=[], help="a=b: a is called b (may be repeated)")
    classes.add_argument("--keep_empty", action="store_true", help="keep images without any object of these classes")
    classes.add_argument("--keep_unlabelled", action="store_true", help="images without labels are without objects")
    tiles = parser.add_argument_group("large images")
    tiles.add_argument("--tile", type=int, default=0, help="cut images into tiles of so many pixels")
    tiles.add_argument("--overlap", type=float, default=0.2, help="share of a tile in common with the next (0.2)")
    tiles.add_argument("--min_visible", type=float, default=0.25, help=_VISIBLE_HELP)
    labels = parser.add_argument_group("what labels do not say")
    labels.add_argument("--class_names", default="", help="names by index, for YOLO, TXT and VOC without names: a,b,c")
    labels.add_argument("--class_name", default="object", help="class of masks without one (object)")
    labels.add_argument("--label_attribute", default="", help="VIA attribute that holds the class")
    labels.add_argument("--line_width", type=float, default=0.0, help="widen open lines to so many pixels (left out)")
    labels.add_argument("--rectangles", choices=("boxes", "masks"), default="boxes", help=_RECTANGLE_HELP)
    labels.add_argument("--split_parts", action="store_true", help="every connected part of a mask PNG is an object")
    return parser


_LINK_HELP = "images are linked (hard, or symbolically from another disk), linked symbolically, or copied"
_VAL_HELP = "share of images for validation (the source's own split, or 0.2)"
_GROUP_HELP = "never divide a folder, or images whose names differ in the number at the end"
_VISIBLE_HELP = "objects cut to less than this share become regions to ignore (0.25)"
_RECTANGLE_HELP = "rectangles are boxes around objects (default), or the objects' outlines"


def _options(arguments: argparse.Namespace) -> PrepareOptions:
    """Returns the options of a command line.

    Raises:
        DataError: a value is out of range.
    """
    limits = (
        ("val", arguments.val is None or 0 <= arguments.val < 1, "from 0 to below 1"),
        ("overlap", 0 <= arguments.overlap < 1, "from 0 to below 1"),
        ("min_visible", 0 <= arguments.min_visible <= 1, "from 0 to 1"),
        ("tile", arguments.tile == 0 or arguments.tile >= 64, "64 or more"),
        ("line_width", 0 <= arguments.line_width < 1e6, "0 or more"),
        ("workers", arguments.workers >= 1, "1 or more"),
    )
    for name, good, allowed in limits:
        if not good:
            raise DataError(f"--{name} is {getattr(arguments, name)}, it must be {allowed}")
    for folder in arguments.images:
        if not folder.is_dir():
            raise DataError(f"--images {folder} is not a folder")
    read = ReadOptions(
        class_names=tuple(name.strip() for name in arguments.class_names.split(",") if name.strip()),
        class_name=arguments.class_name,
        label_attribute=arguments.label_attribute,
        line_width=arguments.line_width,
        rectangles_are_masks=arguments.rectangles == "masks",
        split_parts=arguments.split_parts,
    )
    tiles = TileOptions(arguments.tile, arguments.overlap, arguments.min_visible) if arguments.tile else None
    return PrepareOptions(
        read=read,
        format_name=arguments.format,
        image_folders=tuple(arguments.images),
        classes=ClassMap.from_options(arguments.classes, arguments.merge, arguments.rename),
        val=arguments.val,
        seed=arguments.seed,
        group_by=arguments.group_by,
        link=arguments.link,
        tiles=tiles,
        keep_empty=arguments.keep_empty,
        keep_unlabelled=arguments.keep_unlabelled,
        strict=arguments.strict,
        workers=arguments.workers,
        progress=True,
    )
