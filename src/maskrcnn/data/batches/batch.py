"""The arrays that the network trains on, and how one sample becomes one row of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from maskrcnn.data.batches.copy_paste import paste_objects
from maskrcnn.data.batches.ignore_regions import choose_objects
from maskrcnn.data.batches.mask_crops import mask_crop, pixel_crop, visible_boxes
from maskrcnn.data.batches.order import Purpose, keyed_rng
from maskrcnn.data.batches.targets import AssignSettings, assign_anchors
from maskrcnn.data.batches.transforms import decode_image
from maskrcnn.data.batches.views import Augmentation, View, draw_view
from maskrcnn.data.sources.orientation import orient
from maskrcnn.data.sources.sample import Sample
from maskrcnn.errors import DataError
from maskrcnn.ops.anchors import AnchorGrid

if TYPE_CHECKING:
    from maskrcnn.config import Config

MIN_SIDE = 1e-3  # pixels on the canvas; boxes thinner than this have no finite regression target
IGNORED = -1  # label of a region where nothing is learnt about background


class Batch(NamedTuple):
    """N images of one canvas H x W with their ground truth, in the order of the network's arguments.

    G objects are kept an image, with C x C mask crops; S anchors are sampled, and R + G regions of interest are.

    Attributes:
        image: uint8 [N, H, W, 3], RGB, zero padded on the right and below.
        image_shape: float32 [N, 2], height and width in pixels of what is not padding.
        gt_boxes: float32 [N, G, 4], x1, y1, x2, y2 in canvas pixels, zero padded.
        gt_labels: int32 [N, G], 1..K for objects, -1 for regions to be ignored, 0 for padding.
        gt_masks: uint8 [N, G, C, C], 0 and 1, each object's mask in the frame of its box, or its pixels (mask_crops).
        gt_has_mask: float32 [N, G], 1 where there is a mask.
        anchor_index: int32 [N, S], see AnchorSample.
        anchor_label: int32 [N, S].
        anchor_target: float32 [N, S, 4].
        roi_key: float32 [N, R + G], uniform in [0, 1), by which proposals and objects are sampled.
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

    Attributes:
        max_objects: G, the most objects of an image that the network sees.
        crop_size: C, cells along a side of a mask crop.
        roi_keys: R + G, random numbers an image for the sampling of regions of interest.
        augmentation: the views of the images.
        assign: the labels of the anchors.
        mask_targets: "coverage" cuts masks out in the frame of their box, "torchvision" out of the canvas by pixels.
    """

    max_objects: int
    crop_size: int
    roi_keys: int
    augmentation: Augmentation
    assign: AssignSettings
    mask_targets: str

    @classmethod
    def from_config(cls, cfg: Config) -> BatchSettings:
        """Returns the settings of a run."""
        return cls(
            max_objects=cfg.max_instance_count,
            crop_size=cfg.mask_crop_size,
            roi_keys=cfg.rpn_proposal_max_num + cfg.max_instance_count,
            augmentation=Augmentation.from_config(cfg),
            assign=AssignSettings.from_config(cfg),
            mask_targets=cfg.mask_targets,
        )


def empty_batch(size: int, canvas: tuple[int, int], settings: BatchSettings) -> Batch:
    """Returns a batch of ``size`` rows of zeros for ``canvas`` (H, W)."""
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
    partner: Sample | None,
    grid: AnchorGrid,
    settings: BatchSettings,
    key: tuple[int, int, int],
) -> int:
    """Makes ``sample`` one row of an empty batch.

    Args:
        batch: to be filled.
        row: where.
        sample: the image and its objects.
        partner: an image whose objects are pasted into it, if any.
        grid: the anchors of the batch's canvas.
        settings: what is made of the sample.
        key: (seed, epoch, position), from which all that is random follows.

    Returns:
        The number of objects that are only ignored, because there are more than max_objects.

    Raises:
        DataError: the image cannot be used; the message names it.
    """
    rgb = _decode(sample)
    if partner is not None:
        rng = keyed_rng(*key, Purpose.PASTE)
        rgb, sample = paste_objects(rgb, sample, _decode(partner), partner, settings.augmentation, rng)
    try:
        rng = keyed_rng(*key, Purpose.VIEW)
        canvas, augmentation = batch.image.shape[1:3], settings.augmentation
        view = draw_view(sample.height, sample.width, canvas, augmentation, rng, keyed_rng(*key, Purpose.GEOMETRY))
        view.draw(rgb, batch.image[row], augmentation.fill, rng)
        batch.image_shape[row] = view.valid
        batch.image_id[row] = sample.image_id
        batch.roi_key[row] = keyed_rng(*key, Purpose.ROIS).random(settings.roi_keys, np.float32)

        boxes = visible_boxes(sample, view).astype(np.float32)
        usable = np.flatnonzero((boxes[:, 2:] - boxes[:, :2] >= MIN_SIDE).all(axis=1))
        # Anchors are matched with every object, also with those that the fixed arrays below have no room for.
        assigned = assign_anchors(
            grid, boxes[usable], sample.crowd[usable], settings.assign, keyed_rng(*key, Purpose.ANCHORS)
        )
        batch.anchor_index[row], batch.anchor_label[row], batch.anchor_target[row] = assigned
        objects = keyed_rng(*key, Purpose.OBJECTS)
        kept, ignored = choose_objects(usable, boxes, sample.crowd, settings.max_objects, objects)
        _fill_objects(batch, row, sample, boxes, kept, view, settings.mask_targets)
        batch.gt_boxes[row, len(kept) : len(kept) + len(ignored)] = ignored
        batch.gt_labels[row, len(kept) : len(kept) + len(ignored)] = IGNORED
    except DataError as error:
        raise _naming(sample, error) from error
    return int(np.count_nonzero(~sample.crowd[usable]) - np.count_nonzero(~sample.crowd[kept]))


def _decode(sample: Sample) -> np.ndarray:
    """Decodes the sample's image and checks that it has the size its annotations refer to."""
    try:
        rgb = decode_image(sample.jpeg, sample.orientation)
        if rgb.shape[:2] != (sample.height, sample.width):
            raise DataError(
                f"the image is {rgb.shape[0]} x {rgb.shape[1]} pixels, its record says {sample.height} x "
                f"{sample.width}; convert the data set again"
            )
    except DataError as error:
        raise _naming(sample, error) from error
    return rgb


def _naming(sample: Sample, error: DataError) -> DataError:
    return DataError(f"image {sample.image_id} ({sample.file_name}): {error}")


def _fill_objects(
    batch: Batch, row: int, sample: Sample, boxes: np.ndarray, kept: np.ndarray, view: View, mask_targets: str
) -> None:
    """Writes the ``kept`` objects, with ``boxes`` on the canvas, into the ground-truth arrays of a row."""
    batch.gt_boxes[row, : len(kept)] = boxes[kept]
    batch.gt_labels[row, : len(kept)] = np.where(sample.crowd[kept], IGNORED, sample.labels[kept])
    frames = view.source_boxes(boxes) if view.crops else sample.boxes
    size = batch.gt_masks.shape[-1]
    for slot, number in enumerate(kept):
        counts = sample.rles[number]
        if counts is None or sample.crowd[number]:
            continue
        if mask_targets == "torchvision":
            crop = pixel_crop(counts, view, boxes[number], size)
        else:
            crop = mask_crop(counts, sample.height, sample.width, frames[number], size)
            crop = orient(crop, view.orientation)
        # A mask with nothing in its own box, as a sliver thinner than a pixel may have, teaches nothing.
        if crop.any():
            batch.gt_masks[row, slot] = crop
            batch.gt_has_mask[row, slot] = 1
