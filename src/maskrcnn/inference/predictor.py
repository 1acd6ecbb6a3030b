"""Find the objects in images that nobody has annotated: pictures and JSON."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tqdm import tqdm

from maskrcnn.data.sources.classes import ClassList
from maskrcnn.errors import DataError
from maskrcnn.inference.images import ImageSource, Skipped, read_image
from maskrcnn.inference.pipeline import DetectorFunction, ImageResult, InferenceSettings, Speed, detect_files
from maskrcnn.inference.results import write_json
from maskrcnn.inference.visualize import draw_objects, objects_from_records, save_picture

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
    settings: InferenceSettings,
    *,
    category_ids: Sequence[int] | None = None,
    picture_score: float = 0.5,
    apply_exif: bool = True,
    progress: bool = True,
) -> Prediction:
    """Run ``detector`` on image files and folders; write pictures and predictions.json into ``output_dir``.

    predictions.json holds every detection as ``{class, category_id, score, bbox [x, y, w, h],
    segmentation}``; pictures show those of at least ``picture_score``. Category ids are the labels 1..K if none
    are given. ``apply_exif`` turns a photograph as its EXIF orientation says, as viewers do: its height, width,
    boxes and masks are then those of the turned one. An image that cannot be read is reported; with
    ``settings.strict`` it raises DataError.
    """
    files = find_images(paths)
    ids = tuple(category_ids) if category_ids else tuple(range(1, len(class_names) + 1))
    classes = ClassList(tuple(class_names), ids)
    skipped: list[Skipped] = []
    speed = Speed()
    sources = [ImageSource(position, file, apply_exif=apply_exif) for position, (file, _) in enumerate(files)]
    results = detect_files(detector, sources, classes.category_ids, settings, skipped, speed)
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
        InferenceSettings.from_config(cfg, both_canvases),
        category_ids=category_ids,
        picture_score=cfg.picture_score_thr,
        apply_exif=cfg.predict_exif,
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
