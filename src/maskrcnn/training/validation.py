"""Evaluations between the epochs of a run."""

from __future__ import annotations

from pathlib import Path

from maskrcnn.config import Config
from maskrcnn.data.sources.classes import ClassList
from maskrcnn.distributed.parameters import share_parameters
from maskrcnn.distributed.process_group import ProcessGroup
from maskrcnn.evaluation.evaluator import evaluate_from_config, evaluation_files
from maskrcnn.evaluation.ground_truth import load_ground_truth
from maskrcnn.inference.detector import Detector


class Validation:
    """Function from a checkpoint to its figures on the evaluation data.

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
        self._truth = load_ground_truth(evaluation_files(cfg)[0])
        self._detector: Detector | None = None

    def __call__(self, checkpoint: Path | None) -> dict[str, float] | None:
        """Evaluates a checkpoint, which only rank 0 needs to have; returns its figures, None off rank 0."""
        if self._detector is None:
            self._detector = Detector.from_config(self._cfg, len(self._classes) + 1)
        if self._group.rank == 0:  # the others may lie on hosts that do not have the file
            self._detector.load(checkpoint)
        share_parameters(self._detector.network.get_parameters(), self._group)
        result = evaluate_from_config(self._cfg, self._detector, self._classes, self._truth, group=self._group)
        return result and result.summary()
