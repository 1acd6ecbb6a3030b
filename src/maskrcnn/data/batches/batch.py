"""The arrays that the network trains on, and how one sample becomes one row of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from maskrcnn.data.batches.mask_crops import mask_crop, pixel_crop
from maskrcnn.data.batches.order import Purpose, keyed_rng
from maskrcnn.data.batches.targets import AssignSettings, assign_anchors
from maskrcnn.data.batches.transforms import Augmentation, View, decode_image, draw_view
from maskrcnn.data.sources.sample import Sample
from maskrcnn.errors import DataError
from maskrcnn.ops.anchors import AnchorGrid

MIN_SIDE = 1e-3  # pixels on the canvas; boxes thinner than this have no finite regression target


class Batch(NamedTuple):
    """N images of one canvas H x W with their ground truth, in the order of the network's arguments.

    G objects are kept an image, with C x C mask crops; S anchors are sampled, and R + G regions of interest
    are.

    image: uint8 [N, H, W, 3], RGB, zero padded on the right and below.
    image_shape: float32 [N, 2], height and width in pixels of what is not padding.
    gt_boxes: float32 [N, G, 4], x1, y1, x2, y2 in canvas pixels, zero padded.
    gt_labels: int32 [N, G], 1..K for objects, -1 for crowd regions (to be ignored), 0 for padding.
    gt_masks: uint8 [N, G, C, C], 0 and 1, each object's mask in the frame of its box, or its pixels (mask_crops.py).
    gt_has_mask: float32 [N, G], 1 where there is a mask.
    anchor_index, anchor_label, anchor_target: int32 [N, S], int32 [N, S], float32 [N, S, 4]; see
    AnchorSample. roi_key: float32 [N, R + G], uniform in [0, 1), by which proposals and objects are sampled.
    image_id: int64 [N]; for messages, not for the network.
    """

    image: np.ndarray
    image_shape: np.ndarray
    gt_boxes: np.ndarray
    gt_labels: np.ndarray
    gt_masks: np.ndarray
    gt_has_mask: np.ndarray
    anchor_index: np.ndarray
    anchor_label: np.ndarray
    anchor_target: np.ndarray
    roi_key: np.ndarray
    image_id: np.ndarray


@dataclass(frozen=True)
class BatchSettings:
    """What a sample is turned into.

    max_objects: G, the most objects of an image that the network sees.
    crop_size: C, cells along a side of a mask crop.
    roi_keys: R + G, random numbers an image for the sampling of regions of interest.
    pixel_crops: cut masks out of the canvas pixel by pixel instead of in the frame of their box.
    """

    max_objects: int = 128
    crop_size: int = 112
    roi_keys: int = 2128
    augmentation: Augmentation = field(default_factory=Augmentation)
    assign: AssignSettings = field(default_factory=AssignSettings)
    pixel_crops: bool = False


def empty_batch(size: int, canvas: tuple[int, int], settings: BatchSettings) -> Batch:
    """Return a batch of ``size`` rows of zeros for ``canvas`` (H, W)."""
    objects, crop, anchors = settings.max_objects, settings.crop_size, settings.assign.num_total
    return Batch(
        image=np.zeros((size, *canvas, 3), np.uint8),
        image_shape=np.zeros((size, 2), np.float32),
        gt_boxes=np.zeros((size, objects, 4), np.float32),
        gt_labels=np.zeros((size, objects), np.int32),
        gt_masks=np.zeros((size, objects, crop, crop), np.uint8),
        gt_has_mask=np.zeros((size, objects), np.float32),
        anchor_index=np.zeros((size, anchors), np.int32),
        anchor_label=np.zeros((size, anchors), np.int32),
        anchor_target=np.zeros((size, anchors, 4), np.float32),
        roi_key=np.zeros((size, settings.roi_keys), np.float32),
        image_id=np.zeros(size, np.int64),
    )


def fill_row(
    batch: Batch,
    row: int,
    sample: Sample,
    grid: AnchorGrid,
    settings: BatchSettings,
    key: tuple[int, int, int],
) -> int:
    """Make ``sample`` row ``row`` of an empty batch; ``grid`` holds the anchors of the batch's canvas.

    key: (seed, epoch, position), from which all that is random follows. Returns the number of objects left
    out because there were more than max_objects. Raises DataError, naming the image, if it cannot be used.
    """
    try:
        rgb = _decode(sample)
        rng = keyed_rng(*key, Purpose.VIEW)
        augmentation = settings.augmentation
        view = draw_view(sample.height, sample.width, batch.image.shape[1:3], augmentation, rng)
        view.draw(rgb, batch.image[row], augmentation.fill, rng)
        batch.image_shape[row] = view.valid
        batch.image_id[row] = sample.image_id
        batch.roi_key[row] = keyed_rng(*key, Purpose.ROIS).random(settings.roi_keys, np.float32)

        boxes = view.boxes(sample.boxes).astype(np.float32)
        usable = np.flatnonzero((boxes[:, 2:] - boxes[:, :2] >= MIN_SIDE).all(axis=1))
        # Anchors are matched with every object, also with those that the fixed arrays below have no room for.
        assigned = assign_anchors(
            grid, boxes[usable], sample.crowd[usable], settings.assign, keyed_rng(*key, Purpose.ANCHORS)
        )
        batch.anchor_index[row], batch.anchor_label[row], batch.anchor_target[row] = assigned
        kept = _choose(usable, sample.crowd, settings.max_objects, keyed_rng(*key, Purpose.OBJECTS))
        _fill_objects(batch, row, sample, boxes, kept, view, settings.pixel_crops)
    except DataError as error:
        raise DataError(f"image {sample.image_id} ({sample.file_name}): {error}") from error
    return len(usable) - len(kept)


def _decode(sample: Sample) -> np.ndarray:
    """Decode the sample's image and check that it has the size its annotations refer to."""
    rgb = decode_image(sample.jpeg, sample.orientation)
    if rgb.shape[:2] != (sample.height, sample.width):
        raise DataError(
            f"the image is {rgb.shape[0]} x {rgb.shape[1]} pixels, its record says {sample.height} x "
            f"{sample.width}; convert the data set again"
        )
    return rgb


def _choose(usable: np.ndarray, crowd: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    """Keep at most ``most`` of the ``usable`` objects: a random choice in which crowd regions come last."""
    if len(usable) <= most:
        return usable
    shuffled = rng.permutation(usable)
    return np.sort(shuffled[np.argsort(crowd[shuffled], kind="stable")][:most])


def _fill_objects(
    batch: Batch, row: int, sample: Sample, boxes: np.ndarray, kept: np.ndarray, view: View, pixel_crops: bool
) -> None:
    """Write the ``kept`` objects, with ``boxes`` on the canvas, into the ground-truth arrays of a row."""
    batch.gt_boxes[row, : len(kept)] = boxes[kept]
    batch.gt_labels[row, : len(kept)] = np.where(sample.crowd[kept], -1, sample.labels[kept])
    size = batch.gt_masks.shape[-1]
    for slot, number in enumerate(kept):
        counts = sample.rles[number]
        if counts is None or sample.crowd[number]:
            continue
        if pixel_crops:
            crop = pixel_crop(counts, view, boxes[number], size)
        else:
            crop = mask_crop(counts, sample.height, sample.width, sample.boxes[number], size)
            crop = crop[:, ::-1] if view.flip else crop
        # A mask with nothing in its own box, as a sliver thinner than a pixel may have, teaches nothing.
        if crop.any():
            batch.gt_masks[row, slot] = crop
            batch.gt_has_mask[row, slot] = 1
