"""Contact sheets: every picture in its cell, objects where they are."""

from __future__ import annotations

import numpy as np

from maskrcnn.inference.contact_sheet import SheetObject, SheetPicture, contact_sheet
from maskrcnn.inference.visualize import class_colour


def test_pictures_lie_in_rows_and_objects_where_they_are():
    grey = np.full((100, 200, 3), 90, np.uint8)
    mask = np.zeros((100, 200), bool)
    mask[60:80, 120:160] = True
    item = SheetObject((120.0, 60.0, 160.0, 80.0), mask, 3, "")
    page = contact_sheet([SheetPicture(grey, [item] if i == 4 else [], f"{i}") for i in range(5)], 3, (100, 200))
    assert page.shape == (2 * (100 + 22 + 8) + 8, 3 * (200 + 8) + 8, 3)
    top, left = 8 + 130 + 22, 8 + 208  # second row, second column
    cell = page[top : top + 100, left : left + 200]
    tinted = np.rint(90 * 0.6 + np.array(class_colour(3)) * 0.4)
    assert np.abs(cell[65:75, 130:150].astype(int) - tinted).max() <= 1
    assert (cell[60, 120:160] == class_colour(3)).all()
    outside = cell.copy()
    outside[50:85, 115:165] = 90
    assert (outside == 90).all()


def test_any_size_any_name_any_number():
    objects = [SheetObject((1.0, 2.0, 30.0, 40.0), None, 1, "a long name " * 9)] * 3
    for height, width in ((1, 1), (3000, 10), (7, 4000)):
        pixels = np.zeros((height, width, 3), np.uint8)
        page = contact_sheet([SheetPicture(pixels, objects, "Приклад " * 50)])
        assert page.ndim == 3 and page.dtype == np.uint8
