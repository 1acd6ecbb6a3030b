"""When a run that learns nothing more ends."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class EarlyStopping:
    """Ends a run whose AP has not risen for some evaluations (Goodfellow et al. 2016, algorithm 7.1).

    Attributes:
        patience: Evaluations in a row without a new best score after which it ends; 0: never.
        scores: The score of every evaluation by its epoch, in their order.
    """

    patience: int = 0
    scores: dict[int, float] = field(default_factory=dict)

    def add(self, epoch: int, score: float) -> None:
        """Takes note of the score of an evaluation."""
        self.scores[epoch] = score

    @property
    def best_epoch(self) -> int:
        """Epoch of the first evaluation with the highest score."""
        return max(self.scores, key=self.scores.__getitem__)

    @property
    def due(self) -> bool:
        """Whether the run should end."""
        if not self.patience or not self.scores:
            return False
        return sum(epoch > self.best_epoch for epoch in self.scores) >= self.patience

    def state(self) -> dict[str, Any]:
        """Returns what a checkpoint keeps."""
        return {"scores": [[epoch, score] for epoch, score in self.scores.items()]}

    def restore(self, state: dict[str, Any]) -> None:
        """Continues from what a checkpoint has kept."""
        self.scores = {epoch: score for epoch, score in state["scores"]}
