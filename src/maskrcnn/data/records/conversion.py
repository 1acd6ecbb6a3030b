"""Conversion of a data set to one MindRecord file, in one pass with bounded memory.

A row holds the image file's bytes as they came and its objects (see :mod:`maskrcnn.data.records.row`), so a record is
about as large as the data set and depends on nothing but the data set and the class list.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from maskrcnn.config import Config
from maskrcnn.data.records.fingerprint import FolderFingerprint
from maskrcnn.data.records.info import RecordInfo, check_info, index_path, info_path, read_info, write_info
from maskrcnn.data.records.workspace import publish, workspace
from maskrcnn.data.records.writer import RecordWriter
from maskrcnn.data.sources.classes import ClassList
from maskrcnn.data.sources.coco import CocoSource
from maskrcnn.data.sources.json_stream import file_checksum
from maskrcnn.data.sources.report import Issue, Reason, SkipReport
from maskrcnn.data.sources.sample import Sample
from maskrcnn.data.sources.source import Source, require_file, require_folder
from maskrcnn.data.sources.txt import TxtSource
from maskrcnn.errors import DataError
from maskrcnn.threads import map_in_order

_IMAGE_FOLDER = "image_folder"  # entry of a record's source: the fingerprint of the folder it was made from
_MIB = 1 << 20
_LOADED_AHEAD = 4  # images a worker may be ahead of the writer


@dataclass(frozen=True)
class ConversionReport:
    """What a conversion did: the record, how much of the data set is in it, and what was left out."""

    path: Path
    images: int
    objects: int
    listed: int
    file_bytes: int
    seconds: float
    skipped: SkipReport

    def lines(self) -> list[str]:
        """Returns the report for the user."""
        rate = self.images / max(self.seconds, 1e-9)
        return [
            f"{self.path}: {self.images} of {self.listed} images with {self.objects} objects, "
            f"{self.file_bytes / _MIB:.1f} MiB, {self.seconds:.1f} s, {rate:.0f} images/s",
            *self.skipped.lines(),
        ]


def convert_to_mindrecord(
    source: Source,
    output_dir: str | Path,
    *,
    name: str,
    classes: ClassList,
    settings: dict[str, Any],
    max_objects: int | None = None,
    workers: int = 2,
    strict: bool = False,
    progress: bool = True,
) -> ConversionReport:
    """Writes ``source`` to ``output_dir/name.mindrecord`` (with ``.mindrecord.db`` and ``.json``).

    The files are made in a hidden folder and moved when all is done, the ``.json`` last; an older record of that name
    is replaced. Memory does not grow with the number of images.

    Args:
        source: the data set.
        output_dir: made if it does not exist.
        name: the record's name, without suffix.
        classes: the classes that the source's labels refer to.
        settings: what :func:`check_info` shall compare later; anything JSON can hold.
        max_objects: images with more objects than training has room for are reported; None: there is no limit.
        workers: threads that read and check images.
        strict: stop at the first faulty input instead of skipping and counting it.
        progress: show a progress bar on standard error.

    Raises:
        DataError: nothing usable was found, the disk is full or not writable, or ``strict`` met a fault.
    """
    start = time.perf_counter()
    if classes != source.classes:
        raise DataError(f"the source's labels are not those of the given classes: {source.classes.difference(classes)}")
    folder = Path(output_dir)
    report = SkipReport(strict)
    report.add(source.issues)
    fingerprint = FolderFingerprint.of(source.image_dir)  # before the images are read: later changes will show
    on_disk = {_IMAGE_FOLDER: fingerprint.to_json()} if fingerprint else {}
    with workspace(folder, name) as partial:
        path = partial / f"{name}.mindrecord"
        total, largest = source.estimated_bytes()
        free = shutil.disk_usage(partial).free
        if free < total:
            raise DataError(f"{folder} has {free // _MIB} MiB free, the record needs about {total // _MIB} MiB")
        writer = RecordWriter(path, total, largest)
        with tqdm(total=len(source), desc=name, unit=" images", disable=not progress) as bar:
            ahead = _LOADED_AHEAD * workers
            loaded = map_in_order(source.load, range(len(source)), workers=workers, ahead=ahead, name="convert")
            for sample, issues in loaded:
                report.add(issues)
                if sample is not None:
                    report.add(_write(writer, sample, max_objects))
                bar.update()
        if not writer.sizes:
            raise DataError(f"nothing to convert in {source.image_dir}: {'; '.join(report.lines())}")
        writer.finish()
        files = (path.name, index_path(path).name)
        info = RecordInfo(
            path=folder / path.name,
            classes=classes,
            sizes=np.array(writer.sizes, np.int32),
            labels=writer.labels,
            objects=writer.objects,
            settings=settings,
            source={**source.summary(), **on_disk},
            report=report.to_json(),
            file_bytes={file: (partial / file).stat().st_size for file in files},
            checksums={
                path.name: file_checksum(path, writer.header_bytes),
                index_path(path).name: file_checksum(index_path(path)),
            },
        )
        write_info(partial, info)
        publish(partial, folder, (*files, info_path(path).name))
    return ConversionReport(
        path=info.path,
        images=len(info),
        objects=info.objects,
        listed=len(source),
        file_bytes=sum(info.file_bytes.values()) + info_path(info.path).stat().st_size,
        seconds=time.perf_counter() - start,
        skipped=report,
    )


def convert_from_config(cfg: Config) -> Path:
    """Returns the record of the run's training split: the one that is there, or else a new one.

    It is called ``maskrcnn_<split or TXT file>.mindrecord`` and lies in ``mindrecord_dir``, by default in a folder
    ``mindrecord`` beside the annotations. A finished record is used without its data set, too; where the annotation
    file or the image folder is at hand, it must be as it was when the record was made.

    Args:
        cfg: the run's configuration.

    Raises:
        DataError: a folder or file is missing, the record that is there was made with other classes, settings,
            annotations or images, or is damaged, or ``cfg.strict`` is on and something is faulty.
    """
    if cfg.dataset == "coco":
        root = Path(cfg.coco_root)
        annotations = root / cfg.instance_set.format(cfg.train_data_type)
        images, name = root / cfg.train_data_type, cfg.train_data_type
    else:
        annotations, images = Path(cfg.anno_path), Path(cfg.image_dir)
        root, name = annotations.parent, annotations.stem
    folder = Path(cfg.mindrecord_dir) if cfg.mindrecord_dir else root / "mindrecord"
    settings = {
        "dataset": cfg.dataset,
        "annotation_file": annotations.name,
        "images": images.name,
        "keep_empty": cfg.keep_empty,
        "exif": cfg.exif,
    }
    path = folder / f"maskrcnn_{name}.mindrecord"
    if info_path(path).is_file():
        _check_existing(cfg, read_info(path), settings, annotations, images)
        return path
    handling = {"keep_empty": cfg.keep_empty, "exif": cfg.exif == "apply"}
    source: Source
    if cfg.dataset == "coco":
        require_folder(cfg.coco_root, "the COCO folder", "coco_root")
        source = CocoSource(annotations, images, cfg.coco_classes, **handling)
    else:
        require_file(cfg.anno_path, "the TXT annotation file", "anno_path")
        require_folder(cfg.image_dir, "the image folder", "image_dir")
        source = TxtSource(annotations, images, cfg.coco_classes, **handling)
    report = convert_to_mindrecord(
        source,
        folder,
        name=path.stem,
        classes=source.classes,
        settings=settings,
        max_objects=cfg.max_instance_count,
        workers=cfg.num_parallel_workers,
        strict=cfg.strict,
    )
    print("\n".join(report.lines()), flush=True)
    return path


def _check_existing(cfg: Config, info: RecordInfo, settings: dict[str, Any], annotations: Path, images: Path) -> None:
    check_info(info, _wanted_classes(cfg, info, annotations), settings)
    made_from = (info.source["annotation_bytes"], info.source["annotation_crc32"])
    if annotations.is_file() and file_checksum(annotations) != made_from:
        raise DataError(f"{annotations} has changed since the record {info.path} was made: delete it to convert again")
    if _IMAGE_FOLDER in info.source and images.is_dir():  # not in records of earlier versions
        change, note = FolderFingerprint.from_json(info.source[_IMAGE_FOLDER]).compare(images)
        if change:
            raise DataError(
                f"{images} has changed since the record {info.path} was made, {change}: delete it to convert again"
            )
        if note:
            print(f"note: {images} was copied or touched since the record {info.path} was made: {note}", flush=True)
    if cfg.strict and info.faults:
        raise DataError(
            f"the record {info.path} was made with {info.faults} faulty inputs skipped, but strict is on: "
            "correct them, delete it and convert again, or set strict to false"
        )


def _wanted_classes(cfg: Config, info: RecordInfo, annotations: Path) -> ClassList | None:
    """The run's classes; for a list left empty those of the annotation file, None where nothing tells them."""
    if cfg.coco_classes:
        return ClassList.from_names(cfg.coco_classes)
    if "categories" in info.source:
        names = info.source["categories"]
        return ClassList(tuple(names), tuple(range(1, len(names) + 1)))
    # a record of an earlier version: a pass over the file, which takes seconds for COCO's
    return ClassList.from_coco(annotations) if cfg.dataset == "coco" and annotations.is_file() else None


def _write(writer: RecordWriter, sample: Sample, max_objects: int | None) -> list[Issue]:
    """Adds a row to the record; returns what there is to say about it."""
    where = f"image {sample.image_id} ({sample.file_name})"
    if not writer.add(sample):
        return [Issue(Reason.TOO_LARGE, where)]
    objects = int(np.count_nonzero(~sample.crowd))
    if max_objects is not None and objects > max_objects:
        return [Issue(Reason.CROWDED, f"{where}, {objects} objects")]
    return []
