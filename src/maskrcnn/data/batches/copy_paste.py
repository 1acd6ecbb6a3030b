"""Copy-paste augmentation: objects of one photograph, cut out by their masks, laid over another (Ghiasi et al. 2021).

The other photograph is scaled, mirrored and rotated by itself, as the paper does, and its objects are pasted without
blending, which the paper found to do as well. What they hide of the objects below is taken from those objects' masks
and boxes; an object that is hidden whole is gone.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from pycocotools import mask as coco_mask

from maskrcnn.data.batches.mask_crops import decode_mask, mask_box
from maskrcnn.data.batches.views import Augmentation, View, draw_view
from maskrcnn.data.sources.orientation import orient
from maskrcnn.data.sources.sample import Sample

_PASTED = 0.5  # probability of an object to be pasted: "a random subset of objects"
_HIDDEN = 0.5  # an object without a mask is gone if more than this share of its box is covered


def paste_objects(
    rgb: np.ndarray,
    sample: Sample,
    other_rgb: np.ndarray,
    other: Sample,
    augmentation: Augmentation,
    rng: np.random.Generator,
) -> tuple[np.ndarray, Sample]:
    """Pastes a random choice of the objects of ``other`` into ``sample``.

    Args:
        rgb: uint8 [h, w, 3], the image of ``sample``; not changed.
        sample: the image to paste into.
        other_rgb: uint8 [h', w', 3], the image of ``other``.
        other: the image to copy from; crowd regions and objects without masks stay there.
        augmentation: how the other image is scaled, mirrored and rotated; it is fitted into ``rgb``.
        rng: draws the view and the choice.

    Returns:
        The new image, uint8 [h, w, 3], and its objects.

    Raises:
        DataError: an RLE is broken.
    """
    height, width = sample.height, sample.width
    geometry = replace(augmentation, expand_ratio=1.0, photo_ratio=0.0, multi_scale=(1.0,))
    view = draw_view(other.height, other.width, (height, width), geometry, rng, rng)
    chosen = np.flatnonzero(rng.random(len(other.labels)) < _PASTED)
    pasted, hidden = [], np.zeros((height, width), bool)
    for number in chosen:
        if other.rles[number] is None or other.crowd[number]:
            continue
        mask = _on_canvas(decode_mask(other.rles[number], other.height, other.width), view)
        box = mask_box(mask, view.boxes(other.boxes[number][None])[0])
        if box[2] > box[0] and box[3] > box[1]:
            pasted.append((box, other.labels[number], False, _encode(mask)))
            hidden |= mask.astype(bool)
    if not pasted:
        return rgb, sample
    drawn = np.zeros_like(rgb)
    view.draw(other_rgb, drawn, augmentation.fill, rng)
    objects = [seen for number in range(len(sample.labels)) if (seen := _left_over(sample, number, hidden))] + pasted
    boxes, labels, crowd, rles = zip(*objects)
    return np.where(hidden[..., None], drawn, rgb), replace(
        sample,
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        labels=np.array(labels, np.int32),
        crowd=np.array(crowd, bool),
        rles=list(rles),
    )


def _on_canvas(mask: np.ndarray, view: View) -> np.ndarray:
    """A mask of the photograph as it is seen on the canvas, uint8 [H, W]."""
    y, x = (view.nearest(axis, np.arange(view.canvas[axis])) for axis in (0, 1))
    seen = orient(mask, view.orientation)[np.ix_(np.maximum(y, 0), np.maximum(x, 0))]
    return seen * ((y >= 0)[:, None] & (x >= 0))


def _left_over(sample: Sample, number: int, hidden: np.ndarray) -> tuple | None:
    """(box, label, crowd, rle) of what is still seen of an object; None if nothing is."""
    box, label, crowd, rle = sample.boxes[number], sample.labels[number], sample.crowd[number], sample.rles[number]
    left, top = np.floor(box[:2]).astype(int)
    right, bottom = np.ceil(box[2:]).astype(int)
    covered = hidden[top:bottom, left:right]
    if crowd or not covered.any():
        return box, label, crowd, rle
    if rle is None:
        return (box, label, crowd, rle) if covered.mean() <= _HIDDEN else None
    mask = decode_mask(rle, sample.height, sample.width)
    seen = mask * ~hidden
    if not seen.any():
        return None
    return (box, label, crowd, rle) if seen.sum() == mask.sum() else (mask_box(seen, box), label, crowd, _encode(seen))


def _encode(mask: np.ndarray) -> bytes:
    return coco_mask.encode(np.asfortranarray(mask, np.uint8))["counts"]
