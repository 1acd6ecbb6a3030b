"""Records on disk: what comes back, what an interruption leaves, how damage and other settings are named."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import maskrcnn
from maskrcnn.data.records import row
from maskrcnn.data.records.conversion import convert_to_mindrecord
from maskrcnn.data.records.info import check_info, read_info
from maskrcnn.data.records.reader import RecordReader
from maskrcnn.data.sources.classes import ClassList
from maskrcnn.data.sources.coco import CocoSource
from maskrcnn.data.sources.report import Issue, Reason
from maskrcnn.data.sources.sample import Sample
from maskrcnn.errors import DataError

CLASSES = ClassList.from_names(["cat", "dog"])


def make_sample(i: int) -> Sample:
    """Sample ``i``: bytes that end in zeros, no to three objects, masks and crowd in some, any orientation."""
    rng = np.random.default_rng(i)
    n = i % 4
    return Sample(
        image_id=2**40 + i,
        file_name=f"grün/写真 {i}.jpg",
        jpeg=rng.bytes(50 + 700 * i) + bytes(i % 4),
        height=10 + i,
        width=20 + i,
        boxes=rng.random((n, 4), np.float32),
        labels=rng.integers(1, 3, n, np.int32),
        crowd=np.arange(n) > 0,
        rles=[rng.bytes(k + 1) if (i + k) % 2 else None for k in range(n)],
        orientation=i % 8 + 1,
    )


class MemorySource:
    """Samples out of nothing, for the writer alone."""

    classes = CLASSES
    image_dir = Path("images")

    def __init__(self, count: int, action=None) -> None:
        self.count, self.action, self.issues = count, action, []

    def __len__(self) -> int:
        return self.count

    def load(self, index):
        if self.action is not None:
            self.action(index)
        return make_sample(index), []

    def estimated_bytes(self):
        return self.count * 30000, 30000

    def summary(self):
        return {"annotation_bytes": 1, "annotation_crc32": 2}


def run(source, folder, **settings):
    return convert_to_mindrecord(
        source, folder, name="r", classes=source.classes, settings=settings, workers=2, progress=False
    )


def test_the_classes_of_each_image_are_listed(tmp_path):
    """Crowd regions left out; a record of an earlier version has no such list."""
    path = run(MemorySource(7), tmp_path).path
    samples = [make_sample(i) for i in range(7)]
    assert read_info(path).labels == [sorted({int(label) for label in s.labels[:1]}) for s in samples]
    description = path.with_suffix(".json")
    content = json.loads(description.read_text())
    del content["labels"]
    description.write_text(json.dumps(content))
    assert read_info(path).labels is None


def assert_same(found: Sample, expected: Sample) -> None:
    for name in ("image_id", "file_name", "jpeg", "height", "width", "rles", "orientation"):
        assert getattr(found, name) == getattr(expected, name)
    for name in ("boxes", "labels", "crowd"):
        a, b = getattr(found, name), getattr(expected, name)
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


@pytest.fixture(scope="module")
def record(tmp_path_factory) -> Path:
    return run(MemorySource(40), tmp_path_factory.mktemp("record") / "new folder", a=1, b=["x"]).path


@pytest.fixture
def copy(record, tmp_path) -> Path:
    """The record in a folder of its own, to be damaged."""
    shutil.copytree(record.parent, tmp_path / "copy")
    return tmp_path / "copy" / record.name


def test_any_order_comes_back_bit_for_bit(record):
    reader = RecordReader(record)
    assert len(reader) == 40
    assert reader.info.sizes.tolist() == [[10 + i, 20 + i] for i in range(40)]
    assert reader.info.classes == CLASSES
    order = [int(i) for i in np.random.default_rng(0).permutation(40)]
    for indices in (order, [39], [3, 3, 0, 3], order + order[:7], []):
        found = list(reader.iter_rows(indices))
        assert len(found) == len(indices)
        for index, sample in zip(indices, found):
            assert_same(sample, make_sample(index))


def test_indices_outside_are_refused(record):
    with pytest.raises(IndexError):
        list(RecordReader(record).iter_rows([0, 40]))


def test_reading_can_be_left_early_and_in_threads(record):
    reader = RecordReader(record)
    rows = reader.iter_rows(range(40))
    assert_same(next(rows), make_sample(0))
    rows.close()
    found = []
    threads = [
        threading.Thread(target=lambda: found.append([s.image_id for s in reader.iter_rows(range(40))]))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [[2**40 + i for i in range(40)]] * 3


def test_the_record_can_move_with_its_folder_but_not_be_renamed(copy):
    assert_same(next(iter(RecordReader(copy).iter_rows([5]))), make_sample(5))
    for suffix in (".mindrecord", ".mindrecord.db", ".json"):
        (copy.parent / f"r{suffix}").rename(copy.parent / f"s{suffix}")
    with pytest.raises(DataError, match=r"was made as r\.mindrecord and cannot be renamed"):
        read_info(copy.parent / "s.mindrecord")


def test_damage_is_named(copy):
    data = copy.read_bytes()
    place = data.index(make_sample(7).jpeg) + 100
    copy.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
    reader = RecordReader(copy)
    assert len(list(reader.iter_rows([6, 8]))) == 2
    with pytest.raises(DataError, match=f"damaged at image {2**40 + 7}"):
        list(reader.iter_rows([6, 7, 8]))
    copy.write_bytes(data[:-10])
    with pytest.raises(DataError, match=r"r\.mindrecord has .* bytes instead of"):
        read_info(copy)
    copy.unlink()
    with pytest.raises(DataError, match=r"r\.mindrecord is missing"):
        read_info(copy)


def test_a_damaged_index_or_header_is_named(copy):
    index = Path(f"{copy}.db")
    good = index.read_bytes()
    index.write_bytes(good[:5000] + bytes([good[5000] ^ 1]) + good[5001:])
    with pytest.raises(DataError, match=r"the contents of r\.mindrecord\.db have changed"):
        read_info(copy)
    index.write_bytes(good)
    data = copy.read_bytes()
    copy.write_bytes(data[:20] + b"?" + data[21:])
    with pytest.raises(DataError, match=r"the contents of r\.mindrecord have changed"):
        read_info(copy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("sizes"), "is damaged or describes no record"),
        (lambda d: d.update(images=3), "is damaged or describes no record"),
        (lambda d: d.update(format="?"), "is damaged or describes no record"),
        (lambda d: d.update(version=99), "has format version 99, this program needs"),
    ],
)
def test_a_damaged_description_is_named(copy, change, message):
    file = copy.with_suffix(".json")
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))
    with pytest.raises(DataError, match=message):
        read_info(copy)
    file.write_text(file.read_text()[:-20])
    with pytest.raises(DataError, match="is damaged or describes no record"):
        read_info(copy)


def test_records_of_version_1_have_pixels_as_stored(copy):
    file = copy.with_suffix(".json")
    file.write_text(json.dumps({**json.loads(file.read_text()), "version": 1}))
    info = read_info(copy)
    check_info(info, CLASSES, {"keep_empty": False, "exif": "ignore"})
    check_info(info, CLASSES, {"keep_empty": False, "exif": "apply"})
    with pytest.raises(DataError, match="keep_empty is False instead of True"):
        check_info(info, CLASSES, {"keep_empty": True})
    columns = row.encode_row(make_sample(5))
    columns["size"] = columns["size"][:2]
    columns["checksum"] = np.array([row._checksum(columns)], np.int64)
    stored = {key: np.array([v], f"S{len(v)}") if isinstance(v, bytes) else v for key, v in columns.items()}
    assert_same(row.decode_row(stored), replace(make_sample(5), orientation=1))


def test_unfinished_and_missing_are_named(copy):
    copy.with_suffix(".json").unlink()
    with pytest.raises(DataError, match="was not finished"):
        read_info(copy)
    with pytest.raises(DataError, match="there is no record"):
        read_info(copy.parent / "other.mindrecord")


def test_other_classes_and_settings_are_named(record):
    info = read_info(record)
    check_info(info, None, {})
    check_info(info, ClassList(("cat", "dog"), (17, 18)), {"a": 1, "b": ["x"]})
    with pytest.raises(DataError, match="class 2 is 'dog' instead of 'cow'"):
        check_info(info, ClassList.from_names(["cat", "cow"]), {})
    with pytest.raises(DataError, match="a is 1 instead of 2"):
        check_info(info, CLASSES, {"a": 2})
    with pytest.raises(DataError, match="c is None instead of 3"):
        check_info(info, CLASSES, {"c": 3})


def test_converting_twice_gives_the_same_rows_and_replaces_the_first(tmp_path):
    run(MemorySource(40), tmp_path)
    assert len(RecordReader(run(MemorySource(3), tmp_path).path)) == 3
    assert sorted(p.name for p in tmp_path.iterdir()) == ["r.json", "r.mindrecord", "r.mindrecord.db"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interruption_leaves_nothing_and_keeps_the_old_record(tmp_path, error):
    def interrupt(index):
        if index == 30:
            raise error

    with pytest.raises(error):
        run(MemorySource(40, interrupt), tmp_path)
    assert list(tmp_path.iterdir()) == []
    old = run(MemorySource(4), tmp_path).path
    with pytest.raises(error):
        run(MemorySource(40, interrupt), tmp_path)
    assert len(list(RecordReader(old).iter_rows(range(4)))) == 4


def test_kill_leaves_nothing_that_looks_finished(tmp_path):
    script = textwrap.dedent(
        """
        import importlib.util, sys, time
        spec = importlib.util.spec_from_file_location("t", sys.argv[1])
        t = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(t)
        def action(index):
            if index == 60:
                print("ready", flush=True)
                time.sleep(60)
        t.run(t.MemorySource(100, action), sys.argv[2])
        """
    )
    source = Path(maskrcnn.__file__).parents[1]
    process = subprocess.Popen(
        [sys.executable, "-c", script, __file__, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(source)},
    )
    assert process.stdout.readline() == b"ready\n"
    time.sleep(0.2)
    with pytest.raises(DataError, match="another process is converting r"):
        run(MemorySource(3), tmp_path)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert [p.name for p in tmp_path.iterdir()] == [".r.partial"]
    assert (tmp_path / ".r.partial" / "r.mindrecord").exists()
    with pytest.raises(DataError, match="there is no record"):
        read_info(tmp_path / "r.mindrecord")
    assert len(RecordReader(run(MemorySource(3), tmp_path).path)) == 3
    assert not (tmp_path / ".r.partial").exists()


def test_an_image_too_large_for_a_page_is_counted(tmp_path):
    source = MemorySource(5)
    source.estimated_bytes = lambda: (10, 10)
    big = bytes(3 << 20)
    source.load = lambda i: (Sample(**{**vars(make_sample(i)), "jpeg": big if i == 2 else b"x"}), [])
    report = run(source, tmp_path)
    assert report.images == 4
    assert report.skipped[Reason.TOO_LARGE] == 1


def test_many_pages(tmp_path):
    source = MemorySource(60)
    source.load = lambda i: (Sample(**{**vars(make_sample(i)), "jpeg": bytes([i]) * (2 << 20)}), [])
    source.estimated_bytes = lambda: (60 * (2 << 20), 2 << 20)
    reader = RecordReader(run(source, tmp_path).path)
    assert [s.jpeg[0] for s in reader.iter_rows(range(59, -1, -1))] == list(range(59, -1, -1))


def test_nothing_usable_is_an_error(tmp_path):
    source = MemorySource(2)
    source.load = lambda i: (None, [Issue(Reason.MISSING_IMAGE, f"{i}.jpg")])
    with pytest.raises(DataError, match="nothing to convert in images: skipped: 2 images: the image file is missing"):
        run(source, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot write to .*file: .*give another mindrecord_dir"):
        run(MemorySource(2), tmp_path / "file")


def test_size_of_the_record_of_photographs(coco_tiny, tmp_path):
    file = coco_tiny / "annotations" / "instances_train2017.json"
    source = CocoSource(file, coco_tiny / "train2017")
    report = run(source, tmp_path)
    assert (report.images, report.objects) == (80, 705)
    original = file.stat().st_size + sum(p.stat().st_size for p in (coco_tiny / "train2017").iterdir())
    written = sum(p.stat().st_size for p in tmp_path.iterdir())
    assert report.file_bytes == written
    assert written <= 1.10 * original
    for index, sample in enumerate(RecordReader(report.path).iter_rows(range(80))):
        assert_same(sample, source.load(index)[0])
