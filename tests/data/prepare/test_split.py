"""Splits: the share asked for, every class on both sides, groups whole, the same for the same seed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from maskrcnn.data.prepare.split import group_of, split_groups
from maskrcnn.errors import DataError


def images(count: int = 400, seed: int = 0) -> list[tuple[str, list[set[str]]]]:
    """Groups of one image with classes of very different frequency."""
    rng = np.random.default_rng(seed)
    frequency = {"common": 0.7, "usual": 0.3, "seldom": 0.06, "rare": 0.02}
    return [(f"{i}.jpg", [{name for name, share in frequency.items() if rng.random() < share}]) for i in range(count)]


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.5])
def test_share_of_images_and_of_every_class(fraction: float):
    groups = images()
    chosen = split_groups(groups, fraction, seed=3)
    assert sum(split == "val" for split in chosen.values()) == pytest.approx(fraction * len(groups), abs=3)
    total, val = Counter(), Counter()
    for name, ((classes),) in groups:
        total.update(classes)
        if chosen[name] == "val":
            val.update(classes)
    for name, count in total.items():
        assert val[name] == pytest.approx(fraction * count, abs=2), name
        assert 0 < val[name] < count


def test_is_keyed_and_the_order_plays_no_part():
    groups = images()
    first = split_groups(groups, 0.2, seed=1)
    assert split_groups(groups[::-1], 0.2, seed=1) == first
    other = split_groups(groups, 0.2, seed=2)
    assert 0.2 < np.mean([first[name] != other[name] for name in first]) < 0.4


def test_groups_are_never_divided():
    rng = np.random.default_rng(5)
    groups = [
        (f"g{i}", [{"a"} if rng.random() < 0.5 else {"b"} for _ in range(rng.integers(1, 30))]) for i in range(40)
    ]
    chosen = split_groups(groups, 0.25, seed=0)
    sizes = {name: len(of_group) for name, of_group in groups}
    val = sum(sizes[name] for name, split in chosen.items() if split == "val")
    assert val == pytest.approx(0.25 * sum(sizes.values()), abs=max(sizes.values()))


def test_small_sets_have_objects_on_both_sides():
    assert sorted(split_groups([("a", [{"x"}]), ("b", [{"x"}])], 0.2, 0).values()) == ["train", "val"]
    groups = [("empty", [set()]), ("a", [{"x"}]), ("b", [{"x", "y"}]), ("c", [{"y"}])]
    chosen = split_groups(groups, 0.2, 0)
    val = [dict(groups)[name] for name, split in chosen.items() if split == "val"]
    assert any(classes for (classes,) in val)
    train = set().union(*(dict(groups)[name][0] for name, split in chosen.items() if split == "train"))
    assert train == {"x", "y"}


def test_one_group_cannot_be_divided():
    with pytest.raises(DataError, match=r"all images belong to one group \('a'\)"):
        split_groups([("a", [{"x"}, {"y"}])], 0.2, 0)
    assert split_groups([("a", [{"x"}])], 0, 0) == {"a": "train"}


@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        ("siteA_0001.jpg", "siteA"),
        ("siteA-12.jpg", "siteA"),
        ("scan 3 (7).png", "scan 3"),
        ("frame000123.png", "frame"),
        ("2024.jpg", "2024"),
        ("plain.jpg", "plain"),
    ],
)
def test_groups_by_prefix_and_folder(name: str, prefix: str):
    path = Path("/data/set/night") / name
    assert group_of(path, name, Path("/data/set"), "prefix") == prefix
    assert group_of(path, name, Path("/data/set"), "folder") == "night"
    assert group_of(path, name, Path("/data/set"), "") == f"night/{name}"
