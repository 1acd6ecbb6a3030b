"""Text in pictures: any script, inside the space it claims, on machines with and without fonts."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from maskrcnn.inference import text as text_module
from maskrcnn.inference.text import draw_text, text_size

WHITE = (255, 255, 255)


@pytest.fixture(params=["fonts of this machine", "no fonts"])
def fonts(request, monkeypatch):
    text_module._font_with.cache_clear()
    if request.param == "no fonts":
        monkeypatch.setattr(text_module, "_FONT_FILES", ("no such font.ttf",))
    yield
    text_module._font_with.cache_clear()


def drawn(text: str, scale: float = 0.7, place=(20, 60)) -> np.ndarray:
    picture = np.zeros((100, 500, 3), np.uint8)
    draw_text(picture, text, place, scale, WHITE)
    return picture.any(-1)


@pytest.mark.parametrize(
    "text", ["猫 0.93", "кошка 0.93", "γάτα", "قطة", "बिल्ली", "Grüße", "cat", "🐱", "half \ud83d pair"]
)
@pytest.mark.parametrize("scale", [0.4, 0.7])
def test_text_is_there_and_within_its_size(fonts, text: str, scale: float) -> None:
    ink = drawn(text, scale)
    size = text_size(text, scale)
    y, x = np.nonzero(ink)
    assert ink.sum() > 15
    assert 60 - size.above - 1 <= y.min() and y.max() <= 60 + size.below + 1
    assert x.min() >= 18 and x.max() <= 20 + size.width + 1


def test_ascii_is_drawn_by_opencv() -> None:
    expected = np.zeros((100, 500, 3), np.uint8)
    cv2.putText(expected, "cat 0.93", (20, 60), cv2.FONT_HERSHEY_SIMPLEX, 0.7, WHITE, 1, cv2.LINE_AA)
    assert (drawn("cat 0.93") == expected.any(-1)).all()


def test_scripts_stay_apart_without_fonts(monkeypatch) -> None:
    """Transliterated, two names are still two names."""
    text_module._font_with.cache_clear()
    monkeypatch.setattr(text_module, "_FONT_FILES", ())
    assert (drawn("猫") == drawn("Mao")).all() and (drawn("кошка") != drawn("собака")).any()
    text_module._font_with.cache_clear()


def test_at_the_picture_s_edges(fonts) -> None:
    picture = np.zeros((30, 40, 3), np.uint8)
    for place in ((-10, 10), (35, 25), (0, 2), (0, 40), (50, 20)):
        draw_text(picture, "кошка", place, 0.7, WHITE)
    assert picture.shape == (30, 40, 3)
