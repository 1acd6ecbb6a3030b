"""Batches from a record on disk."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tests.data.loading import (
    ASSIGN,
    Records,
    anchors,
    assert_equal_batches,
    loader_threads,
    make_sample,
)

from maskrcnn.config import Config
from maskrcnn.data.batches.batch import BatchSettings
from maskrcnn.data.batches.loader import TrainLoader
from maskrcnn.data.batches.views import Augmentation
from maskrcnn.errors import DataError


@pytest.fixture(scope="module")
def record(tmp_path_factory) -> Path:
    """A record on disk of five drawn images, lying and upright, one with a crowd region."""
    from maskrcnn.data.records.conversion import convert_to_mindrecord
    from maskrcnn.data.sources.coco import CocoSource

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
    report = convert_to_mindrecord(source, folder, name="train", classes=source.classes, settings={}, progress=False)
    return report.path


def small_config() -> Config:
    return Config().replace(
        img_width=256, img_height=128, max_instance_count=5, mask_crop_size=56, batch_size=2, flip_ratio=0.5
    )


def test_a_record_on_disk_gives_the_batches_of_its_samples(record):
    from maskrcnn.data.records.reader import RecordReader

    cfg = small_config()
    loader = TrainLoader.from_config(cfg, record)
    reader = RecordReader(record)
    in_memory = TrainLoader(
        Records(list(reader.iter_rows(range(len(reader))))),
        img_height=128,
        img_width=256,
        anchors=anchors,
        settings=BatchSettings(5, 56, cfg.rpn_proposal_max_num + 5, Augmentation(flip_ratio=0.5), ASSIGN, "coverage"),
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


def test_a_record_that_vanishes_is_named(record, tmp_path):
    for file in record.parent.glob("train.*"):
        shutil.copy(file, tmp_path)
    loader = TrainLoader.from_config(small_config(), tmp_path / record.name)
    assert sum(1 for _ in loader.epoch(0)) == loader.steps_per_epoch
    (tmp_path / record.name).unlink()
    with pytest.raises(DataError, match=r"the record .*train\.mindrecord cannot be read; convert again") as caught:
        next(loader.epoch(1))
    assert "\n" not in str(caught.value)
    assert not loader_threads()
