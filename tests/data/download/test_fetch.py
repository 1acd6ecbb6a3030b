"""Downloads: whatever the connection does, the file is whole and right, or one line says why it is not."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.data.download.server import Request, Server

from maskrcnn.data.download.fetch import PARTIAL, Archive, fetch, partial_size
from maskrcnn.errors import DataError

DATA = np.random.default_rng(0).bytes(300_000)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server({"a.zip": DATA}) as running:
        yield running


def archive(server: Server, data: bytes = DATA, name: str = "a.zip") -> Archive:
    return Archive(f"{server.url}/{name}", name, len(data), hashlib.md5(data).hexdigest())


def get(server: Server, folder: Path, wanted: Archive | None = None, **options) -> Path:
    return fetch(wanted or archive(server), folder, sleep=lambda _: None, pauses=(0, 0), **options)


def test_a_file_is_fetched_once(server: Server, tmp_path: Path):
    for _ in range(2):
        assert get(server, tmp_path).read_bytes() == DATA
    assert server.requests == [Request("/a.zip", None)]
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


def test_a_broken_connection_goes_on_where_it_ended(server: Server, tmp_path: Path):
    server.cut_after = [100_000, 0, 50_000]
    assert get(server, tmp_path).read_bytes() == DATA
    assert [request.start for request in server.requests] == [None, 100_000, 100_000, 150_000]


def test_what_an_earlier_run_has_left_is_used(server: Server, tmp_path: Path):
    (tmp_path / f"a.zip{PARTIAL}").write_bytes(DATA[:123_456])
    assert partial_size(archive(server), tmp_path) == 123_456
    assert get(server, tmp_path).read_bytes() == DATA
    assert server.requests == [Request("/a.zip", 123_456)]
    assert partial_size(archive(server), tmp_path) == len(DATA)


@pytest.mark.parametrize("left", [len(DATA), len(DATA) + 5])
def test_a_whole_or_too_long_part_is_checked_without_asking(left: int, server: Server, tmp_path: Path):
    (tmp_path / f"a.zip{PARTIAL}").write_bytes((DATA + bytes(5))[:left])
    if left == len(DATA):
        assert get(server, tmp_path).read_bytes() == DATA
    else:
        with pytest.raises(DataError, match="arrived damaged"):
            get(server, tmp_path)
    assert server.requests == []


def test_a_server_without_ranges_begins_anew(server: Server, tmp_path: Path):
    server.ranges = False
    server.cut_after = [100_000]
    assert get(server, tmp_path).read_bytes() == DATA
    assert [request.start for request in server.requests] == [None, 100_000]


def test_errors_that_may_pass_are_tried_again(server: Server, tmp_path: Path):
    server.statuses = [503, 500]
    assert get(server, tmp_path).read_bytes() == DATA


@pytest.mark.parametrize("code", [403, 404, 410])
def test_errors_that_do_not_pass_are_one_line_at_once(code: int, server: Server, tmp_path: Path):
    server.statuses = [code]
    with pytest.raises(DataError, match=rf"a\.zip cannot be fetched: the server answers {code} ") as error:
        get(server, tmp_path)
    assert "\n" not in str(error.value) and len(server.requests) == 1


def test_a_server_that_never_sends_is_given_up_with_what_is_there_kept(server: Server, tmp_path: Path):
    server.cut_after = [1000, 0, 0]
    with pytest.raises(DataError, match=r"the connection ended .* 1,000 of 300,000 bytes are kept"):
        get(server, tmp_path)
    assert (tmp_path / f"a.zip{PARTIAL}").read_bytes() == DATA[:1000]
    assert get(server, tmp_path).read_bytes() == DATA


def test_a_server_that_hangs_is_left_after_the_timeout(server: Server, tmp_path: Path):
    server.wait = 30
    with pytest.raises(DataError, match=r"cannot be fetched: .*timed out"):
        get(server, tmp_path, timeout=0.2)


def test_nobody_there_is_one_line(tmp_path: Path):
    with pytest.raises(DataError, match=r"cannot be fetched: .*refused"):
        fetch(Archive("http://127.0.0.1:9/a.zip", "a.zip", 5, "0" * 32), tmp_path, pauses=())
    with pytest.raises(DataError, match="no address"):
        fetch(Archive("nonsense", "a.zip", 5, "0" * 32), tmp_path, pauses=())


def test_another_length_is_refused_before_it_is_fetched(server: Server, tmp_path: Path):
    with pytest.raises(DataError, match=r"has 300,000 bytes, not the 200,000 of a\.zip"):
        get(server, tmp_path, archive(server, DATA[:200_000]))
    assert not list(tmp_path.iterdir())


def test_another_content_is_refused_and_removed(server: Server, tmp_path: Path):
    server.files["a.zip"] = DATA[:-1] + b"x"
    with pytest.raises(DataError, match=r"a\.zip arrived damaged: 300,000 bytes with MD5 .* was removed"):
        get(server, tmp_path)
    assert not list(tmp_path.iterdir())
    server.files["a.zip"] = DATA
    assert get(server, tmp_path).read_bytes() == DATA
