"""The files of COCO 2017: fetched, checked, unpacked into the layout that training takes."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from maskrcnn.data.download.fetch import Archive, fetch, partial_size
from maskrcnn.errors import DataError
from maskrcnn.files import whole_file, whole_folder
from maskrcnn.lock import AlreadyLocked, locked

IMAGE_HOST = "http://images.cocodataset.org/zips"
ANNOTATION_HOST = "http://images.cocodataset.org/annotations"
SPLITS = ("train2017", "val2017")
ANNOTATIONS = "annotations_trainval2017"
ARCHIVES = "archives"
LOCK = ".download.lock"
# Name: size in bytes and MD5 sum, as the files have been since 2017.
SUMS = {
    "train2017.zip": (19_336_861_798, "cced6f7f71b7629ddf16f17bbcfab6b2"),
    "val2017.zip": (815_585_330, "442b8da7639aecaf257c1dceb8ba8c80"),
    "annotations_trainval2017.zip": (252_907_541, "f4bbac642086de4f52a3fdda2de5fa2c"),
}
_JSON_GROWS = 5  # annotation files are compressed, photographs are not
_SPARE = 1 << 28  # bytes left free on the disk
_COPY = 1 << 20


@dataclass(frozen=True)
class CocoFiles:
    """What is to be fetched.

    Attributes:
        image_host: address of the folder with train2017.zip and val2017.zip.
        annotation_host: address of the folder with annotations_trainval2017.zip.
        splits: which splits.
        sums: size and MD5 sum of each archive.
    """

    image_host: str = IMAGE_HOST
    annotation_host: str = ANNOTATION_HOST
    splits: tuple[str, ...] = SPLITS
    sums: dict[str, tuple[int, str]] | None = None

    def archive(self, name: str) -> Archive:
        """Returns the archive ``name``.zip.

        Raises:
            DataError: its size and sum are not known.
        """
        file = f"{name}.zip"
        sums = SUMS if self.sums is None else self.sums
        if file not in sums:
            raise DataError(f"the list of checksums has no line for {file}")
        host = self.annotation_host if name == ANNOTATIONS else self.image_host
        return Archive(f"{host.rstrip('/')}/{file}", file, *sums[file])


def read_sums(path: Path) -> dict[str, tuple[int, str]]:
    """Returns sizes and MD5 sums from a file of lines ``size md5 name``, for a mirror with other archives.

    Raises:
        DataError: it cannot be read, or a line has another form.
    """
    sums = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"the list of checksums {path} cannot be read: {error}") from None
    for number, line in enumerate(lines, 1):
        fields = line.split()
        if not fields:
            continue
        if len(fields) != 3 or not fields[0].isdecimal() or len(fields[1]) != 32:
            raise DataError(f"{path}, line {number}: {line[:60]!r} is not 'size md5 name'")
        sums[fields[2]] = (int(fields[0]), fields[1].lower())
    return sums


class _Step(NamedTuple):
    """An archive and what it becomes."""

    archive: Archive
    targets: tuple[Path, ...]

    @property
    def done(self) -> bool:
        """Whether it has been unpacked; what is there is complete."""
        return all(path.exists() for path in self.targets)


def download_coco(
    root: Path, files: CocoFiles, *, keep_archives: bool = False, for_record: bool = True, progress: bool = False
) -> None:
    """Makes ``root`` a folder in COCO's layout; what an interrupted run has left is used.

    Args:
        root: the folder.
        files: what to fetch, and where from.
        keep_archives: leave the archives there; otherwise each goes when it has been unpacked.
        for_record: leave room on the disk for the converted training data, too.
        progress: show progress bars.

    Raises:
        DataError: the disk is too small, or a file cannot be fetched or is damaged.
    """
    annotations = tuple(root / "annotations" / f"instances_{split}.json" for split in files.splits)
    steps = [_Step(files.archive(ANNOTATIONS), annotations)]
    steps += [_Step(files.archive(split), (root / split,)) for split in files.splits]
    folder = root / ARCHIVES
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with locked(root / LOCK):
            check_room(root, steps, for_record)
            for step in steps:
                _run(step, folder, keep_archives, progress)
    except AlreadyLocked as holder:
        raise DataError(f"{root} is being downloaded to by {holder}: wait for it") from None
    if not any(folder.iterdir()):
        folder.rmdir()


def _run(step: _Step, folder: Path, keep_archives: bool, progress: bool) -> None:
    """Fetches an archive and unpacks it, unless that is done."""
    if step.done:
        print(f"{step.archive.name}: unpacked already")
        return
    path = fetch(step.archive, folder, progress=progress)
    for target in step.targets:
        _unpack(path, target, progress)
    if not keep_archives:
        path.unlink()


def check_room(root: Path, steps: Sequence[_Step], for_record: bool = True) -> None:
    """Refuses a disk that is too small before anything is fetched.

    Raises:
        DataError: there is less room than the archives still to be fetched, what they unpack to, and the record of the
            training images take together.
    """
    folder = root / ARCHIVES
    needed = _SPARE
    for step in steps:
        images = len(step.targets) == 1 and step.targets[0].suffix == ""
        if not step.done:
            needed += step.archive.size - partial_size(step.archive, folder)
            needed += step.archive.size * (1 if images else _JSON_GROWS)
        if for_record and images and step.targets[0].name.startswith("train"):
            needed += step.archive.size
    free = shutil.disk_usage(root).free
    if free < needed:
        raise DataError(
            f"the disk of {root} has {free / 2**30:.1f} GiB free, and {needed / 2**30:.1f} GiB are needed for the "
            "archives, the images and the converted data: name another folder"
        )


def _unpack(path: Path, target: Path, progress: bool) -> None:
    """Unpacks a folder of images, or one annotation file; it appears when it is complete, each file's CRC checked.

    Raises:
        DataError: the archive is damaged, or does not hold it.
    """
    is_file = target.suffix == ".json"
    prefix = f"annotations/{target.name}" if is_file else f"{target.name}/"
    try:
        with zipfile.ZipFile(path) as archive:
            members = [m for m in archive.infolist() if m.filename.startswith(prefix) and not m.is_dir()]
            if not members:
                raise DataError(f"{path} holds no {prefix}: it is not the archive of COCO 2017")
            target.parent.mkdir(parents=True, exist_ok=True)
            if is_file:
                with archive.open(members[0]) as source, whole_file(target) as file:
                    shutil.copyfileobj(source, file, _COPY)
                return
            with whole_folder(target) as partial:
                for member in tqdm(members, desc=f"unpack {target.name}", unit="image", disable=not progress):
                    with archive.open(member) as source, open(partial / Path(member.filename).name, "wb") as file:
                        shutil.copyfileobj(source, file, _COPY)
    except (zipfile.BadZipFile, EOFError) as error:
        raise DataError(f"{path} cannot be unpacked ({error}): remove it and run the same command again") from None
