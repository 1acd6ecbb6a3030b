"""Batches: their contents against the samples, their order, and what happens when something is wrong."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from maskrcnn.config import Config
from maskrcnn.data.anchors import anchor_grid
from maskrcnn.data.batch import BatchSettings
from maskrcnn.data.loader import PREFETCH, TrainLoader
from maskrcnn.data.mask_crops import mask_crop
from maskrcnn.data.sample import Sample
from maskrcnn.data.targets import AssignSettings, label_anchors
from maskrcnn.data.transforms import Augmentation, fit_size, pad_image, resize_image
from maskrcnn.errors import DataError

HEIGHT, WIDTH = 128, 192
LARGER = coco_mask.encode(np.ones((500, 500), np.uint8, order="F"))["counts"]  # a mask of another image


def make_sample(image_id: int, height: int, width: int, objects: int = 3, crowd: int = 0) -> Sample:
    rng = np.random.default_rng([image_id, 99])
    small = rng.integers(0, 256, (6, 8, 3), np.uint8)
    image = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    size = rng.uniform(8, [[width / 2, height / 2]], (objects, 2))
    corner = rng.uniform(0, 1, (objects, 2)) * ([[width, height]] - size)
    boxes = np.concatenate([corner, corner + size], axis=1).astype(np.float32).reshape(-1, 4)
    rles = []
    for x1, y1, x2, y2 in boxes:
        polygon = [x1, y1, x2, y1, (x1 + x2) / 2, y2]
        rles.append(coco_mask.frPyObjects([[float(value) for value in polygon]], height, width)[0]["counts"])
    return Sample(
        image_id=image_id,
        file_name=f"{image_id}.png",
        jpeg=cv2.imencode(".png", image)[1].tobytes(),
        height=height,
        width=width,
        boxes=boxes,
        labels=rng.integers(1, 81, objects).astype(np.int32),
        crowd=np.arange(objects) < crowd,
        rles=rles,
    )


class Records:
    """Samples in memory, read as the records on disk are."""

    def __init__(self, samples: list[Sample]) -> None:
        self.samples = samples
        self.info = SimpleNamespace(sizes=np.array([[s.height, s.width] for s in samples]).reshape(-1, 2))
        self.read = 0
        self.closed = 0

    def __len__(self) -> int:
        return len(self.samples)

    def iter_rows(self, indices):
        try:
            for index in indices:
                self.read += 1
                yield self.samples[index]
        finally:
            self.closed += 1


AUGMENTED = Augmentation(flip_ratio=0.5, photo_ratio=0.5, expand_ratio=1.5, multi_scale=(0.5, 1.0))
SMALL = BatchSettings(max_objects=6, crop_size=28, roi_keys=50, assign=AssignSettings(num_pos=8, num_total=32))


def make_loader(records, settings=SMALL, **arguments) -> TrainLoader:
    arguments = {"seed": 1, "batch_size": 2, **arguments}
    return TrainLoader(records, img_height=HEIGHT, img_width=WIDTH, settings=settings, **arguments)


@pytest.fixture
def records() -> Records:
    shapes = [(60, 90), (90, 60), (100, 150), (64, 64), (80, 50), (30, 150), (90, 91)]
    return Records([make_sample(100 + i, h, w, objects=i) for i, (h, w) in enumerate(shapes)])


def assert_equal_batches(ours, theirs) -> None:
    for name, one, other in zip(ours._fields, ours, theirs):
        np.testing.assert_array_equal(one, other, err_msg=name)


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


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_batches_do_not_depend_on_the_number_of_workers(records, workers):
    settings = BatchSettings(**{**SMALL.__dict__, "augmentation": AUGMENTED})
    reference = list(make_loader(records, settings, workers=3).epoch(2))
    batches = list(make_loader(records, settings, workers=workers).epoch(2))
    assert len(batches) == len(reference) == 4
    for ours, theirs in zip(batches, reference):
        assert_equal_batches(ours, theirs)


def test_batches_handed_out_are_not_touched_again(records):
    copies, batches = [], []
    for batch in make_loader(records).epoch(0):
        batches.append(batch)
        copies.append([array.copy() for array in batch])
    for batch, copy in zip(batches, copies):
        assert_equal_batches(batch, copy)


def test_resuming_within_an_epoch_gives_the_same_batches(records):
    settings = BatchSettings(**{**SMALL.__dict__, "augmentation": AUGMENTED})
    loader = make_loader(records, settings)
    whole = list(loader.epoch(4))
    for start in range(loader.steps_per_epoch + 1):
        rest = list(make_loader(records, settings).epoch(4, start))
        assert len(rest) == loader.steps_per_epoch - start
        for ours, theirs in zip(rest, whole[start:]):
            assert_equal_batches(ours, theirs)
    with pytest.raises(ValueError, match="outside"):
        loader.epoch(4, loader.steps_per_epoch + 1)


def test_epochs_and_seeds_differ(records):
    settings = BatchSettings(**{**SMALL.__dict__, "augmentation": AUGMENTED})
    first = next(make_loader(records, settings).epoch(0))
    assert (first.roi_key != next(make_loader(records, settings).epoch(1)).roi_key).any()
    assert (first.roi_key != next(make_loader(records, settings, seed=2).epoch(0)).roi_key).any()


def test_ranks_share_one_plan(records):
    alone = list(make_loader(records, batch_size=4).epoch(1))
    ranks = [list(make_loader(records, batch_size=2, rank=rank, world=2).epoch(1)) for rank in range(2)]
    assert len(alone) == len(ranks[0]) == len(ranks[1])
    for whole, *parts in zip(alone, *ranks):
        for array, *pieces in zip(whole, *parts):
            np.testing.assert_array_equal(array, np.concatenate(pieces))


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


def broken(records: Records, number: int, **changes) -> int:
    """Damage one sample and return its image id."""
    records.samples[number] = Sample(**{**records.samples[number].__dict__, **changes})
    return records.samples[number].image_id


@pytest.mark.parametrize(
    "changes",
    [{"jpeg": b"\x89PNG nothing"}, {"jpeg": b""}, {"height": 61, "width": 91}, {"rles": [LARGER] * 5}],
)
def test_a_damaged_sample_is_named_and_the_threads_end(records, changes):
    image_id = broken(records, 5, **changes)
    with pytest.raises(DataError, match=rf"image {image_id} \({image_id}\.png\): ") as caught:
        list(make_loader(records).epoch(0))
    assert "\n" not in str(caught.value)
    assert records.closed == 1 and not loader_threads()


def loader_threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("train-loader")]


def test_stopping_early_ends_threads_and_reading(records):
    batches = make_loader(records).epoch(0)
    next(batches)
    assert loader_threads()
    batches.close()
    assert not loader_threads() and records.closed == 1


def test_an_error_of_the_consumer_or_the_reader_ends_the_threads(records):
    def consume() -> None:
        for _ in make_loader(records).epoch(0):
            raise RuntimeError("the step failed")

    with pytest.raises(RuntimeError, match="the step failed"):
        consume()
    assert not loader_threads()

    def failing(indices):
        yield records.samples[indices[0]]
        raise DataError("image 7 (7.jpg): its checksum is wrong")

    records.iter_rows = failing
    with pytest.raises(DataError, match="image 7"):
        list(make_loader(records).epoch(0))
    assert not loader_threads()


def test_reading_is_ahead_by_the_prefetch_depth_only():
    records = Records([make_sample(i, 60, 90) for i in range(40)])
    for number, _ in enumerate(make_loader(records).epoch(0)):
        assert records.read <= 2 * (number + 1 + PREFETCH)


def test_a_record_without_images_is_refused():
    with pytest.raises(DataError, match="no images"):
        make_loader(Records([]))


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


@pytest.fixture(scope="module")
def record(tmp_path_factory) -> Path:
    """A record on disk of five drawn images, lying and upright, one with a crowd region."""
    from maskrcnn.data.coco import CocoSource
    from maskrcnn.data.mindrecord import convert

    folder = tmp_path_factory.mktemp("record")
    images, annotations = [], []
    for number, (height, width) in enumerate([(60, 90), (90, 60), (100, 150), (64, 64), (80, 50)]):
        sample = make_sample(100 + number, height, width, objects=3)
        (folder / sample.file_name).write_bytes(sample.jpeg)
        images.append({"id": sample.image_id, "file_name": sample.file_name, "height": height, "width": width})
        for slot, (x1, y1, x2, y2) in enumerate(sample.boxes.astype(float).tolist()):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": sample.image_id,
                    "category_id": 7 if slot else 9,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1) / 2,
                    "iscrowd": int(number == 2 and slot == 0),
                    "segmentation": [[x1, y1, x2, y1, (x1 + x2) / 2, y2]],
                }
            )
    categories = [{"id": 7, "name": "kite"}, {"id": 9, "name": "sail"}]
    (folder / "instances.json").write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": categories})
    )
    source = CocoSource(folder / "instances.json", folder)
    report = convert(source, folder, name="train", classes=source.classes, settings={}, progress=False)
    return report.path


def small_config() -> Config:
    return Config().replace(
        img_width=256, img_height=128, max_instance_count=5, mask_crop_size=56, batch_size=2, flip_ratio=0.5
    )


def test_a_record_on_disk_gives_the_batches_of_its_samples(record):
    from maskrcnn.data.mindrecord import RecordReader

    cfg = small_config()
    loader = TrainLoader.from_config(cfg, record)
    reader = RecordReader(record)
    in_memory = TrainLoader(
        Records(list(reader.iter_rows(range(len(reader))))),
        img_height=128,
        img_width=256,
        settings=BatchSettings(5, 56, cfg.rpn_proposal_max_num + 5, Augmentation(flip_ratio=0.5)),
        seed=cfg.seed,
        batch_size=2,
    )
    assert loader.steps_per_epoch == 3
    for epoch, start in ((0, 0), (1, 1)):
        batches, expected = list(loader.epoch(epoch, start)), list(in_memory.epoch(epoch, start))
        assert len(batches) == len(expected) == 3 - start
        for ours, theirs in zip(batches, expected):
            assert_equal_batches(ours, theirs)
    assert {label for batch in loader.epoch(0) for label in batch.gt_labels.ravel()} == {-1, 0, 1, 2}


def test_stopping_early_frees_a_record_on_disk(record):
    loader = TrainLoader.from_config(small_config(), record)
    for epoch in range(3):
        batches = loader.epoch(epoch)
        next(batches)
        batches.close()
    assert not loader_threads()
    assert sum(1 for _ in loader.epoch(3)) == loader.steps_per_epoch


def test_a_damaged_row_is_named(record, tmp_path):
    for file in record.parent.glob("train.*"):
        shutil.copy(file, tmp_path)
    copy = tmp_path / record.name
    content = bytearray(copy.read_bytes())
    place = content.find(make_sample(103, 64, 64, objects=3).jpeg)
    assert place > 0
    content[place + 200] ^= 255
    copy.write_bytes(content)
    with pytest.raises(DataError, match=r"image 103 \(103\.png\)"):
        list(TrainLoader.from_config(small_config(), copy).epoch(0))
    assert not loader_threads()
