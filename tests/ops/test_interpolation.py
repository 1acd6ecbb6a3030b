"""Weights of cells in bins with adaptive sampling, against the twin and numpy's own interpolation of samples."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tests.graph import Compiled

from maskrcnn.ops import reference
from maskrcnn.ops.interpolation import mean_weights

LIMIT = 40


def by_samples(start, length, limit, cells, spacing, size):
    """The definition: ``np.interp`` of each cell's indicator, at every sample."""
    weights = np.zeros((len(start), size, cells.shape[1]))
    for r in range(len(start)):
        samples = math.ceil(length[r] / size)
        for k in range(size * samples):
            at = start[r] + (k + 0.5) * length[r] / (size * samples)
            if -1 <= at <= limit[r]:
                weights[r, k // samples] += [np.interp(at, cells[r], one) for one in np.eye(cells.shape[1])]
        weights[r] /= max(samples, 1)
    return weights


def axis(n: int, spacing: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """All cells of an axis of LIMIT units, ``spacing`` units each."""
    cells = (np.arange(round(LIMIT / spacing)) + 0.5) * spacing - 0.5
    return np.tile(cells, (n, 1)), np.full(n, spacing)


@pytest.mark.parametrize("size", [1, 7, 28])
@pytest.mark.parametrize("spacing", [1.0, 2.5, 4.0])
def test_equals_interpolation_of_samples(size, spacing):
    rng = np.random.default_rng(size)
    start = np.concatenate([rng.uniform(-3, 38, 30), [0, 0, -0.5, 39.5, 5.25, 7.0]]).astype(np.float32)
    length = np.concatenate([2 ** rng.uniform(-2, 6, 30), [LIMIT, 28.0, LIMIT, 0.5, 0.0, 14.0]]).astype(np.float32)
    limit = np.full(len(start), LIMIT)
    if size == 1:  # a length just off a whole multiple, where rounding would decide on the number of samples
        length = np.where(np.abs(length - np.round(length)) < 1e-3, length + 0.01, length).astype(np.float32)
    arguments = start, length, limit, *axis(len(start), spacing)
    found = Compiled(mean_weights, size=size)(*arguments)
    expected = by_samples(*arguments, size)
    np.testing.assert_allclose(found, expected, atol=2e-5)
    np.testing.assert_allclose(reference.mean_weights(*arguments, size), expected, atol=1e-9)
    assert (found >= -1e-5).all()
    inside = (start >= -0.5) & (start + length <= LIMIT + 0.5) & (length > 0)
    assert inside.sum() > 8
    np.testing.assert_allclose(found[inside].sum(2), 1, atol=1e-5)


def test_some_cells_of_the_axis():
    """Weights of a part of the cells, in any order, are those it has among all."""
    start, length = np.array([3.3, 11.9]), np.array([20.2, 9.1])
    limit = np.full(2, LIMIT)
    run = Compiled(mean_weights, size=7)
    whole = run(start, length, limit, *axis(2))
    part = np.array([[0, 7, 3, 39, 22], [12, 12, 13, 20, 21]])
    some = run(start, length, limit, part, np.ones(2))
    np.testing.assert_allclose(some, np.take_along_axis(whole, part[:, None].repeat(7, 1), 2), atol=1e-6)
    np.testing.assert_allclose(some, reference.mean_weights(start, length, limit, part, np.ones(2), 7), atol=2e-5)
