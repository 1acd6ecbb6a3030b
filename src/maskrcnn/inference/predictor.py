"""Finding the objects in images that nobody has annotated: predictions.json and pictures."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np
from pycocotools import mask as coco_mask
from tqdm import tqdm

from maskrcnn.data.sources.classes import ClassList
from maskrcnn.errors import DataError, EvaluationError
from maskrcnn.files import write_json
from maskrcnn.inference.images import ImageSource, Skipped, decode_file
from maskrcnn.inference.labelme import labelme_content
from maskrcnn.inference.open import OpenedModel
from maskrcnn.inference.pipeline import ImageResult, InferenceRun, Speed
from maskrcnn.inference.visualize import draw_objects, is_own_picture, objects_from_records, save_picture, signed_png
from maskrcnn.threads import map_in_order

if TYPE_CHECKING:
    from maskrcnn.config import Config

_UNSAFE = re.compile(r"[^\w.-]")
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")


class FoundImages(NamedTuple):
    """Image files to look at.

    files: the files. names: for each of them the relative path under which its picture is saved, suffix apart.
    own_pictures: how many pictures of earlier runs lie in the folders and were left out.
    """

    files: list[Path]
    names: list[Path]
    own_pictures: int


@dataclass(frozen=True)
class PredictionOptions:
    """What a prediction leaves behind.

    Attributes:
        output_dir: Folder of predictions.json and the pictures.
        picture_score: Lowest score of a detection in pictures.
        labelme: Whether to write labelme/NAME.json of each image, with the detections of at least ``picture_score``.
        masks: Whether to write masks/NAME/NUMBER_CLASS.png of the same detections: 255 where the object is, else 0.
        apply_exif: Whether to rotate a photograph as its EXIF orientation says, as viewers do: its height, width, boxes
            and masks are then those of the rotated one.
        progress: Whether to show progress bars.
    """

    output_dir: str | os.PathLike[str]
    picture_score: float = 0.5
    labelme: bool = False
    masks: bool = False
    apply_exif: bool = True
    progress: bool = True

    @classmethod
    def from_config(cls, cfg: Config) -> PredictionOptions:
        """Returns the options of a run."""
        return cls(
            output_dir=cfg.predict_output,
            picture_score=cfg.picture_score_thr,
            labelme=cfg.predict_labelme,
            masks=cfg.predict_masks,
            apply_exif=cfg.predict_exif,
        )


class Prediction(NamedTuple):
    """What was found.

    images: the entries of predictions.json, one an image. skipped: the images that could not be used. not_drawn: the
    images whose picture could not be drawn or saved. speed: what the time went on.
    """

    images: list[dict[str, Any]]
    skipped: list[Skipped]
    not_drawn: list[Skipped]
    speed: Speed


def find_images(paths: Sequence[str | os.PathLike[str]]) -> FoundImages:
    """Expands files and folders, with their subfolders, to image files, each once, folders in sorted order.

    Pictures that were drawn here are left out, unless they are named themselves.

    Raises:
        DataError: A path does not exist, or a folder holds no image.
    """
    files, names, seen, own = [], [], set(), 0

    def add(file: Path, name: Path) -> None:
        if file.resolve() not in seen:
            seen.add(file.resolve())
            files.append(file)
            names.append(name.with_suffix(""))

    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())
            images = [file for file in inside if not is_own_picture(file)]
            own += len(inside) - len(images)
            if not images:
                drawn = f" but {len(inside)} pictures of earlier runs" if inside else ""
                raise DataError(f"the folder {path} holds no image{drawn} ({', '.join(IMAGE_SUFFIXES)})")
            for file in images:
                add(file, file.relative_to(path))
        elif path.exists():
            add(path, Path(path.name))
        else:
            raise DataError(f"there is no file or folder {path}")
    return FoundImages(files, names, own)


def predict(model: OpenedModel, images: FoundImages, options: PredictionOptions) -> Prediction:
    """Runs a model on image files; writes predictions.json, then the pictures.

    predictions.json holds every detection as ``{class, category_id, score, bbox [x, y, w, h], segmentation}``; pictures
    show those of at least ``picture_score``. Category ids are the labels 1..K if the model has none. An image that
    cannot be read is left out and reported; a picture that cannot be drawn or saved is reported, too.

    Args:
        model: The model.
        images: The files.
        options: What is left behind.

    Raises:
        DataError: No image could be read; or one could not, and the model's settings are strict; or a LabelMe file that
            would be written is there already.
    """
    classes = ClassList(model.class_names, model.category_ids or tuple(range(1, len(model.class_names) + 1)))
    folder = Path(options.output_dir)
    pictures = picture_paths(images, folder)
    if options.labelme:
        _refuse_to_replace(folder / "labelme" / name.with_suffix(".json") for name in pictures)
    sources = [ImageSource(n, file, apply_exif=options.apply_exif) for n, file in enumerate(images.files)]
    run = InferenceRun(model.detector, sources, classes.category_ids, model.settings)
    results = list(run.with_progress("predict", hidden=not options.progress))
    results.sort(key=lambda result: result.source.image_id)
    if not results:
        first = run.skipped[0]
        raise DataError(f"none of the {len(sources)} images could be read; the first: {first.path}: {first.reason}")
    entries = [_entry(result, pictures[result.source.image_id], classes) for result in results]
    _write(folder, entries)  # before anything is drawn, which may fail or be interrupted
    if options.labelme or options.masks:
        for result in results:
            write_labels(folder, pictures[result.source.image_id].with_suffix(""), result, classes, options)

    draw = partial(_draw, pictures=pictures, classes=classes, folder=folder, score=options.picture_score)
    workers = model.settings.workers
    drawn = map_in_order(draw, results, workers=workers, ahead=workers, name="draw")
    not_drawn = []
    for entry, failure in zip(entries, tqdm(drawn, "draw", len(results), unit="image", disable=not options.progress)):
        if failure is not None:
            not_drawn.append(failure)
            entry["picture"] = None
    if not_drawn:
        _write(folder, entries)
    return Prediction(entries, run.skipped, not_drawn, run.speed)


def write_labels(folder: Path, name: Path, result: ImageResult, classes: ClassList, options: PredictionOptions) -> None:
    """Writes the detections of an image as a LabelMe file and as mask images, as the options say.

    Raises:
        MaskRCNNError: A LabelMe file cannot be written.
    """
    names = dict(zip(classes.category_ids, classes.names))
    kept = [
        (names[box["category_id"]], mask["segmentation"], box["score"])
        for box, mask in zip(result.bbox, result.segm)
        if box["score"] >= options.picture_score
    ]
    if options.labelme:
        path = folder / "labelme" / name.with_name(f"{name.name}.json")
        path.parent.mkdir(parents=True, exist_ok=True)
        image = os.path.relpath(result.source.path.resolve(), path.parent.resolve())
        labels, rles, scores = zip(*kept) if kept else ((), (), ())
        write_json(path, labelme_content(image, result.size, labels, rles, scores))
    if options.masks:
        target = folder / "masks" / name
        target.mkdir(parents=True, exist_ok=True)
        for number, (label, rle, _) in enumerate(kept, 1):
            png = cv2.imencode(".png", coco_mask.decode(rle) * np.uint8(255))[1]
            (target / f"{number:03d}_{_UNSAFE.sub('_', label)}.png").write_bytes(signed_png(png.tobytes()))


def _refuse_to_replace(files: Iterable[Path]) -> None:
    """Refuses LabelMe files that are there: people may have drawn or corrected them."""
    for file in files:
        if os.path.lexists(file):
            raise DataError(
                f"{file} is there already, and may have been corrected by hand: move it away, or choose another "
                "--predict_output"
            )


def _write(folder: Path, entries: list[dict[str, Any]]) -> None:
    write_json(folder / "predictions.json", {"images": entries})


def _draw(result: ImageResult, pictures: list[Path], classes: ClassList, folder: Path, score: float) -> Skipped | None:
    """Draws and saves the picture of an image. Returns what went wrong."""
    try:
        objects = objects_from_records(result.bbox, result.segm, classes.category_ids, classes.names, score)
        save_picture(folder / pictures[result.source.image_id], draw_objects(decode_file(result.source), objects))
    except (DataError, EvaluationError, MemoryError) as error:
        return Skipped(result.source.path, str(error) or "not enough memory for its picture")
    return None


def picture_paths(images: FoundImages, folder: Path) -> list[Path]:
    """Returns where in ``folder`` the pictures go: apart from one another and from all files not drawn here."""
    inputs = {file.resolve() for file in images.files}
    taken: set[str] = set()

    def is_free(picture: Path) -> bool:
        path = folder / picture
        if str(picture).casefold() in taken or path.resolve() in inputs:
            return False
        return not os.path.lexists(path) or is_own_picture(path)

    paths = []
    for name in images.names:
        picture, number = name.with_name(f"{name.name}.jpg"), 1
        while not is_free(picture):
            number += 1
            picture = name.with_name(f"{name.name}_{number}.jpg")
        taken.add(str(picture).casefold())
        paths.append(picture)
    return paths


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
