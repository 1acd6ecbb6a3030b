"""The eight ways to rotate and mirror an image, as arrays, pixels and boxes.

They are numbered as EXIF does (Exif 2.3, section 4.6.4): 1 shows the pixels as they are, 2 mirrored left to right, 3
rotated by 180 degrees, 4 mirrored top to bottom, 5 transposed, 6 and 8 rotated by 90 degrees clockwise and
counter-clockwise, 7 transposed about the other diagonal. Each is: exchange rows and columns or not, then reverse the
rows or not, then reverse the columns or not.
"""

from __future__ import annotations

import cv2
import numpy as np

UPRIGHT = 1
MIRRORED = 2
# orientation: (exchange rows and columns, reverse rows, reverse columns)
_STEPS = {
    1: (False, False, False),
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}
_NUMBERS = {steps: number for number, steps in _STEPS.items()}
_ROTATIONS = (1, 6, 3, 8)  # by 0, 90, 180 and 270 degrees clockwise


def orientation_of(quarter_turns: int, mirror_rows: bool, mirror_columns: bool) -> int:
    """Returns the orientation that rotates by ``quarter_turns`` (0..3) clockwise, then reverses rows and columns."""
    exchange, rows, columns = _STEPS[_ROTATIONS[quarter_turns]]
    return _NUMBERS[exchange, rows != mirror_rows, columns != mirror_columns]


def inverse(orientation: int) -> int:
    """Returns the orientation that undoes ``orientation``: all but the rotations by 90 degrees undo themselves."""
    return {6: 8, 8: 6}.get(orientation, orientation)


def exchanges_sides(orientation: int) -> bool:
    """Returns whether height and width are exchanged."""
    return _STEPS[orientation][0]


def orient(array: np.ndarray, orientation: int) -> np.ndarray:
    """Returns a view of ``array`` [h, w, ...] in an orientation: [h, w, ...], or [w, h, ...] if sides are exchanged."""
    exchange, rows, columns = _STEPS[orientation]
    array = array.swapaxes(0, 1) if exchange else array
    return array[:: -1 if rows else 1, :: -1 if columns else 1]


def orient_image(rgb: np.ndarray, orientation: int) -> np.ndarray:
    """Returns uint8 [h, w, 3] in an orientation, contiguous; OpenCV moves pixels ten times as fast as numpy."""
    exchange, rows, columns = _STEPS[orientation]
    rgb = cv2.transpose(rgb) if exchange else rgb
    return cv2.flip(rgb, -1 if rows and columns else 0 if rows else 1) if rows or columns else rgb


def orient_boxes(boxes: np.ndarray, height: float, width: float, orientation: int) -> np.ndarray:
    """Returns where boxes of an image lie in an orientation of it.

    Args:
        boxes: float [n, 4], x1, y1, x2, y2 in pixels.
        height: of the image before it is oriented.
        width: of the image before it is oriented.
        orientation: 1..8.

    Returns:
        float [n, 4].
    """
    exchange, rows, columns = _STEPS[orientation]
    x1, y1, x2, y2 = boxes.T
    if exchange:
        x1, y1, x2, y2, height, width = y1, x1, y2, x2, width, height
    if rows:
        y1, y2 = height - y2, height - y1
    if columns:
        x1, x2 = width - x2, width - x1
    return np.stack([x1, y1, x2, y2], axis=1)
