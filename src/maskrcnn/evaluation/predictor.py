"""Find the objects in images that nobody has annotated: pictures and JSON."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tqdm import tqdm

from maskrcnn.data.classes import ClassList
from maskrcnn.errors import DataError
from maskrcnn.evaluation.images import ImageSource, Skipped, load_batches, read_image
from maskrcnn.evaluation.inference import DetectorFunction, ImageResult, Speed, detect_images
from maskrcnn.evaluation.results import write_json
from maskrcnn.evaluation.visualize import draw_objects, objects_from_records, save_picture

if TYPE_CHECKING:
    from maskrcnn.config import Config

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")


class Prediction(NamedTuple):
    """The entries of predictions.json, one an image, the images left out, and the time taken."""

    images: list[dict[str, Any]]
    skipped: list[Skipped]
    speed: Speed


def find_images(paths: Sequence[str | os.PathLike[str]]) -> list[tuple[Path, Path]]:
    """Expand files and folders (with their subfolders) to image files, each once, folders in sorted order.

    Returns pairs of the file and the relative name under which its picture is saved; names that collide get a
    number. Raises DataError for a path that is missing or a folder without images.
    """
    found: list[tuple[Path, Path]] = []
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())
            if not inside:
                raise DataError(f"the folder {path} holds no image ({', '.join(IMAGE_SUFFIXES)})")
            found += [(file, file.relative_to(path)) for file in inside]
        elif path.exists():
            found.append((path, Path(path.name)))
        else:
            raise DataError(f"there is no file or folder {path}")
    named, seen, taken = [], set(), set()
    for file, relative in found:
        if file.resolve() in seen:
            continue
        seen.add(file.resolve())
        picture, number = relative.with_suffix(".jpg"), 1
        while picture in taken:
            number += 1
            picture = relative.with_name(f"{relative.stem}_{number}.jpg")
        taken.add(picture)
        named.append((file, picture))
    return named


def predict(
    detector: DetectorFunction,
    paths: Sequence[str | os.PathLike[str]],
    class_names: Sequence[str],
    output_dir: str | os.PathLike[str],
    *,
    img_height: int,
    img_width: int,
    category_ids: Sequence[int] | None = None,
    keep_ratio: bool = True,
    both_canvases: bool = True,
    batch_size: int = 1,
    workers: int = 2,
    mask_threshold: float = 0.5,
    integer_boxes: bool = False,
    picture_score: float = 0.5,
    strict: bool = False,
    progress: bool = True,
) -> Prediction:
    """Run ``detector`` on image files and folders; write pictures and predictions.json into ``output_dir``.

    predictions.json holds every detection as ``{class, category_id, score, bbox [x, y, w, h],
    segmentation}`` in pixels of the file as stored (its EXIF orientation is not applied); pictures show
    those of at least ``picture_score``. Category ids are the labels 1..K if none are given. An image that
    cannot be read is reported; with ``strict`` it raises DataError.
    """
    files = find_images(paths)
    ids = tuple(category_ids) if category_ids else tuple(range(1, len(class_names) + 1))
    classes = ClassList(tuple(class_names), ids)
    skipped: list[Skipped] = []
    speed = Speed()
    batches = load_batches(
        [ImageSource(position, file) for position, (file, _) in enumerate(files)],
        img_height=img_height,
        img_width=img_width,
        keep_ratio=keep_ratio,
        both_canvases=both_canvases,
        batch_size=batch_size,
        workers=workers,
        strict=strict,
        skipped=skipped,
    )
    results = detect_images(
        detector,
        batches,
        classes.category_ids,
        mask_threshold=mask_threshold,
        integer_boxes=integer_boxes,
        workers=workers,
        speed=speed,
    )
    entries: dict[int, dict[str, Any]] = {}
    for result in tqdm(results, total=len(files), desc="predict", unit="image", disable=not progress):
        position = result.source.image_id
        picture = files[position][1]
        drawn = objects_from_records(result.bbox, result.segm, classes.category_ids, classes.names, picture_score)
        save_picture(Path(output_dir) / picture, draw_objects(read_image(result.source), drawn))
        entries[position] = _entry(result, picture, classes)
    images = [entries[position] for position in sorted(entries)]
    write_json(Path(output_dir) / "predictions.json", {"images": images})
    return Prediction(images, skipped, speed)


def predict_from_config(
    cfg: Config,
    detector: DetectorFunction,
    paths: Sequence[str | os.PathLike[str]],
    class_names: Sequence[str],
    category_ids: Sequence[int] | None = None,
    both_canvases: bool = True,
) -> Prediction:
    """``predict`` with the settings of a run."""
    return predict(
        detector,
        paths,
        class_names,
        cfg.predict_output,
        img_height=cfg.img_height,
        img_width=cfg.img_width,
        category_ids=category_ids,
        keep_ratio=cfg.keep_ratio,
        both_canvases=both_canvases,
        batch_size=cfg.test_batch_size,
        workers=cfg.num_parallel_workers,
        mask_threshold=cfg.mask_thr_binary,
        integer_boxes=cfg.paste_integer_boxes,
        picture_score=cfg.picture_score_thr,
        strict=cfg.strict,
    )


def _entry(result: ImageResult, picture: Path, classes: ClassList) -> dict[str, Any]:
    """One image of predictions.json."""
    names = dict(zip(classes.category_ids, classes.names))
    detections = [
        {
            "class": names[box["category_id"]],
            "category_id": box["category_id"],
            "score": box["score"],
            "bbox": box["bbox"],
            "segmentation": mask["segmentation"],
        }
        for box, mask in zip(result.bbox, result.segm)
    ]
    height, width = result.size
    return {
        "file": str(result.source.path),
        "picture": str(picture),
        "height": height,
        "width": width,
        "detections": detections,
    }
