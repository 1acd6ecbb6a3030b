"""The columns of a record's row, to and from :class:`~maskrcnn.data.sample.Sample`."""

from __future__ import annotations

import zlib

import numpy as np

from maskrcnn.data.sample import Sample
from maskrcnn.errors import DataError

SCHEMA = {
    "image_id": {"type": "int64"},
    "file_name": {"type": "string"},
    "image": {"type": "bytes"},
    "size": {"type": "int32", "shape": [2]},  # height, width
    "boxes": {"type": "float32", "shape": [-1, 4]},
    "labels": {"type": "int32", "shape": [-1]},
    "crowd": {"type": "int32", "shape": [-1]},
    "rle_sizes": {"type": "int32", "shape": [-1]},  # bytes of each object's RLE in rles, -1 where it has none
    "rles": {"type": "bytes"},
    "checksum": {"type": "int64"},
}
_NO_RLE = -1


def encode_row(sample: Sample) -> dict[str, object]:
    """The columns of ``sample``, with a checksum, as MindRecord reads damaged blocks without complaint."""
    row: dict[str, object] = {
        "image_id": sample.image_id,
        "file_name": sample.file_name,
        "image": sample.jpeg,
        "size": np.array([sample.height, sample.width], np.int32),
        "boxes": np.ascontiguousarray(sample.boxes, np.float32),
        "labels": np.ascontiguousarray(sample.labels, np.int32),
        "crowd": np.ascontiguousarray(sample.crowd, np.int32),
        "rle_sizes": np.array([_NO_RLE if rle is None else len(rle) for rle in sample.rles], np.int32),
        "rles": b"".join(rle for rle in sample.rles if rle is not None),
    }
    row["checksum"] = _checksum(row)
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
    plain = {
        "image_id": int(row["image_id"]),
        "file_name": str(row["file_name"]),
        "image": row["image"].tobytes(),
        "size": row["size"],
        "boxes": row["boxes"],
        "labels": row["labels"],
        "crowd": row["crowd"],
        "rle_sizes": sizes,
        # an empty column comes back as one zero byte
        "rles": row["rles"].tobytes()[: int(sizes.clip(0).sum())],
    }
    if _checksum(plain) != int(row["checksum"]):
        raise DataError(
            f"the record is damaged at image {plain['image_id']} ({plain['file_name']}): convert again"
        )
    ends = np.cumsum(sizes.clip(0)).tolist()
    rles = plain["rles"]
    return Sample(
        image_id=plain["image_id"],
        file_name=plain["file_name"],
        jpeg=plain["image"],
        height=int(row["size"][0]),
        width=int(row["size"][1]),
        boxes=row["boxes"].reshape(-1, 4),
        labels=row["labels"].reshape(-1),
        crowd=row["crowd"].reshape(-1).astype(bool),
        rles=[None if n == _NO_RLE else rles[end - n : end] for n, end in zip(sizes.tolist(), ends)],
    )


def _checksum(row: dict[str, object]) -> int:
    crc = zlib.crc32(f"{row['image_id']}\0{row['file_name']}\0".encode())
    for name in ("size", "boxes", "labels", "crowd", "rle_sizes"):
        crc = zlib.crc32(np.ascontiguousarray(row[name]), crc)
    return zlib.crc32(row["image"], zlib.crc32(row["rles"], crc))
