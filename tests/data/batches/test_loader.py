"""Batches: what they hold, against the samples that they were made of."""

from __future__ import annotations

import cv2
import numpy as np
from pycocotools import mask as coco_mask
from tests.data.loading import (
    HEIGHT,
    SMALL,
    WIDTH,
    Records,
    make_loader,
    make_sample,
)

from maskrcnn.data.batches.batch import BatchSettings
from maskrcnn.data.batches.loader import TrainLoader
from maskrcnn.data.batches.mask_crops import mask_crop, pixel_crop
from maskrcnn.data.batches.targets import label_anchors
from maskrcnn.data.batches.transforms import Augmentation, View, fit_size, pad_image, resize_image
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
            expected = pad_image(resize_image(np.ascontiguousarray(rgb), height, width), *canvas)
            np.testing.assert_array_equal(batch.image[row], expected)
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


def test_pixel_crops_are_cut_from_the_view(records):
    """Resized and mirrored with the image: around each box, as far as the crop reaches."""
    by_id = {sample.image_id: sample for sample in records.samples}
    changes = {"pixel_crops": True, "crop_size": 100, "augmentation": Augmentation(flip_ratio=1.0)}
    for batch in make_loader(records, BatchSettings(**{**SMALL.__dict__, **changes})).epoch(0):
        canvas = batch.image.shape[1:3]
        for row, image_id in enumerate(batch.image_id):
            sample = by_id[image_id]
            size = fit_size(sample.height, sample.width, *canvas)
            view = View((sample.height, sample.width), canvas, size, size, flip=True)
            for slot, counts in enumerate(sample.rles):
                crop = pixel_crop(counts, view, batch.gt_boxes[row, slot], 100)
                np.testing.assert_array_equal(batch.gt_masks[row, slot], crop)
                assert crop.any()


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


def test_five_hundred_objects_are_cut_to_a_random_choice_with_crowd_last():
    sample = make_sample(1, 120, 180, objects=500, crowd=480)
    settings = BatchSettings(**{**SMALL.__dict__, "max_objects": 30})
    loader = make_loader(Records([sample]), settings, batch_size=1)
    first, second = next(loader.epoch(0)), next(loader.epoch(1))
    for batch in (first, second):
        assert (batch.gt_labels > 0).sum() == 20 and (batch.gt_labels == -1).sum() == 10
    assert (first.gt_boxes != second.gt_boxes).any()
    assert loader.objects_left_out == 2 * 470


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
    loader = TrainLoader(Records(samples), img_height=768, img_width=1280, seed=1, batch_size=2)
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
