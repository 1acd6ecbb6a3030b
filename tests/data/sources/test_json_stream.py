"""Element-wise reading against the json module, with windows so small that every token is cut somewhere."""

from __future__ import annotations

import json
import zlib

import pytest

from maskrcnn.data.sources import json_stream
from maskrcnn.data.sources.json_stream import file_checksum, iter_elements, parse_bytes
from maskrcnn.errors import DataError

CONTENT = {
    "info": {"a": [1, 2, {"b": None}], "images": [9]},
    "images": [{"id": 1, "file_name": "grün/写真.jpg"}, {"id": 2, "file_name": 'a"]}\\,.png'}],
    "number": 123456789,
    "empty": [],
    "annotations": [1234567, -1.5e-3, "x", [1, [2]], {"é": ["ü"]}, True, None],
    "licenses": "none",
}


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 1 << 20])
@pytest.mark.parametrize("style", [{}, {"indent": 2}, {"ensure_ascii": False}, {"separators": (",", ":")}])
def test_equals_json(tmp_path, monkeypatch, chunk, style):
    monkeypatch.setattr(json_stream, "_CHUNK", chunk)
    file = tmp_path / "a.json"
    file.write_text(json.dumps(CONTENT, **style), encoding="utf-8")
    data = file.read_bytes()
    found = {"images": [], "annotations": []}
    for key, element, (start, end) in iter_elements(file, found):
        found[key].append(element)
        assert parse_bytes(data[start:end]) == element
    assert found == {key: CONTENT[key] for key in found}


def test_characters_beyond_latin_1_next_to_escapes(tmp_path):
    file = tmp_path / "a.json"
    file.write_bytes(b'\xef\xbb\xbf{"images": ["\\u5199\xc3\xa9"]}')
    assert [element for _, element, _ in iter_elements(file, ("images",))] == ["写é"]


@pytest.mark.parametrize("cut", [0.05, 0.3, 0.6, 0.9, 0.999])
def test_a_cut_file_is_refused(tmp_path, cut):
    file = tmp_path / "a.json"
    text = json.dumps(CONTENT)
    file.write_text(text[: int(len(text) * cut)])
    with pytest.raises(DataError, match=r"a\.json is not valid JSON at byte \d+"):
        list(iter_elements(file, ("images", "annotations")))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"[1, 2]", "does not start with a JSON object"),
        (b"", "does not start with a JSON object"),
        (b'{"images": [1 2]}', "expected ','"),
        (b'{"images" [1]}', "expected ':'"),
        (b'{"images": ["\xff\xfe"]}', "not UTF-8"),
        ('{"images": []}'.encode("utf-16"), "is UTF-16 text: save it as UTF-8"),
        (b'{"images": [' + b"[" * 100_000 + b"]" * 100_000 + b"]}", "nested too deeply"),
        (b'{"info": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}", "nested too deeply"),
        (b'{"images": ' + b"[" * 100_000, "nested too deeply"),
        (b'{"images": []} {"images": []}', "there is more after the object's end"),
    ],
)
def test_damage_is_named(tmp_path, data, message):
    file = tmp_path / "a.json"
    file.write_bytes(data)
    with pytest.raises(DataError, match=message):
        list(iter_elements(file, ("images",)))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"no\.json: No such file"):
        list(iter_elements(tmp_path / "no.json", ("images",)))


def test_checksum_while_reading(tmp_path):
    file = tmp_path / "a.json"
    file.write_text(json.dumps(CONTENT))
    chunks = []
    list(iter_elements(file, (), chunks.append))
    assert b"".join(chunks) == file.read_bytes()
    assert file_checksum(file) == (file.stat().st_size, zlib.crc32(file.read_bytes()))
