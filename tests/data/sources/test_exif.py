"""EXIF orientations in the three formats that carry them, against OpenCV, which applies those of JPEG files itself."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from tests.data.exif import FORMATS, with_orientation

from maskrcnn.data.batches.transforms import decode_image, decode_shown
from maskrcnn.data.sources.exif import exif_orientation, orientation_to_apply

HEIGHT, WIDTH = 40, 64


def picture() -> np.ndarray:
    """An image that no rotation or reflection leaves as it is, smooth enough for lossy formats."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([3 * columns, 6 * rows, 255 - 2 * columns - rows], axis=-1).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("order", ["II", "MM"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_formats_say_their_orientation_and_show_the_same_picture(suffix, order, orientation):
    data = with_orientation(picture(), orientation, suffix, order)
    assert exif_orientation(data) == orientation
    stored = decode_image(data)
    assert stored.shape == (HEIGHT, WIDTH, 3)
    # OpenCV applies the orientation of a JPEG file unless it is told not to
    jpeg = with_orientation(picture(), orientation, ".jpg", order)
    expected = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    shown = decode_image(data, orientation)
    assert shown.shape == expected.shape == decode_shown(data).shape
    assert np.abs(shown.astype(int) - expected).mean() < 2, "another rotation or reflection differs by some 60"
    np.testing.assert_array_equal(shown, decode_shown(data))
    np.testing.assert_array_equal(decode_shown(data, exif=False), stored)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xd8",
        b"\xff\xd8\xff\xe1\xff\xff",
        b"\xff\xd8\xff\xe1\x00\x0eExif\0\0II*\0\xff\xff\xff\xff",
        b"\xff\xd8\xff\xe1\x00\x12Exif\0\0II*\0\x08\0\0\0\xff\xff",
        b"\x89PNG\r\n\x1a\n\0\0",
        b"RIFF\xff\xff\xff\xffWEBPEXIF\xff\xff\xff\xff",
        b"GIF89a",
    ],
)
def test_damaged_or_missing_data_mean_upright(data):
    assert exif_orientation(data) == 1


@pytest.mark.parametrize("value", [0, 9, 255])
def test_values_that_do_not_exist_mean_upright(value):
    assert exif_orientation(with_orientation(picture(), value, ".jpg")) == 1


def test_a_thumbnail_with_its_own_orientation_is_not_asked():
    """The first APP1 segment may hold XMP, and a preview inside EXIF a header of its own."""
    xmp = b"\xff\xe1\x00\x20http://ns.adobe.com/xap/1.0/\0\0"
    data = with_orientation(picture(), 6, ".jpg")
    assert exif_orientation(data[:2] + xmp + data[2:]) == 6


UPRIGHT_SIZE, TURNED_SIZE = (40, 64), (64, 40)


@pytest.mark.parametrize(
    ("orientation", "listed", "apply", "expected"),
    [
        *[(o, TURNED_SIZE, apply, o) for o in (5, 6, 7, 8) for apply in (True, False)],  # annotated as shown
        *[(o, UPRIGHT_SIZE, apply, 1) for o in (5, 6, 7, 8) for apply in (True, False)],  # annotated as stored
        *[(o, UPRIGHT_SIZE, True, o) for o in (2, 3, 4)],  # the same size either way
        *[(o, UPRIGHT_SIZE, False, 1) for o in (2, 3, 4)],
        (6, (None, None), True, 6),
        (6, (None, None), False, 1),
        (6, (64, None), False, 6),  # one side is enough
        (6, (None, 64), True, 1),
        (6, (7, 7), True, 6),  # of neither size: refused elsewhere
        (1, TURNED_SIZE, True, 1),
    ],
)
def test_sizes_decide_where_they_can(orientation, listed, apply, expected):
    assert orientation_to_apply(orientation, UPRIGHT_SIZE, listed, apply) == expected


@pytest.mark.parametrize(("apply", "expected"), [(True, 6), (False, 1)])
def test_a_square_image_leaves_it_open(apply, expected):
    assert orientation_to_apply(6, (50, 50), (50, 50), apply) == expected
