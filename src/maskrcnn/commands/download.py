"""Fetch COCO 2017: from the command line to a folder in COCO's layout."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from maskrcnn.data.download.coco import ANNOTATION_HOST, IMAGE_HOST, SPLITS, CocoFiles, download_coco, read_sums
from maskrcnn.errors import DataError

DESCRIPTION = """\
Fetch COCO 2017 (20.4 GB) into OUT: annotations/instances_{train,val}2017.json, train2017/ and val2017/. Sizes and MD5
sums are checked, and enough room on the disk before anything is fetched. An interrupted download goes on where it
stopped when the same command is run again."""


def main(argv: Sequence[str] | None = None) -> None:
    """Fetches and unpacks, and says where it is."""
    parser = argparse.ArgumentParser("maskrcnn download", description=DESCRIPTION)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("out", metavar="OUT", type=Path, help="folder of the data set")
    parser.add_argument("--image_host", default=IMAGE_HOST, help=f"address of the images' archives ({IMAGE_HOST})")
    parser.add_argument(
        "--annotation_host", default=ANNOTATION_HOST, help=f"address of the annotations' archive ({ANNOTATION_HOST})"
    )
    parser.add_argument("--splits", default=",".join(SPLITS), help=f"which splits ({','.join(SPLITS)})")
    parser.add_argument("--sums", type=Path, help="file of lines 'size md5 name' of a mirror's own archives")
    parser.add_argument("--keep_archives", action="store_true", help="keep the archives in OUT/archives")
    parser.add_argument("--no_record", action="store_true", help="do not count room for the converted training data")
    arguments = parser.parse_args(argv)
    splits = tuple(split.strip() for split in arguments.splits.split(",") if split.strip())
    unknown = [split for split in splits if split not in SPLITS]
    if unknown or not splits:
        raise DataError(f"--splits {arguments.splits}: there are {' and '.join(SPLITS)}")
    sums = read_sums(arguments.sums) if arguments.sums else None
    files = CocoFiles(arguments.image_host, arguments.annotation_host, splits, sums)
    download_coco(
        arguments.out,
        files,
        keep_archives=arguments.keep_archives,
        for_record=not arguments.no_record,
        progress=sys.stderr.isatty(),
    )
    print(f"COCO 2017 is in {arguments.out}")
