"""From labels of any format to a data set in COCO's layout."""

from __future__ import annotations

import itertools
import pickle
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple

from tqdm import tqdm

from maskrcnn.data.formats import read_labels
from maskrcnn.data.formats.labels import LabelledImage, LabelSet, ReadOptions
from maskrcnn.data.prepare.checking import CheckedImage, check_image
from maskrcnn.data.prepare.classes import ClassMap
from maskrcnn.data.prepare.split import group_of, split_groups
from maskrcnn.data.prepare.writer import YEAR, AnnotationFile, ImageWriter, Names, TileOptions, WrittenImage
from maskrcnn.data.sources.report import Issue, Reason, SkipReport
from maskrcnn.errors import DataError
from maskrcnn.files import whole_folder
from maskrcnn.threads import map_in_order

REPORT_FILE = "prepare_report.txt"
DEFAULT_VAL = 0.2
_AHEAD = 8  # images a worker may be ahead


@dataclass(frozen=True)
class PrepareOptions:
    """How a data set is made.

    Attributes:
        read: what the labels do not say themselves.
        format_name: the format to insist on; empty to recognise it.
        image_folders: where else images are looked for.
        classes: new class names, and which are kept.
        val: share of the images for validation; None keeps the sources' own split, or takes a fifth.
        seed: another seed divides the images in another way.
        group_by: "folder", "prefix" or empty: what is never divided.
        link: "link", "symlink" or "copy".
        tiles: how large images are cut; None leaves them whole.
        keep_empty: keep images without an object of the kept classes.
        keep_unlabelled: take images without labels for images without objects.
        strict: stop at the first fault.
        workers: threads.
        progress: show a progress bar.
    """

    read: ReadOptions = field(default_factory=ReadOptions)
    format_name: str = ""
    image_folders: tuple[Path, ...] = ()
    classes: ClassMap = field(default_factory=lambda: ClassMap({}))
    val: float | None = None
    seed: int = 0
    group_by: str = ""
    link: str = "link"
    tiles: TileOptions | None = None
    keep_empty: bool = False
    keep_unlabelled: bool = False
    strict: bool = False
    workers: int = 2
    progress: bool = False


@dataclass
class SourceCounts:
    """What was read from one source."""

    source: Path
    format: str
    listed: int = 0
    images: int = 0
    objects: int = 0
    masks: int = 0
    boxes: int = 0


@dataclass
class Prepared:
    """What was made: counts of sources, splits and classes, how image files came there, and what was left out."""

    root: Path
    sources: list[SourceCounts]
    classes: list[str]
    unused: list[str]
    splits: dict[str, AnnotationFile]
    placed: Counter[str]
    split_rule: str
    skipped: SkipReport


class _Entry(NamedTuple):
    """Where an image goes; the images themselves wait in a file."""

    group: str
    classes: frozenset[str]
    split: str | None


