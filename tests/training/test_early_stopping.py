"""When a run ends because its score does not rise."""

from __future__ import annotations

import json

import pytest

from maskrcnn.training.early_stopping import EarlyStopping


def ends_after(patience, scores):
    """The number of evaluations after which a run with these scores ends, None if it does not."""
    stopping = EarlyStopping(patience)
    for epoch, score in enumerate(scores, 1):
        stopping.add(epoch, score)
        if stopping.due:
            return epoch
    return None


@pytest.mark.parametrize(
    ("patience", "scores", "end"),
    [
        (0, [0.5, 0.4, 0.3, 0.2], None),
        (1, [0.1, 0.2, 0.2], 3),  # as high is not higher
        (1, [0.5, 0.4, 0.9], 2),
        (2, [0.1, 0.3, 0.2, 0.25], 4),
        (2, [0.1, 0.3, 0.2, 0.31, 0.1], None),
        (3, [0.0, 0.0, 0.0, 0.0], 4),
        (2, [], None),
    ],
)
def test_a_run_ends_after_patience_evaluations_without_a_new_best(patience, scores, end):
    assert ends_after(patience, scores) == end


def test_the_first_of_equal_scores_is_the_best():
    stopping = EarlyStopping(3)
    for epoch, score in ((2, 0.1), (4, 0.3), (6, 0.3)):
        stopping.add(epoch, score)
    assert stopping.best_epoch == 4


def test_an_evaluation_that_is_repeated_counts_once():
    stopping = EarlyStopping(1)
    stopping.add(1, 0.5)
    stopping.add(1, 0.5)
    assert not stopping.due


def test_it_survives_json():
    stopping = EarlyStopping(1)
    stopping.add(1, 0.5)
    other = EarlyStopping(1)
    other.restore(json.loads(json.dumps(stopping.state())))
    other.add(2, 0.4)
    assert other.due and other.scores == {1: 0.5, 2: 0.4}
