"""Objects in photographs, from Python.

>>> import maskrcnn
>>> model = maskrcnn.load("maskrcnn.ckpt")  # doctest: +SKIP
>>> result = model("photo.jpg")  # doctest: +SKIP
>>> result.save("out.jpg")  # doctest: +SKIP
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Union

import numpy as np

from maskrcnn.config import Config
from maskrcnn.config.schema import Given
from maskrcnn.errors import DataError
from maskrcnn.inference.images import ImageSource
from maskrcnn.inference.open import OpenedModel, needs_mindspore, open_model
from maskrcnn.inference.pipeline import InferenceRun
from maskrcnn.inference.predictor import find_images
from maskrcnn.inference.result import Result

Image = Union[str, "os.PathLike[str]", bytes, np.ndarray]
"""A file, the bytes of one, or pixels uint8 RGB [h, w, 3]."""

_EXPORTED = (".onnx", ".mindir")


def load(path: str | os.PathLike[str], **settings: Any) -> Model:
    """Opens a trained model.

    Args:
        path: a checkpoint of this program, a model that it exported (.onnx, .mindir), or weights of any source that
            ``python -m maskrcnn.convert`` knows.
        **settings: keys of the configuration in place of the model's own, for instance ``device_target="CPU"``,
            ``test_score_thr=0.3`` or ``num_parallel_workers=4``.

    Returns:
        The model, ready to be called.

    Raises:
        MaskRCNNError: the file cannot be used, or a setting contradicts it.
    """
    key = "model" if Path(path).suffix in _EXPORTED else "checkpoint_path"
    given = {**settings, key: str(path)}
    cfg = Config.from_given(given, {name: Given(value, name) for name, value in given.items()})
    if needs_mindspore(Path(path)):
        import maskrcnn.cli  # noqa: F401 - sets MindSpore's log level, which it reads when it is imported
        from maskrcnn.device import set_device  # imports MindSpore, which takes seconds

        set_device(cfg.device_target, cfg.device_id)
    return Model(open_model(cfg))


class Model:
    """A trained model as a function of images.

    Attributes:
        class_names: the name of each label, that of label 1 first.
    """

    def __init__(self, opened: OpenedModel) -> None:
        self._opened = opened
        self.class_names = opened.class_names

    def __call__(self, images: Image | Sequence[Image], score: float = 0.0) -> Result | list[Result]:
        """Finds the objects in an image, or in each image of a list or folder.

        Args:
            images: a file, a folder, the bytes of a file, pixels uint8 RGB [h, w, 3], or a list of these.
            score: the lowest score of an object.

        Returns:
            A Result for one image; a list of them, in the order of the images, for a list or a folder.

        Raises:
            DataError: an image is missing or cannot be decoded.
        """
        is_folder = isinstance(images, (str, os.PathLike)) and Path(images).is_dir()
        if is_folder or isinstance(images, (list, tuple)):
            return list(self.stream([images] if is_folder else images, score))
        return next(self.stream([images], score))

    def stream(self, images: Iterable[Image], score: float = 0.0) -> Iterator[Result]:
        """Yields the result of each image in order, while later ones are decoded and run.

        Images are taken from ``images`` as they are needed, so it may be a generator without end. With a batch size
        above 1 (``test_batch_size``) images of one orientation are run together: results wait until there are so many.

        Args:
            images: as for calling the model; a folder gives its images in sorted order.
            score: the lowest score of an object.

        Raises:
            DataError: an image is missing or cannot be decoded; the results before it have been given.
        """
        settings, ids = self._opened.settings, tuple(range(1, len(self.class_names) + 1))
        paths: dict[int, Path] = {}  # of the images whose results have not been given
        run = InferenceRun(self._opened.detector, _noted(_sources(images), paths), ids, settings)
        skipped = run.skipped
        waiting: dict[int, Result] = {}
        due = 0
        for found in run:
            result = Result.of_records(found, self.class_names, self._opened.category_ids)
            waiting[found.source.image_id] = result.above(score)
            while due in waiting:
                yield waiting.pop(due)
                del paths[due]
                due += 1
            if skipped and skipped[0].path == paths.get(due):  # images are decoded ahead: not before its turn
                break
        if skipped:
            raise DataError(f"{skipped[0].path}: {skipped[0].reason}")


def _noted(sources: Iterable[ImageSource], paths: dict[int, Path]) -> Iterator[ImageSource]:
    """Yields ``sources``, and notes the path of each by its number."""
    for source in sources:
        paths[source.image_id] = source.path
        yield source


def _sources(images: Iterable[Image]) -> Iterator[ImageSource]:
    """Yields the images, numbered from 0.

    Raises:
        DataError: one is neither a file nor bytes nor pixels.
    """
    number = 0
    for image in images:
        if isinstance(image, (str, os.PathLike)):
            for path in find_images([image]).files:
                yield ImageSource(number, path)
                number += 1
            continue
        name = Path(f"image {number}")
        if isinstance(image, (bytes, bytearray, memoryview)):
            yield ImageSource(number, name, content=bytes(image))
        elif isinstance(image, np.ndarray):
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
                raise DataError(f"{name}: pixels are uint8 RGB [h, w, 3], not {image.dtype} {list(image.shape)}")
            yield ImageSource(number, name, content=image)
        else:
            raise DataError(f"{name}: a {type(image).__name__} is neither a path nor bytes nor an array of pixels")
        number += 1
