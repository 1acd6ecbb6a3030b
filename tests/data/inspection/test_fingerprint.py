"""Fingerprints: the same scene is recognised, different photographs are not taken for the same."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from maskrcnn.data.inspection.fingerprint import correlation, fingerprint, near_pairs


def photograph(seed: int, height: int = 240, width: int = 320) -> np.ndarray:
    """Something with structure at all scales, as photographs have."""
    rng = np.random.default_rng(seed)
    layers = [
        cv2.resize(rng.normal(0, weight, (rows, rows)), (width, height), interpolation=cv2.INTER_CUBIC)
        for rows, weight in ((3, 60), (6, 40), (12, 25), (48, 10))
    ]
    return (128 + sum(layers)).clip(0, 255).astype(np.uint8)


def coded(pixels: np.ndarray, suffix: str = ".png", quality: int = 90) -> bytes:
    return cv2.imencode(suffix, pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def pairs(first: list[bytes], second: list[bytes]) -> list[tuple[int, int]]:
    sides = [[fingerprint(data) for data in side] for side in (first, second)]
    arrays = [(np.array([c for c, _ in side], np.uint64), np.array([t for _, t in side])) for side in sides]
    return near_pairs(*arrays[0], *arrays[1])


CHANGES = {
    "compressed": lambda p: coded(p, ".jpg", 40),
    "half the size": lambda p: coded(cv2.resize(p, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)),
    "brighter": lambda p: coded((p * 0.8 + 40).astype(np.uint8)),
    "blurred": lambda p: coded(cv2.GaussianBlur(p, (0, 0), 2)),
    "a frame later": lambda p: coded(np.roll(p, 3, 1)),
    "something in the corner": lambda p: coded(cv2.rectangle(p.copy(), (0, 0), (15, 15), 255, -1)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_found_among_others(change: str):
    scenes = [photograph(seed) for seed in range(40)]
    copies = [CHANGES[change](scene) for scene in scenes[:10]]
    found = pairs([coded(scene) for scene in scenes], copies)
    assert found == [(i, i) for i in range(10)]


def test_images_of_one_brightness_are_not_compared():
    flat = coded(np.full((50, 60, 3), 17, np.uint8))
    assert fingerprint(flat)[0] == 0
    assert pairs([flat, flat], [flat]) == []


def test_bytes_in_common_find_the_same_pairs_as_comparing_all():
    rng = np.random.default_rng(0)
    first = rng.integers(1, 2**63, 60).astype(np.uint64)
    second = first[rng.integers(0, 60, 80)].copy()
    for index in range(80):
        for bit in rng.choice(64, rng.integers(0, 12), replace=False):
            second[index] ^= np.uint64(1 << int(bit))
    thumbnails = [np.broadcast_to(photograph(1, 32, 32), (n, 32, 32)) for n in (60, 80)]
    by_hand = [(i, j) for i in range(60) for j in range(80) if bin(int(first[i]) ^ int(second[j])).count("1") <= 7]
    assert len(by_hand) > 20
    assert near_pairs(first, thumbnails[0], second, thumbnails[1]) == by_hand


def test_correlation_is_numpy_s():
    a, b = photograph(1, 32, 32), photograph(2, 32, 32)
    assert correlation(a, b) == pytest.approx(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def test_photographs_of_coco_are_all_different(coco_tiny: Path):
    sides = [[path.read_bytes() for path in sorted((coco_tiny / s).iterdir())] for s in ("train2017", "val2017")]
    assert pairs(*sides) == []
