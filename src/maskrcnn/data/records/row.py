"""The columns of a record's row, to and from :class:`~maskrcnn.data.sources.sample.Sample`."""

from __future__ import annotations

import zlib
from dataclasses import replace

import numpy as np

from maskrcnn.data.sources.orientation import UPRIGHT
from maskrcnn.data.sources.sample import Sample
from maskrcnn.errors import DataError

# All columns are arrays or bytes: MindRecord keeps single numbers and strings in pages of their own, where damage makes
# its reader abort the process instead of raising an error.
SCHEMA = {
    "image_id": {"type": "int64", "shape": [1]},
    "file_name": {"type": "bytes"},
    "image": {"type": "bytes"},
    "size": {"type": "int32", "shape": [3]},  # height and width, after the EXIF orientation 1..8 is applied
    "boxes": {"type": "float32", "shape": [-1, 4]},
    "labels": {"type": "int32", "shape": [-1]},
    "crowd": {"type": "int32", "shape": [-1]},
    "rle_sizes": {"type": "int32", "shape": [-1]},  # bytes of each object's RLE in rles, -1 where it has none
    "rles": {"type": "bytes"},
    "checksum": {"type": "int64", "shape": [1]},
}
_NO_RLE = -1
# MindRecord loses the shape of empty arrays: an image without objects has one of the label 0, which no object has.
_NOTHING = {
    "boxes": np.zeros((1, 4), np.float32),
    "labels": np.zeros(1, np.int32),
    "crowd": np.zeros(1, bool),
    "rles": [None],
}


def encode_row(sample: Sample) -> dict[str, object]:
    """Returns the columns of ``sample``, with a checksum, as MindRecord reads damaged blocks without complaint."""
    sample = sample if len(sample.labels) else replace(sample, **_NOTHING)
    row: dict[str, object] = {
        "image_id": np.array([sample.image_id], np.int64),
        "file_name": sample.file_name.encode(),
        "image": sample.jpeg,
        "size": np.array([sample.height, sample.width, sample.orientation], np.int32),
        "boxes": np.ascontiguousarray(sample.boxes, np.float32),
        "labels": np.ascontiguousarray(sample.labels, np.int32),
        "crowd": np.ascontiguousarray(sample.crowd, np.int32),
        "rle_sizes": np.array([_NO_RLE if rle is None else len(rle) for rle in sample.rles], np.int32),
        "rles": b"".join(rle for rle in sample.rles if rle is not None),
    }
    row["checksum"] = np.array([_checksum(row)], np.int64)
    return row


def row_bytes(row: dict[str, object]) -> int:
    """Returns about what ``row`` takes of a page."""
    return len(row["image"]) + len(row["rles"]) + 28 * len(row["labels"]) + 256


def decode_row(row: dict[str, np.ndarray]) -> Sample:
    """Turns a row as MindDataset gives it (numpy, bytes columns as ``S<n>`` arrays) into a Sample.

    Raises:
        DataError: the checksum does not fit.
    """
    sizes = row["rle_sizes"]
    ends = np.cumsum(sizes.clip(0)).tolist()
    plain = dict(row)
    for name in ("file_name", "image", "rles"):
        plain[name] = row[name].tobytes()
    plain["rles"] = plain["rles"][: ends[-1]]  # an empty column comes back as one zero byte
    if _checksum(plain) != row["checksum"].item():
        where = f"image {row['image_id'].item()} ({plain['file_name'].decode(errors='replace')})"
        raise DataError(f"the record is damaged at {where}: convert it again")
    rles = plain["rles"]
    height, width, *orientation = row["size"].tolist()  # records of version 1 have no orientation
    objects = len(sizes) if row["labels"].any() else 0
    return Sample(
        image_id=row["image_id"].item(),
        file_name=plain["file_name"].decode(),
        jpeg=plain["image"],
        height=height,
        width=width,
        boxes=row["boxes"].reshape(-1, 4)[:objects],
        labels=row["labels"].reshape(-1)[:objects],
        crowd=row["crowd"].reshape(-1).astype(bool)[:objects],
        rles=[None if n == _NO_RLE else rles[end - n : end] for n, end in zip(sizes.tolist(), ends)][:objects],
        orientation=orientation[0] if orientation else UPRIGHT,
    )


def _checksum(row: dict[str, object]) -> int:
    crc = zlib.crc32(row["file_name"])
    for name in ("image_id", "size", "boxes", "labels", "crowd", "rle_sizes"):
        crc = zlib.crc32(np.ascontiguousarray(row[name]), crc)
    return zlib.crc32(row["image"], zlib.crc32(row["rles"], crc))
