"""Batches: their order, the threads that make them, and what happens when something is wrong."""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from tests.data.loading import (
    AUGMENTED,
    AUGMENTED_MORE,
    SMALL,
    Records,
    assert_equal_batches,
    loader_threads,
    make_loader,
    make_sample,
)

from maskrcnn.data.batches.batch import BatchSettings
from maskrcnn.data.batches.loader import PREFETCH
from maskrcnn.data.batches.views import Augmentation
from maskrcnn.data.sources.sample import Sample
from maskrcnn.errors import DataError

LARGER = coco_mask.encode(np.ones((500, 500), np.uint8, order="F"))["counts"]  # a mask of another image


@pytest.mark.parametrize("augmentation", [AUGMENTED, AUGMENTED_MORE])
@pytest.mark.parametrize("workers", [1, 2, 5])
def test_batches_do_not_depend_on_the_number_of_workers(records, workers, augmentation):
    settings = BatchSettings(**{**SMALL.__dict__, "augmentation": augmentation})
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


@pytest.mark.parametrize("augmentation", [AUGMENTED, AUGMENTED_MORE])
def test_resuming_within_an_epoch_gives_the_same_batches(records, augmentation):
    settings = BatchSettings(**{**SMALL.__dict__, "augmentation": augmentation})
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


@pytest.mark.parametrize("augmentation", [AUGMENTED, AUGMENTED_MORE])
def test_ranks_share_one_plan(records, augmentation):
    settings = BatchSettings(**{**SMALL.__dict__, "augmentation": augmentation})
    alone = list(make_loader(records, settings, batch_size=4).epoch(1))
    ranks = [list(make_loader(records, settings, batch_size=2, rank=rank, world=2).epoch(1)) for rank in range(2)]
    assert len(alone) == len(ranks[0]) == len(ranks[1])
    for whole, *parts in zip(alone, *ranks):
        for array, *pieces in zip(whole, *parts):
            np.testing.assert_array_equal(array, np.concatenate(pieces))


def test_images_of_rare_classes_are_shown_more_often(records):
    """Class 2 is in one of seven images; of the first four only, it would be in one of four."""
    records.info.labels = [[1], [1, 2], [1], [], [1], [1], [1]]
    ids = [sample.image_id for sample in records.samples]
    for images, factor in ((0, np.sqrt(7)), (4, 2.0)):
        loader = make_loader(records, batch_size=1, repeat_threshold=1.0, images=images)
        shown = np.concatenate([batch.image_id for epoch in range(30) for batch in loader.epoch(epoch)])
        counts = [np.count_nonzero(shown == image) / 30 for image in ids[: images or None]]
        assert counts[1] == pytest.approx(factor, rel=0.25)
        assert max(counts[0], *counts[2:]) < 1.7
    records.info.labels, records.info.path = None, "old.mindrecord"
    with pytest.raises(DataError, match=r"repeat_threshold needs .* old\.mindrecord .* does not list: delete it"):
        make_loader(records, repeat_threshold=1.0)


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


def test_only_the_first_images_if_so_many_are_wanted(records):
    loader = make_loader(records, images=3)
    assert loader.steps_per_epoch == 2
    assert {image_id for batch in loader.epoch(0) for image_id in batch.image_id} == {100, 101, 102}
    assert make_loader(records, images=100).steps_per_epoch == make_loader(records).steps_per_epoch


def test_a_damaged_partner_is_named(records):
    settings = BatchSettings(**{**SMALL.__dict__, "augmentation": Augmentation(copy_paste_ratio=1.0)})
    records.samples[5:] = [Sample(**{**sample.__dict__, "jpeg": b""}) for sample in records.samples[5:]]
    loader = make_loader(records, settings, images=5)
    assert len(list(loader.epoch(0))) == loader.steps_per_epoch, "partners are chosen among the images in use, too"
    with pytest.raises(DataError, match=r"image 10[56] \(10[56]\.png\): "):
        list(make_loader(records, settings).epoch(0))


def test_a_record_without_images_is_refused():
    with pytest.raises(DataError, match="no images"):
        make_loader(Records([]))
