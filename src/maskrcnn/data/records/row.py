"""The columns of a record's row, to and from :class:`~maskrcnn.data.sources.sample.Sample`."""

from __future__ import annotations

import zlib

import numpy as np

from maskrcnn.data.sources.sample import Sample
from maskrcnn.errors import DataError

# All columns are arrays or bytes: MindRecord keeps single numbers and strings in pages of their own, where
# damage makes its reader abort the process instead of raising an error.
SCHEMA = {
    "image_id": {"type": "int64", "shape": [1]},
    "file_name": {"type": "bytes"},
    "image": {"type": "bytes"},
    "size": {"type": "int32", "shape": [2]},  # height, width
    "boxes": {"type": "float32", "shape": [-1, 4]},
    "labels": {"type": "int32", "shape": [-1]},
    "crowd": {"type": "int32", "shape": [-1]},
    "rle_sizes": {"type": "int32", "shape": [-1]},  # bytes of each object's RLE in rles, -1 where it has none
    "rles": {"type": "bytes"},
    "checksum": {"type": "int64", "shape": [1]},
}
_NO_RLE = -1


def encode_row(sample: Sample) -> dict[str, object]:
    """The columns of ``sample``, with a checksum, as MindRecord reads damaged blocks without complaint."""
    row: dict[str, object] = {
        "image_id": np.array([sample.image_id], np.int64),
        "file_name": sample.file_name.encode(),
        "image": sample.jpeg,
        "size": np.array([sample.height, sample.width], np.int32),
        "boxes": np.ascontiguousarray(sample.boxes, np.float32),
        "labels": np.ascontiguousarray(sample.labels, np.int32),
        "crowd": np.ascontiguousarray(sample.crowd, np.int32),
        "rle_sizes": np.array([_NO_RLE if rle is None else len(rle) for rle in sample.rles], np.int32),
        "rles": b"".join(rle for rle in sample.rles if rle is not None),
    }
    row["checksum"] = np.array([_checksum(row)], np.int64)
    return row


def row_bytes(row: dict[str, object]) -> int:
    """About what ``row`` takes of a page."""
    return len(row["image"]) + len(row["rles"]) + 28 * len(row["labels"]) + 256


def decode_row(row: dict[str, np.ndarray]) -> Sample:
    """A row as MindDataset gives it (numpy, bytes columns as ``S<n>`` arrays) to a Sample.

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
    return Sample(
        image_id=row["image_id"].item(),
        file_name=plain["file_name"].decode(),
        jpeg=plain["image"],
        height=int(row["size"][0]),
        width=int(row["size"][1]),
        boxes=row["boxes"].reshape(-1, 4),
        labels=row["labels"].reshape(-1),
        crowd=row["crowd"].reshape(-1).astype(bool),
        rles=[None if n == _NO_RLE else rles[end - n : end] for n, end in zip(sizes.tolist(), ends)],
    )


def _checksum(row: dict[str, object]) -> int:
    crc = zlib.crc32(row["file_name"])
    for name in ("image_id", "size", "boxes", "labels", "crowd", "rle_sizes"):
        crc = zlib.crc32(np.ascontiguousarray(row[name]), crc)
    return zlib.crc32(row["image"], zlib.crc32(row["rles"], crc))
