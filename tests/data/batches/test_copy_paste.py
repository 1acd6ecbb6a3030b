"""Copy-paste against a composition written out pixel by pixel."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask
from tests.data.loading import make_sample

from maskrcnn.data.batches.copy_paste import paste_objects
from maskrcnn.data.batches.mask_crops import decode_mask
from maskrcnn.data.batches.transforms import decode_image
from maskrcnn.data.batches.views import Augmentation
from maskrcnn.data.sources.sample import Sample

HEIGHT, WIDTH = 60, 90


def rectangles(image_id: int, boxes: list[list[int]], colour: int, crowd=(), without_mask=()) -> Sample:
    """An image of one colour on which the objects' rectangles have another, one more for each."""
    rgb = np.full((HEIGHT, WIDTH, 3), colour, np.uint8)
    rles = []
    for number, (x1, y1, x2, y2) in enumerate(boxes):
        mask = np.zeros((HEIGHT, WIDTH), np.uint8, order="F")
        mask[y1:y2, x1:x2] = 1
        rgb[mask == 1] = colour + 10 * (number + 1)
        rles.append(None if number in without_mask else coco_mask.encode(mask)["counts"])
    return Sample(
        image_id=image_id,
        file_name=f"{image_id}.png",
        jpeg=cv2.imencode(".png", rgb)[1].tobytes(),
        height=HEIGHT,
        width=WIDTH,
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        labels=np.arange(1, len(boxes) + 1, dtype=np.int32) + image_id,
        crowd=np.isin(np.arange(len(boxes)), crowd),
        rles=rles,
    )


def paste(sample: Sample, other: Sample, seed: int, **options):
    images = decode_image(sample.jpeg), decode_image(other.jpeg)
    rng = np.random.default_rng(seed)
    return paste_objects(images[0], sample, images[1], other, Augmentation(**options), rng)


def masks_of(sample: Sample) -> list:
    return [rle if rle is None else decode_mask(rle, sample.height, sample.width) for rle in sample.rles]


BELOW = rectangles(100, [[10, 10, 30, 30], [50, 40, 60, 50], [0, 50, 5, 60]], 20)
ABOVE = rectangles(200, [[20, 20, 40, 50], [48, 38, 62, 52], [70, 0, 90, 20]], 120)


@pytest.mark.parametrize("seed", range(12))
def test_what_lies_on_top_hides_what_lies_below(seed):
    image, found = paste(BELOW, ABOVE, seed)
    labels = found.labels.tolist()
    chosen = [label for label in labels if label > 200]
    expected = decode_image(BELOW.jpeg).copy()
    hidden = np.zeros((HEIGHT, WIDTH), bool)
    for label in chosen:
        mask = masks_of(ABOVE)[label - 201].astype(bool)
        expected[mask] = decode_image(ABOVE.jpeg)[mask]
        hidden |= mask
    np.testing.assert_array_equal(image, expected)
    left = [label for label, mask in zip(BELOW.labels, masks_of(BELOW)) if (mask.astype(bool) & ~hidden).any()]
    assert labels == left + chosen, "objects below keep their order, those hidden whole are gone"
    for label, box, mask in zip(found.labels, found.boxes, masks_of(found)):
        if label < 200:
            whole = masks_of(BELOW)[label - 101].astype(bool) & ~hidden
        else:
            whole = masks_of(ABOVE)[label - 201].astype(bool)
        np.testing.assert_array_equal(mask, whole)
        rows, columns = np.nonzero(whole)
        assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert found.boxes.dtype == np.float32 and found.labels.dtype == np.int32


def test_every_choice_occurs():
    choices = {tuple(label for label in paste(BELOW, ABOVE, seed)[1].labels if label > 200) for seed in range(100)}
    assert len(choices) == 2**3


def test_objects_follow_the_view_of_their_photograph():
    """Mirrored, rotated and scaled with it: pasted masks cover exactly the pasted colours."""
    options = {"flip_ratio": 0.5, "vertical_flip_ratio": 0.5, "rotate_ratio": 0.5, "scale_jitter": (0.4, 1.6)}
    seen = set()
    for seed in range(60):
        image, found = paste(BELOW, rectangles(200, [[20, 20, 44, 50]], 120), seed, **options)
        if 201 not in found.labels:
            continue
        mask = masks_of(found)[-1].astype(bool)
        assert np.abs(image[mask].astype(int) - 130).mean() < 3, "the object has its colour but for its border"
        assert (image[~mask] < 60).all()
        seen.add(tuple(found.boxes[-1].tolist()))
    assert len(seen) > 15


def test_crowd_regions_and_boxes_stay_and_are_never_pasted():
    below = rectangles(100, [[0, 0, 60, 50], [10, 10, 30, 30], [20, 25, 24, 30]], 20, crowd=[0], without_mask=[1, 2])
    above = rectangles(200, [[20, 20, 40, 50], [0, 0, 90, 60], [5, 5, 15, 15]], 120, crowd=[1], without_mask=[2])
    for seed in range(20):
        _, found = paste(below, above, seed)
        labels = found.labels.tolist()
        assert labels in ([101, 102, 103], [101, 102, 201]), "a box of which more than half is hidden is gone"
        assert found.crowd.tolist() == [True, False, False]
        assert found.rles[0] == below.rles[0]


def test_nothing_to_paste_changes_nothing():
    image, found = paste(BELOW, rectangles(200, [], 120), 0)
    assert found is BELOW
    np.testing.assert_array_equal(image, decode_image(BELOW.jpeg))


def test_an_image_without_objects_takes_some():
    found = [paste(rectangles(100, [], 20), ABOVE, seed)[1] for seed in range(10)]
    assert max(len(sample.labels) for sample in found) > 1
    photograph = make_sample(1, 80, 50, objects=4)
    image, sample = paste(photograph, make_sample(2, 40, 90, objects=5), 3)
    assert image.shape == (80, 50, 3) and len(sample.labels) == len(sample.rles) == len(sample.boxes)
