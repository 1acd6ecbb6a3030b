"""COCO's archives from a small stand-in of its server: laid out, checked, interrupted and resumed."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import ROOT
from tests.data.download.server import Server

from maskrcnn.commands.download import main
from maskrcnn.data.download.coco import SUMS, CocoFiles
from maskrcnn.data.shapes.dataset import make_shapes
from maskrcnn.errors import DataError


@pytest.fixture(scope="module")
def data_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_shapes(tmp_path_factory.mktemp("shapes") / "set", train=12, val=3, size=(128, 160))


@pytest.fixture(scope="module")
def archives(data_set: Path) -> dict[str, bytes]:
    """The three archives, laid out as COCO's."""
    found = {}
    for name, folder in (("zips/train2017", "train2017"), ("zips/val2017", "val2017")):
        found[f"{name}.zip"] = zipped({f"{folder}/{p.name}": p for p in sorted((data_set / folder).iterdir())})
    others = {"annotations/captions_val2017.json": data_set / "annotations" / "instances_val2017.json"}
    instances = {f"annotations/{p.name}": p for p in sorted((data_set / "annotations").iterdir())}
    found["annotations/annotations_trainval2017.zip"] = zipped({**others, **instances})
    return found


def zipped(files: dict[str, Path]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, path in files.items():
            if name.endswith(".json"):
                archive.write(path, name)
            else:
                archive.write(path, name, zipfile.ZIP_STORED)
    return buffer.getvalue()


@pytest.fixture
def server(archives: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server(dict(archives)) as running:
        yield running


@pytest.fixture
def options(server: Server, archives: dict[str, bytes], tmp_path: Path) -> list[str]:
    sums = tmp_path / "sums.txt"
    lines = [f"{len(d)} {hashlib.md5(d).hexdigest()} {Path(n).name}\n" for n, d in archives.items()]
    sums.write_text("".join(lines))
    hosts = ["--image_host", f"{server.url}/zips", "--annotation_host", f"{server.url}/annotations/"]
    return [*hosts, "--sums", str(sums)]


def assert_complete(out: Path, data_set: Path) -> None:
    for folder in ("train2017", "val2017"):
        expected = {path.name: path.read_bytes() for path in (data_set / folder).iterdir()}
        assert {path.name: path.read_bytes() for path in (out / folder).iterdir()} == expected
    assert sorted(path.name for path in (out / "annotations").iterdir()) == [
        "instances_train2017.json",
        "instances_val2017.json",
    ]
    assert json.loads((out / "annotations" / "instances_val2017.json").read_text())["images"]


def test_archives_become_coco_s_layout_once(server: Server, options: list[str], data_set: Path, tmp_path: Path):
    out = tmp_path / "out"
    main([str(out), *options])
    assert_complete(out, data_set)
    assert sorted(path.name for path in out.iterdir()) == ["annotations", "train2017", "val2017"]
    assert len(server.requests) == 3
    main([str(out), *options])
    assert len(server.requests) == 3


def test_archives_are_kept_if_asked(server: Server, options: list[str], tmp_path: Path):
    main([str(tmp_path / "out"), *options, "--keep_archives", "--splits", "val2017"])
    assert sorted(path.name for path in (tmp_path / "out" / "archives").iterdir()) == [
        "annotations_trainval2017.zip",
        "val2017.zip",
    ]
    shutil.rmtree(tmp_path / "out" / "val2017")
    main([str(tmp_path / "out"), *options, "--keep_archives", "--splits", "val2017"])
    assert len(server.requests) == 2 and (tmp_path / "out" / "val2017").is_dir()


def test_a_disk_that_is_too_small_is_refused_before_anything_is_fetched(
    server: Server, options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(0, 0, 2**28 + 1000))
    with pytest.raises(DataError, match=r"has 0\.3 GiB free, and 0\.3 GiB are needed"):
        main([str(tmp_path / "out"), *options])
    assert not server.requests


def test_room_is_counted_for_all_of_coco(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Archives, images and the record of the training images: 19.3 + 0.8 GB twice, 0.25 six times, 19.3 once."""
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(0, 0, 10 * 2**30))
    total = 2 * (19_336_861_798 + 815_585_330) + 6 * 252_907_541 + 19_336_861_798 + 2**28
    with pytest.raises(DataError, match=f"has 10.0 GiB free, and {total / 2**30:.1f} GiB are needed"):
        main([str(tmp_path / "out")])


def test_official_addresses_and_sums():
    files = CocoFiles()
    archive = files.archive("train2017")
    assert archive.url == "http://images.cocodataset.org/zips/train2017.zip" and archive.size == 19_336_861_798
    annotations = files.archive("annotations_trainval2017")
    assert annotations.url == "http://images.cocodataset.org/annotations/annotations_trainval2017.zip"
    assert all(len(md5) == 32 for _, md5 in SUMS.values())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s, o: s.files.pop("zips/val2017.zip"), "val2017.zip cannot be fetched: the server answers 404"),
        (lambda s, o: s.files.update({"zips/val2017.zip": b"sorry"}), "has 5 bytes, not the"),
        (lambda s, o: Path(o[-1]).write_text("12 abc train2017.zip\n"), "line 1: '12 abc train2017.zip' is not"),
        (lambda s, o: Path(o[-1]).write_text(""), "no line for annotations_trainval2017.zip"),
        (lambda s, o: Path(o[-1]).unlink(), "sums.txt cannot be read"),
        (lambda s, o: o.extend(["--splits", "test2017"]), "--splits test2017: there are train2017 and val2017"),
    ],
)
def test_mistakes_are_one_line(change, message: str, server: Server, options: list[str], tmp_path: Path):
    change(server, options)
    with pytest.raises(DataError) as error:
        main([str(tmp_path / "out"), *options])
    assert message in str(error.value) and "\n" not in str(error.value)


def test_an_archive_of_something_else_is_refused(server: Server, data_set: Path, options: list[str], tmp_path: Path):
    data = zipped({"other/1.jpg": next((data_set / "val2017").iterdir())})
    server.files["zips/val2017.zip"] = data
    sums = Path(options[-1])
    lines = [line for line in sums.read_text().splitlines() if "val2017.zip" not in line or "trainval" in line]
    sums.write_text("\n".join([*lines, f"{len(data)} {hashlib.md5(data).hexdigest()} val2017.zip"]))
    with pytest.raises(DataError, match="holds no val2017/: it is not the archive of COCO 2017"):
        main([str(tmp_path / "out"), *options])
    assert not (tmp_path / "out" / "val2017").exists()


def test_the_script_is_interrupted_goes_on_and_converts(
    server: Server, options: list[str], data_set: Path, tmp_path: Path
):
    out = tmp_path / "my data"
    command = ["bash", str(ROOT / "scripts" / "run_download_process_data.sh"), str(out), *options]
    environment = {**os.environ, "MASKRCNN_PYTHON": sys.executable, "no_proxy": "127.0.0.1", "GLOG_v": "3"}
    command += ["--config_path", str(ROOT / "configs" / "shapes.yaml"), "--device_target", "CPU"]
    server.wait = 1.0
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    ) as process:
        part = out / "archives" / "train2017.zip.part"
        deadline = time.monotonic() + 60
        while not (part.is_file() and part.stat().st_size) and time.monotonic() < deadline:
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
    assert 0 < part.stat().st_size < len(server.files["zips/train2017.zip"])
    server.wait = 0
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    starts = [request.start for request in server.requests if request.path == "/zips/train2017.zip"]
    assert starts[0] is None and starts[1] > 0
    assert [request.path for request in server.requests].count("/annotations/annotations_trainval2017.zip") == 1
    assert_complete(out, data_set)
    assert list((out / "mindrecord").iterdir())
    assert "of 12 images" in done.stdout
