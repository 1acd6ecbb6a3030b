"""Training and validation images: a keyed share, every class in both as far as possible, groups never divided.

The rule is iterative stratification (Sechidis, Tsoumakas and Vlahavas 2011, algorithm 1) over groups of images: the
rarest class first, its groups go where most images of that class are still missing.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

from maskrcnn.errors import DataError

_NUMBER_AT_END = re.compile(r"[\s_\-.#(]*\d+\)?$")


def group_of(path: Path, name: str, root: Path, group_by: str) -> str:
    """Returns the group that an image must stay together with.

    Args:
        path: the image file.
        name: its file name as the labels give it.
        root: the folder of the source.
        group_by: "folder": the folder it lies in; "prefix": its name without the number at the end; empty: the image
            alone.
    """
    with contextlib.suppress(ValueError):  # so that the split does not depend on where the data set lies
        path = path.relative_to(root)
    if group_by == "folder":
        return str(path.parent)
    if group_by == "prefix":
        return _NUMBER_AT_END.sub("", Path(name).stem) or Path(name).stem
    return str(path)


def split_groups(groups: Sequence[tuple[str, Sequence[Collection[str]]]], fraction: float, seed: int) -> dict[str, str]:
    """Returns "train" or "val" for each group.

    Args:
        groups: (name, classes of each of its images); names are unique.
        fraction: the share of images for validation, 0 to 1.
        seed: another seed gives another choice; the order of ``groups`` plays no part.

    Raises:
        DataError: there is only one group, which cannot be divided.
    """
    if fraction <= 0:
        return {name: "train" for name, _ in groups}
    if len(groups) < 2:
        raise DataError(
            f"all images belong to one group ('{groups[0][0]}'), which is not divided: choose another --group_by, or "
            "--val 0"
        )
    ordered = sorted(groups, key=lambda group: _key(seed, group[0]))
    counts = {name: Counter(label for classes in images for label in set(classes)) for name, images in ordered}
    sizes = {name: len(images) for name, images in ordered}
    left: Counter[str] = Counter()
    for count in counts.values():
        left.update(count)
    shares = {"train": 1 - fraction, "val": fraction}
    wanted = {split: {label: share * left[label] for label in left} for split, share in shares.items()}
    room = {split: share * sum(sizes.values()) for split, share in shares.items()}
    chosen: dict[str, str] = {}
    remaining = dict.fromkeys(name for name, _ in ordered)
    while remaining:
        # the class with fewest images left; groups without any object come last
        label = min((item for item in left if left[item] > 0), key=lambda item: (left[item], item), default=None)
        for name in [name for name in remaining if label is None or label in counts[name]]:
            split = max(shares, key=lambda item, label=label: (wanted[item].get(label, 0), room[item]))
            chosen[name] = split
            room[split] -= sizes[name]
            for other, count in counts[name].items():
                wanted[split][other] -= count
            left.subtract(counts[name])
            del remaining[name]
    _fill_empty(chosen, counts, sizes)
    return {name: chosen[name] for name, _ in groups}


def _key(seed: int, name: str) -> bytes:
    """Returns where a group comes in the order of a seed."""
    return hashlib.sha256(f"{seed}/{name}".encode("utf-8", "surrogateescape")).digest()


def _fill_empty(chosen: dict[str, str], counts: dict[str, Counter[str]], sizes: dict[str, int]) -> None:
    """Gives a split without objects a group of the other split, so that both can be used.

    It is a group whose classes stay in the other split as well, if there is one, and the smallest of these.
    """
    for split, other in (("val", "train"), ("train", "val")):
        if any(counts[name] for name, place in chosen.items() if place == split):
            continue
        there = [name for name, place in chosen.items() if place == other]
        with_objects = [name for name in there if counts[name]]
        if len(with_objects) > 1:
            total = Counter(label for name in there for label in counts[name])
            lost = {name: sum(total[label] == 1 for label in counts[name]) for name in with_objects}
            chosen[min(with_objects, key=lambda name, lost=lost: (lost[name], sizes[name]))] = split
        elif split not in chosen.values():
            chosen[min(there, key=lambda name: (bool(counts[name]), sizes[name]))] = split
