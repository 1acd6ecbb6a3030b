"""Evaluations between the epochs of a run."""

from __future__ import annotations

from pathlib import Path

from maskrcnn.config import Config
from maskrcnn.convert.reading import read_weights
from maskrcnn.data.sources.classes import ClassList
from maskrcnn.distributed.parameters import share_parameters
from maskrcnn.distributed.process_group import ProcessGroup
from maskrcnn.errors import DataError
from maskrcnn.evaluation.evaluator import EvaluationOptions, evaluate, evaluation_files
from maskrcnn.evaluation.ground_truth import load_ground_truth
from maskrcnn.inference.detector import Detector
from maskrcnn.inference.settings import InferenceSettings


def check_evaluation_files(cfg: Config) -> None:
    """Makes sure, before a conversion that may take long, that there is something to evaluate on.

    Raises:
        MaskRCNNError: The annotation file or the image folder is missing.
    """
    ann_file, _ = evaluation_files(cfg)
    if not ann_file.is_file():
        raise DataError(
            f"there is no annotation file {ann_file}, which eval_interval_epochs needs: check ann_file, or coco_root "
            "and val_data_type, or set eval_interval_epochs to 0"
        )


class Validation:
    """Function from a checkpoint to its AP on the evaluation data.

    The annotations are read once, when it is made, and the detector is compiled once, when it is first called.

    Args:
        cfg: The run's configuration.
        classes: The classes of the network's labels.
        group: The processes that train, and evaluate, together.

    Raises:
        MaskRCNNError: The evaluation data are missing or cannot be read.
    """

    def __init__(self, cfg: Config, classes: ClassList, group: ProcessGroup) -> None:
        self._cfg, self._classes, self._group = cfg, classes, group
        ann_file, self._image_dir = evaluation_files(cfg)
        self._truth = load_ground_truth(
            ann_file, image_dir=self._image_dir, exif=cfg.exif == "apply", strict=cfg.strict
        )
        self._in_truth = self._truth.find_classes(classes.names, classes.category_ids)
        self._truth.objects_of(self._in_truth.category_ids)  # an error now, not after an epoch, if there are none
        self._detector: Detector | None = None

    def __call__(self, checkpoint: Path | None) -> dict[str, float] | None:
        """Evaluates a checkpoint, which only rank 0 needs to have; returns its AP, None off rank 0."""
        if self._detector is None:
            self._detector = Detector.from_config(self._cfg, len(self._classes) + 1)
        if self._group.rank == 0:  # the others may lie on hosts that do not have the file
            self._detector.load(read_weights(checkpoint))
        share_parameters(self._detector.network.get_parameters(), self._group)
        result = evaluate(
            self._detector,
            self._truth,
            self._image_dir,
            self._in_truth,
            InferenceSettings.from_config(self._cfg),
            EvaluationOptions.from_config(self._cfg),
            self._group,
        )
        return result and result.summary()
