"""Images that show nearly the same: fingerprints that survive scaling, compression and small changes.

A fingerprint is the "pHash" of 64 bits: the image in grey at 32 x 32 pixels, its cosine transform, and of the 8 x 8
lowest frequencies whether each is above their median. Pairs that differ in few bits are compared by their thumbnails.
"""

from __future__ import annotations

import cv2
import numpy as np

SIDE = 32
_LOW = 8
_MOST_BITS = 7  # so that of eight bytes at least one is the same
_CORRELATION = 0.95  # of the thumbnails of two images that show the same
_FLAT = 2.0  # standard deviation of a thumbnail below which there is nothing to compare


def fingerprint(data: bytes) -> tuple[int, np.ndarray]:
    """Returns the fingerprint and the thumbnail, uint8 [32, 32], of an image file.

    The fingerprint is 0 for an image that is all of one brightness.
    """
    grey = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_REDUCED_GRAYSCALE_4)
    thumbnail = cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    if thumbnail.std() < _FLAT:
        return 0, thumbnail
    low = cv2.dct(thumbnail.astype(np.float32))[:_LOW, :_LOW].ravel()
    bits = low > np.median(low[1:])  # the first is the mean brightness
    return int(np.packbits(bits).view(">u8")[0]), thumbnail


def near_pairs(
    first: np.ndarray, first_thumbnails: np.ndarray, second: np.ndarray, second_thumbnails: np.ndarray
) -> list[tuple[int, int]]:
    """Returns the pairs of images that show nearly the same.

    Fingerprints that differ in up to seven of 64 bits share one of their eight bytes, so only images with a byte in
    common are compared.

    Args:
        first: fingerprints, uint64 [n].
        first_thumbnails: uint8 [n, 32, 32].
        second: fingerprints, uint64 [m].
        second_thumbnails: uint8 [m, 32, 32].

    Returns:
        Pairs (i, j), sorted.
    """
    pairs: set[tuple[int, int]] = set()
    first_bytes, second_bytes = (codes[:, None].view(np.uint8) for codes in map(np.ascontiguousarray, (first, second)))
    known = [np.flatnonzero(codes) for codes in (first, second)]
    for position in range(8):
        for value in range(256):
            left = known[0][first_bytes[known[0], position] == value]
            right = known[1][second_bytes[known[1], position] == value]
            if left.size and right.size:
                distance = _bits(first[left][:, None] ^ second[right][None])
                pairs.update(zip(*(side.tolist() for side in _at(left, right, distance <= _MOST_BITS))))
    return sorted((i, j) for i, j in pairs if correlation(first_thumbnails[i], second_thumbnails[j]) >= _CORRELATION)


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Returns the correlation of two thumbnails, -1 to 1."""
    a, b = (thumbnail.astype(np.float64).ravel() - thumbnail.mean() for thumbnail in (a, b))
    return float(a @ b / max(np.sqrt((a @ a) * (b @ b)), 1e-12))


def _at(left: np.ndarray, right: np.ndarray, where: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = np.nonzero(where)
    return left[rows], right[columns]


_BITS_OF_16 = np.array([bin(value).count("1") for value in range(1 << 16)], np.uint8)


def _bits(values: np.ndarray) -> np.ndarray:
    """Returns the number of bits that are set in each of ``values``, uint64: uint8 of the same shape."""
    return _BITS_OF_16[np.ascontiguousarray(values)[..., None].view(np.uint16)].sum(-1, dtype=np.uint8)
