"""Fixtures of the data tests."""

from __future__ import annotations

import pytest
from tests.data.loading import Records, make_sample


@pytest.fixture
def records() -> Records:
    shapes = [(60, 90), (90, 60), (100, 150), (64, 64), (80, 50), (30, 150), (90, 91)]
    return Records([make_sample(100 + i, h, w, objects=i) for i, (h, w) in enumerate(shapes)])
