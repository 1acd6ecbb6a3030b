"""Reading ahead: complete, in order, bounded, one canvas to a batch."""

from __future__ import annotations

import threading
import time

import cv2
import numpy as np
import pytest
from tests.evaluation.oracle import nothing
from tests.evaluation.oracle import settings as small_settings

from maskrcnn.data.batches.transforms import decode_image, resize_image
from maskrcnn.errors import DataError
from maskrcnn.inference import images as images_module
from maskrcnn.inference.images import ImageSource, load_batches, load_image
from maskrcnn.inference.pipeline import InferenceRun

SIZES = [(40, 60), (60, 40), (50, 50), (64, 30), (30, 64), (20, 90), (90, 20)]


def settings(**keys):
    """For a canvas of 64x128 pixels; ``keys`` are those of the configuration."""
    return small_settings(img_height=64, img_width=128, **keys)


@pytest.fixture
def sources(tmp_path):
    rng = np.random.default_rng(0)
    result = []
    for number, (height, width) in enumerate(SIZES):
        path = tmp_path / f"{number}.png"
        cv2.imwrite(str(path), rng.integers(1, 255, (height, width, 3), np.uint8))
        result.append(ImageSource(number, path, (height, width)))
    return result


@pytest.mark.parametrize("batch_size", [1, 2, 3, 8])
def test_every_image_once_and_padded_by_repetition(sources, batch_size: int) -> None:
    seen = []
    for batch in load_batches(sources, settings(test_batch_size=batch_size), []):
        assert len(batch.image) == len(batch.image_shape) == batch_size >= len(batch.images)
        assert batch.image.dtype == np.uint8 and batch.image_shape.dtype == np.float32
        assert len({image.canvas for image in batch.images}) == 1
        for row in range(batch_size):
            image = batch.images[row % len(batch.images)]
            height, width = image.network_size
            assert batch.image_shape[row].tolist() == [height, width]
            assert (batch.image[row, :height, :width] == image.pixels).all()
            assert not batch.image[row, height:].any() and not batch.image[row, :, width:].any()
        seen += [image.source.image_id for image in batch.images]
    assert sorted(seen) == list(range(len(SIZES)))


def test_workers_change_nothing(sources) -> None:
    def run(workers: int):
        return [
            batch.image
            for batch in load_batches(sources, settings(test_batch_size=2, num_parallel_workers=workers), [])
        ]

    for one, many in zip(run(1), run(5)):
        assert (one == many).all()


def test_fits_the_image_into_its_canvas(sources) -> None:
    image = load_image(sources[3], settings())
    assert image.canvas == (128, 64) and image.network_size == (128, 60)
    pixels = decode_image(sources[3].path.read_bytes())
    assert (image.pixels == resize_image(pixels, 128, 60)).all()
    stretched = load_image(sources[3], settings(keep_ratio=False))
    assert stretched.network_size == (128, 64)


def test_bad_images_are_counted_or_stop(sources) -> None:
    sources[1].path.write_bytes(b"")
    sources[2].path.unlink()
    skipped = []
    batches = list(load_batches(sources, settings(), skipped))
    assert len(batches) == 5
    assert [item.path for item in skipped] == [sources[1].path, sources[2].path]
    assert not skipped[0].reason.startswith(str(sources[1].path))
    with pytest.raises(DataError, match=r"1\.png"):
        list(load_batches(sources, settings(strict=True), []))


def test_reads_ahead_by_a_bounded_number(sources, monkeypatch) -> None:
    loaded = []
    original = images_module.load_image
    monkeypatch.setattr(images_module, "load_image", lambda *a, **k: loaded.append(1) or original(*a, **k))
    many = [sources[0]] * 100
    iterator = load_batches(many, settings(test_batch_size=2, num_parallel_workers=2), [])
    next(iterator)
    time.sleep(0.2)
    assert len(loaded) <= 10
    iterator.close()
    time.sleep(0.05)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("images")]


def test_results_come_complete_and_speed_is_split(sources) -> None:
    def slow(image, image_shape):
        time.sleep(0.01)
        return nothing(image, image_shape)

    run = InferenceRun(slow, sources, [1], settings(test_batch_size=2))
    results = list(run)
    assert sorted(result.source.image_id for result in results) == list(range(len(SIZES)))
    assert {result.source.image_id: result.size for result in results} == dict(enumerate(SIZES))
    assert run.speed.postprocess_images == 7 and run.speed.first_batches == 2
    assert run.speed.first_seconds >= 0.02 and run.speed.network_images == 3
    assert run.speed.to_dict()["network_seconds_per_image"] >= 0.005
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("paste")]


def test_speed_of_one_image_is_not_made_up(sources) -> None:
    run = InferenceRun(nothing, sources[:1], [1], settings())
    list(run)
    assert run.speed.to_dict()["network_seconds_per_image"] is None
