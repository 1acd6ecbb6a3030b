"""Batches: what they hold, against the samples that they were made of."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask
from tests.data.loading import (
    ASSIGN,
    HEIGHT,
    SMALL,
    WIDTH,
    Records,
    make_loader,
    make_sample,
)

from maskrcnn.data.batches.batch import BatchSettings
from maskrcnn.data.batches.mask_crops import mask_crop, pixel_crop
from maskrcnn.data.batches.order import Purpose, keyed_rng
from maskrcnn.data.batches.targets import label_anchors
from maskrcnn.data.batches.transforms import fit_size, resize_image
from maskrcnn.data.batches.views import Augmentation, View, draw_view
from maskrcnn.data.sources.orientation import MIRRORED, orient
from maskrcnn.data.sources.sample import Sample
from maskrcnn.ops.anchors import anchor_grid


def test_batches_have_the_documented_arrays(records):
    wanted = {
        "image": (np.uint8, (HEIGHT, WIDTH, 3)),
        "image_shape": (np.float32, (2,)),
        "gt_boxes": (np.float32, (6, 4)),
        "gt_labels": (np.int32, (6,)),
        "gt_masks": (np.uint8, (6, 28, 28)),
        "gt_has_mask": (np.float32, (6,)),
        "anchor_index": (np.int32, (32,)),
        "anchor_label": (np.int32, (32,)),
        "anchor_target": (np.float32, (32, 4)),
        "roi_key": (np.float32, (50,)),
        "image_id": (np.int64, ()),
    }
    canvases = set()
    for batch in make_loader(records).epoch(0):
        canvases.add(batch.image.shape[1:3])
        wanted["image"] = (np.uint8, (*batch.image.shape[1:3], 3))
        assert list(wanted) == list(batch._fields)
        for name, array in zip(batch._fields, batch):
            dtype, shape = wanted[name]
            assert array.dtype == dtype and array.shape == (2, *shape) and array.flags.c_contiguous, name
        assert (batch.roi_key >= 0).all() and (batch.roi_key < 1).all()
    assert canvases == {(HEIGHT, WIDTH), (WIDTH, HEIGHT)}


def test_contents_without_augmentation(records):
    by_id = {sample.image_id: sample for sample in records.samples}
    for batch in make_loader(records).epoch(0):
        canvas = batch.image.shape[1:3]
        for row, image_id in enumerate(batch.image_id):
            sample = by_id[image_id]
            count = len(sample.boxes)
            height, width = fit_size(sample.height, sample.width, *canvas)
            rgb = cv2.imdecode(np.frombuffer(sample.jpeg, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
            np.testing.assert_array_equal(
                batch.image[row, :height, :width], resize_image(np.ascontiguousarray(rgb), height, width)
            )
            assert not batch.image[row, height:].any() and not batch.image[row, :, width:].any()
            np.testing.assert_array_equal(batch.image_shape[row], [height, width])
            scale = np.array([width / sample.width, height / sample.height] * 2)
            np.testing.assert_allclose(batch.gt_boxes[row, :count], sample.boxes * scale, rtol=1e-5)
            np.testing.assert_array_equal(batch.gt_labels[row, :count], sample.labels)
            for slot, (box, counts) in enumerate(zip(sample.boxes, sample.rles)):
                crop = mask_crop(counts, sample.height, sample.width, box, 28)
                np.testing.assert_array_equal(batch.gt_masks[row, slot], crop)
            np.testing.assert_array_equal(batch.gt_has_mask[row], np.arange(6) < count)
            assert not batch.gt_boxes[row, count:].any() and not batch.gt_labels[row, count:].any()
            grid = anchor_grid(*canvas, [8], [0.5, 1.0, 2.0], [4, 8, 16, 32, 64])
            labels, _ = label_anchors(grid, batch.gt_boxes[row, :count], sample.crowd, SMALL.assign)
            sampled = batch.anchor_label[row] >= 0
            np.testing.assert_array_equal(labels[batch.anchor_index[row][sampled]], batch.anchor_label[row][sampled])


def test_a_flipped_sample_mirrors_image_boxes_and_masks(records):
    always = BatchSettings(**{**SMALL.__dict__, "augmentation": Augmentation(flip_ratio=1.0)})
    for plain, flipped in zip(make_loader(records).epoch(0), make_loader(records, always).epoch(0)):
        np.testing.assert_array_equal(plain.image_id, flipped.image_id)
        np.testing.assert_array_equal(plain.gt_masks[..., ::-1], flipped.gt_masks)
        for row in range(2):
            height, width = plain.image_shape[row].astype(int)
            mirrored = flipped.image[row, :height, :width][:, ::-1]
            difference = np.abs(mirrored.astype(int) - plain.image[row, :height, :width])
            assert difference.max() <= 1  # resizing rounds
            assert not flipped.image[row, height:].any() and not flipped.image[row, :, width:].any()
            real = plain.gt_labels[row] != 0
            x1, y1, x2, y2 = plain.gt_boxes[row][real].T
            expected = np.stack([width - x2, y1, width - x1, y2], axis=1)
            np.testing.assert_allclose(flipped.gt_boxes[row][real], expected, atol=1e-4)


def test_crops_of_torchvision_are_cut_from_the_view(records):
    """Resized and mirrored with the image: around each box, as far as the crop reaches."""
    by_id = {sample.image_id: sample for sample in records.samples}
    changes = {"mask_targets": "torchvision", "crop_size": 100, "augmentation": Augmentation(flip_ratio=1.0)}
    for batch in make_loader(records, BatchSettings(**{**SMALL.__dict__, **changes})).epoch(0):
        canvas = batch.image.shape[1:3]
        for row, image_id in enumerate(batch.image_id):
            sample = by_id[image_id]
            size = fit_size(sample.height, sample.width, *canvas)
            view = View((sample.height, sample.width), canvas, size, size, orientation=MIRRORED)
            for slot, counts in enumerate(sample.rles):
                crop = pixel_crop(counts, view, batch.gt_boxes[row, slot], 100)
                np.testing.assert_array_equal(batch.gt_masks[row, slot], crop)
                assert crop.any()


@pytest.mark.parametrize("mask_targets", ["coverage", "torchvision"])
def test_cropped_rotated_objects_keep_the_part_that_is_seen(mask_targets):
    """Against the mask of the photograph carried to the canvas pixel by pixel."""
    augmentation = Augmentation(
        flip_ratio=0.5, vertical_flip_ratio=0.5, rotate_ratio=0.6, scale_jitter=(0.6, 2.0)
    )  # fmt: skip
    changes = {"mask_targets": mask_targets, "crop_size": 256, "augmentation": augmentation}
    settings = BatchSettings(**{**SMALL.__dict__, **changes})
    numbered = np.arange(1, 7, dtype=np.int32)
    samples = [replace(make_sample(i, 90, 120, objects=6), labels=numbered) for i in range(12)]
    loader = make_loader(Records(samples), settings)
    cut = checked = 0
    for epoch in range(3):
        first = 0
        for batch in loader.epoch(epoch):
            canvas = batch.image.shape[1:3]
            for row, image_id in enumerate(batch.image_id):
                key = (1, epoch, first + row)
                streams = keyed_rng(*key, Purpose.VIEW), keyed_rng(*key, Purpose.GEOMETRY)
                view = draw_view(90, 120, canvas, augmentation, *streams)
                sample = samples[image_id]
                y, x = (view.nearest(axis, np.arange(canvas[axis])) for axis in (0, 1))
                y[view.valid[0] :], x[view.valid[1] :] = -1, -1
                seen = []
                for counts in sample.rles:
                    mask = orient(coco_mask.decode({"size": [90, 120], "counts": counts}), view.orientation)
                    seen.append(mask[np.ix_(y, x)] * ((y >= 0)[:, None] & (x >= 0)))
                visible = [number for number in range(6) if seen[number].any()]
                labels = batch.gt_labels[row].tolist()
                for number in visible:
                    slot = labels.index(number + 1)
                    rows, columns = np.nonzero(seen[number])
                    tight = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
                    box = batch.gt_boxes[row, slot]
                    pixel = max(view.content[0] / 90, view.content[1] / 120, 1)
                    if view.crops and np.abs(view.source_boxes(box[None]) - sample.boxes[number]).max() > 1:
                        cut += 1
                        assert np.abs(box - tight).max() <= 3 * pixel, "the box is not that of the part that is seen"
                    if min(tight[2:] - tight[:2]) < 12 * pixel or not batch.gt_has_mask[row, slot]:
                        continue
                    crop = batch.gt_masks[row, slot]
                    area = crop.sum() if mask_targets == "torchvision" else crop.mean() * (box[2:] - box[:2]).prod()
                    assert abs(area / seen[number].sum() - 1) < 0.2
                    checked += 1
            first += len(batch.image_id)
    assert checked > 50 and cut > 20


def test_one_image_fills_a_batch(records):
    loader = make_loader(Records(records.samples[3:4]), batch_size=4)
    (batch,) = loader.epoch(0)
    assert batch.image_id.tolist() == [103] * 4
    assert len({key.tobytes() for key in batch.roi_key}) == 4, "repeats are sampled afresh"


def test_images_without_objects_and_with_crowd_only():
    samples = [make_sample(1, 60, 90, objects=0), make_sample(2, 60, 90, objects=2, crowd=2)]
    (batch,) = make_loader(Records(samples)).epoch(0)
    empty, crowd = np.argsort(batch.image_id)
    assert not batch.gt_labels[empty].any() and not (batch.anchor_label[empty] == 1).any()
    np.testing.assert_array_equal(batch.gt_labels[crowd], [-1, -1, 0, 0, 0, 0])
    assert not batch.gt_has_mask.any() and not (batch.anchor_label == 1).any()
    assert (batch.anchor_label[empty] == 0).all()


def test_objects_without_masks_and_with_empty_crops():
    sample = make_sample(1, 60, 90, objects=3)
    nothing = coco_mask.encode(np.zeros((60, 90), np.uint8, order="F"))["counts"]
    sample = Sample(**{**sample.__dict__, "rles": [None, sample.rles[1], nothing]})
    batch = next(make_loader(Records([sample])).epoch(0))
    np.testing.assert_array_equal(batch.gt_has_mask[0], [0, 1, 0, 0, 0, 0])
    assert not batch.gt_masks[0, [0, 2]].any() and (batch.gt_labels[0, :3] > 0).all()


@pytest.mark.parametrize("crowd", [0, 80])
def test_five_hundred_objects_are_cut_to_a_random_choice_and_the_rest_is_ignored(crowd):
    sample = make_sample(1, 120, 180, objects=500, crowd=crowd)
    settings = BatchSettings(**{**SMALL.__dict__, "max_objects": 32})
    loader = make_loader(Records([sample]), settings, batch_size=1)
    batches = [next(loader.epoch(0)), next(loader.epoch(1))]
    scale = batches[0].image_shape[0][::-1] / [180, 120]
    for batch in batches:
        labels, boxes = batch.gt_labels[0], batch.gt_boxes[0]
        assert (labels > 0).sum() == 24 and (labels == -1).sum() == 8
        ignored = boxes[labels == -1]
        for box in sample.boxes * np.tile(scale, 2):
            inside = (ignored[:, :2] <= box[:2] + 1e-3).all(axis=1) & (ignored[:, 2:] >= box[2:] - 1e-3).all(axis=1)
            as_object = np.abs(boxes[labels > 0] - box).max(axis=1).min() < 1e-3
            assert as_object or inside.any(), "an object is neither learnt nor ignored"
    assert (batches[0].gt_boxes != batches[1].gt_boxes).any(), "each epoch draws anew"
    assert loader.objects_left_out == 2 * (500 - crowd - 24)


def test_crowd_regions_give_way_to_objects_and_are_covered_together():
    sample = make_sample(1, 120, 180, objects=500, crowd=480)
    settings = BatchSettings(**{**SMALL.__dict__, "max_objects": 30})
    loader = make_loader(Records([sample]), settings, batch_size=1)
    batch = next(loader.epoch(0))
    assert (batch.gt_labels > 0).sum() == 20 and (batch.gt_labels == -1).sum() == 10
    assert loader.objects_left_out == 0


def test_boxes_without_extent_are_dropped():
    sample = make_sample(1, 60, 90, objects=3)
    sample.boxes[1] = [20, 10, 20.0001, 40]
    batch = next(make_loader(Records([sample])).epoch(0))
    np.testing.assert_array_equal(batch.gt_labels[0, :3], [*sample.labels[[0, 2]], 0])
    assert np.isfinite(batch.anchor_target).all()


def test_photographs_with_their_annotations(coco_tiny):
    """Real photographs on the full canvas: every object is there and its mask fills its box as its area
    says."""
    from pycocotools.coco import COCO

    coco = COCO(str(coco_tiny / "annotations" / "instances_train2017.json"))
    samples = []
    for image in coco.loadImgs(sorted(coco.getImgIds())[:12]):
        objects = coco.loadAnns(coco.getAnnIds(image["id"]))
        boxes = np.array([o["bbox"] for o in objects], np.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        boxes = np.clip(boxes, 0, [image["width"], image["height"]] * 2).astype(np.float32)
        samples.append(
            Sample(
                image_id=image["id"],
                file_name=image["file_name"],
                jpeg=(coco_tiny / "train2017" / image["file_name"]).read_bytes(),
                height=image["height"],
                width=image["width"],
                boxes=boxes,
                labels=np.ones(len(objects), np.int32),
                crowd=np.array([bool(o["iscrowd"]) for o in objects], bool),
                rles=[coco.annToRLE(o)["counts"] for o in objects],
            )
        )
    settings = replace(SMALL, max_objects=128, crop_size=112, roi_keys=2128, assign=ASSIGN)
    loader = make_loader(Records(samples), settings, img_height=768, img_width=1280)
    by_id = {sample.image_id: sample for sample in samples}
    for batch in loader.epoch(0):
        for row, image_id in enumerate(batch.image_id):
            sample = by_id[image_id]
            assert (batch.gt_labels[row] > 0).sum() == (~sample.crowd).sum()
            assert (batch.gt_labels[row] == -1).sum() == sample.crowd.sum()
            for slot in np.flatnonzero(batch.gt_has_mask[row]):
                mask = coco_mask.decode({"size": [sample.height, sample.width], "counts": sample.rles[slot]})
                size = sample.boxes[slot, 2:] - sample.boxes[slot, :2]
                filled = batch.gt_masks[row, slot].mean()
                if size.min() > 30:
                    assert abs(filled - mask.sum() / size.prod()) < 0.06
