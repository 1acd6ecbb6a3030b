"""Pictures of predictions that were made earlier, without a network."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from maskrcnn.errors import DataError, EvaluationError
from maskrcnn.inference.images import ImageSource, Skipped, decode_file
from maskrcnn.inference.predictor import FoundImages, picture_paths
from maskrcnn.inference.visualize import DrawnObject, draw_objects, save_picture


def redraw(predictions: str | os.PathLike[str], folder: str | os.PathLike[str], score: float) -> list[Skipped]:
    """Draws the images of a predictions.json again, and never over a file that was not drawn here.

    Args:
        predictions: The file, as ``predict`` wrote it; images are looked for under the paths in it.
        folder: Where the pictures go.
        score: Lowest score of a detection that is drawn.

    Returns:
        The images without a picture.

    Raises:
        DataError: The file cannot be read or has another form, or not one image could be drawn.
    """
    try:
        entries = json.loads(Path(predictions).read_text(encoding="utf-8"))["images"]
        classes = sorted({(str(d["category_id"]), d["class"]) for entry in entries for d in entry["detections"]})
        labels = {name: label for label, (_, name) in enumerate(classes, 1)}
        objects = [_objects(entry, score, labels) for entry in entries]
        files = [Path(entry["file"]) for entry in entries]
        names = [_name(entry) for entry in entries]
    except OSError as error:
        raise DataError(f"{predictions} cannot be read: {error.strerror or error}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{predictions} is no file of predictions as predict writes it ({error!r})") from None
    failed = []
    pictures = picture_paths(FoundImages(files, names, 0), Path(folder))
    for number, (entry, path, drawn) in enumerate(zip(entries, files, objects)):
        try:
            rgb = decode_file(ImageSource(number, path, (entry["height"], entry["width"])))
            save_picture(Path(folder) / pictures[number], draw_objects(rgb, drawn))
        except (DataError, EvaluationError, MemoryError) as error:
            failed.append(Skipped(path, str(error).removeprefix(f"{path}: ")))
    if failed and len(failed) == len(entries):
        first = failed[0]
        raise DataError(
            f"none of the {len(entries)} images of {predictions} could be drawn; {first.path}: {first.reason}"
        )
    return failed


def _name(entry: dict[str, Any]) -> Path:
    """Returns what the picture of an image is called, without a suffix; nothing leads out of the folder."""
    name = Path(entry.get("picture") or Path(entry["file"]).name)
    return (Path(name.name) if name.is_absolute() or ".." in name.parts else name).with_suffix("")


def _objects(entry: dict[str, Any], score: float, labels: dict[str, int]) -> list[DrawnObject]:
    """Returns the objects of an image; ``labels`` give their colours."""
    if not isinstance(entry["file"], str) or not all(isinstance(entry[key], int) for key in ("height", "width")):
        raise ValueError("an image has no file, height and width")
    drawn = []
    for found in entry["detections"]:
        if found["score"] >= score:
            x, y, width, height = found["bbox"]
            name = found["class"]
            corners = (x, y, x + width, y + height)
            drawn.append(DrawnObject(corners, found["segmentation"], labels[name], f"{name} {found['score']:.2f}"))
    return drawn