def prepare(sources: Sequence[Path], out: Path, options: PrepareOptions) -> Prepared:
    """Reads labels, checks them against the images and writes a data set in COCO's layout.

    ``out`` appears when all of it is complete: ``annotations/instances_train2017.json``, ``train2017/`` and the same
    for val (and test, where a source has it), and a text file with a line for everything that was left out.

    Args:
        sources: folders or label files.
        out: folder to make; it is new, or empty.
        options: how.

    Raises:
        DataError: a source is missing or not recognised, nothing in it can be used, or ``out`` holds something.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out} is not empty: name a new folder, or remove it first")
    inside = [source for source in sources if source.is_dir() and out.resolve().is_relative_to(source.resolve())]
    if inside:
        raise DataError(f"{out} lies within the source {inside[0]}: name a folder elsewhere")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile() as spool, whole_folder(out) as partial_folder:
        return _Preparation(options, spool).run(sources, partial_folder, out)


class _Preparation:
    """The state of one run."""

    def __init__(self, options: PrepareOptions, spool: IO[bytes]) -> None:
        self.options = options
        self.spool = spool
        self.skipped = SkipReport(options.strict)
        self.issues: list[Issue] = []
        self.entries: list[_Entry] = []
        self.declared: dict[str, None] = {}
        self.found: dict[str, None] = {}
        self.seen: set[str] = set()

    def run(self, sources: Sequence[Path], folder: Path, out: Path) -> Prepared:
        """Reads all sources, then writes what can be used into ``folder``, which will be ``out``."""
        counts = [self._read(source) for source in sources]
        known = [*self.declared, *self.found]
        self.options.classes.check(known)
        if not self.entries:
            first = f": {self.issues[0]}" if self.issues else ""
            raise DataError(f"no image of {', '.join(map(str, sources))} can be used{first}")
        used = frozenset().union(*(entry.classes for entry in self.entries))
        if not used:
            raise DataError(f"no image of {', '.join(map(str, sources))} has an object that can be used")
        classes = self.options.classes.ordered(self.declared, used)
        mapped = dict.fromkeys(filter(None, map(self.options.classes.name_of, known)))
        splits, rule = self._divide()
        unused = [name for name in mapped if name not in classes]
        prepared = Prepared(out, counts, classes, unused, {}, Counter(), rule, self.skipped)
        self._write(splits, folder, prepared)
        lines = [f"{'skipped' if issue.reason.fault else 'note'}: {issue}\n" for issue in self.issues]
        report = folder / REPORT_FILE
        report.write_text("".join(lines), encoding="utf-8", errors="backslashreplace")
        return prepared

    def _add(self, issues: Sequence[Issue]) -> None:
        self.skipped.add(issues)
        self.issues += issues

    def _read(self, source: Path) -> SourceCounts:
        """Checks the images of one source; those that can be used are kept in the spool file."""
        options = self.options
        labels = read_labels(source, options.read, options.format_name, options.image_folders)
        counts = SourceCounts(source, labels.format)
        self.declared.update(dict.fromkeys(labels.classes))
        root = source if source.is_dir() else source.parent
        check = partial(check_image, classes=options.classes, keep_empty=options.keep_empty)
        images = self._listed(labels, counts)
        checked = map_in_order(check, images, workers=options.workers, ahead=_AHEAD * options.workers, name="check")
        for image, issues in tqdm(checked, desc=f"read {source}", unit="image", disable=not options.progress):
            self._add(issues)
            if image is None:
                continue
            counts.images += 1
            counts.objects += len(image.objects)
            counts.masks += sum(item.segmentation is not None for item in image.objects)
            pickle.dump(image, self.spool)
            group = group_of(image.path or Path(image.name), image.name, root, options.group_by)
            names = frozenset(item.label for item in image.objects if not item.crowd)
            self.entries.append(_Entry(group, names, image.split))
        counts.boxes = counts.objects - counts.masks
        self._add(labels.issues)
        return counts

    def _listed(self, labels: LabelSet, counts: SourceCounts) -> Iterator[LabelledImage]:
        """Yields the images that have labels, each file once."""
        for image in labels.images:
            counts.listed += 1
            self.found.update(dict.fromkeys(item.label for item in image.objects))
            if not image.labelled and not self.options.keep_unlabelled:
                self._add([Issue(Reason.NO_LABELS, image.where)])
                continue
            if image.path is not None:
                real = str(image.path.resolve())
                if real in self.seen:
                    self._add([Issue(Reason.DUPLICATE_IMAGE, f"{image.where} ({image.path})")])
                    continue
                self.seen.add(real)
            yield image

    def _divide(self) -> tuple[list[str], str]:
        """Returns the split of each image, and the rule in words."""
        options = self.options
        given = {entry.split for entry in self.entries}
        if options.val is None and not options.group_by and {"train", "val"} <= given:
            return [entry.split or "train" for entry in self.entries], "as the source says"
        fraction = DEFAULT_VAL if options.val is None else options.val
        groups: dict[str, list[frozenset[str]]] = {}
        for entry in self.entries:
            if entry.split != "test":
                groups.setdefault(entry.group, []).append(entry.classes)
        if fraction and len(groups) == 1 and len(self.entries) == 1:
            raise DataError("there is one image only, and it cannot be both for training and validation: give --val 0")
        chosen = split_groups(list(groups.items()), fraction, options.seed)
        by = {"folder": ", folders kept together", "prefix": ", names with one prefix kept together"}
        rule = f"{fraction:g} of the images for validation, seed {options.seed}{by.get(options.group_by, '')}"
        return ["test" if entry.split == "test" else chosen[entry.group] for entry in self.entries], rule

    def _write(self, splits: Sequence[str], folder: Path, prepared: Prepared) -> None:
        options = self.options
        names, ids = Names(), itertools.count(1)
        writer = ImageWriter(folder, options.link, options.tiles)
        description = "prepared from " + ", ".join(f"{item.source.name} ({item.format})" for item in prepared.sources)
        for split in ("train", "val", "test"):
            if split in splits:
                (folder / f"{split}{YEAR}").mkdir()
                path = folder / "annotations" / f"instances_{split}{YEAR}.json"
                prepared.splits[split] = AnnotationFile(path, prepared.classes, description, ids)

        def write(item: tuple[CheckedImage, str, str]) -> tuple[str, list[WrittenImage]]:
            image, name, split = item
            return split, writer.write(image, name, f"{split}{YEAR}")

        items = ((image, names.unique(image), split) for image, split in zip(self._spooled(), splits))
        written = map_in_order(write, items, workers=options.workers, ahead=_AHEAD * options.workers, name="write")
        image_ids = itertools.count(1)
        bar = tqdm(written, total=len(splits), desc="write", unit="image", disable=not options.progress)
        for split, images in bar:
            for image in images:
                prepared.splits[split].add(image, next(image_ids))
                prepared.placed[image.placed] += 1
        for file in prepared.splits.values():
            file.close()

    def _spooled(self) -> Iterator[CheckedImage]:
        self.spool.seek(0)
        for _ in self.entries:
            yield pickle.load(self.spool)
