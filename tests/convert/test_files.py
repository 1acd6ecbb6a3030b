"""Reading every format, recognised by contents; and refusing files that are damaged or would run code."""

from __future__ import annotations

import argparse
import builtins
import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from tests.convert.foreign import TorchWriter

from maskrcnn.checkpoint.format import save_checkpoint
from maskrcnn.convert.files import read_file
from maskrcnn.convert.safetensors import read_safetensors, write_safetensors
from maskrcnn.errors import CheckpointError

DATA_FILES = Path(__file__).resolve().parents[1] / "data_files"
ARRAYS = {
    "a.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 4) / 7,
    "a.half": np.array([1.5, -2], np.float16),
    "a.count": np.array(7, np.int64),
}


def same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].shape == array.shape and found[name].dtype == array.dtype, name
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize("form", ["save_zip", "save_legacy"])
@pytest.mark.parametrize("wrapped", ["bare", "model", "parallel"])
def test_pth(tmp_path, monkeypatch, form, wrapped) -> None:
    writer = TorchWriter(monkeypatch)
    prefix = "module." if wrapped == "parallel" else ""
    saved = OrderedDict((prefix + name, writer.tensor(array)) for name, array in ARRAYS.items())
    saved._metadata = OrderedDict(version=1)  # torch leaves this on every state_dict
    if wrapped == "model":
        saved = {"model": saved, "epoch": 3, "args": argparse.Namespace(lr=0.1), "optimizer": {"lr": [0.1]}}
    path = tmp_path / "weights.bin"
    getattr(writer, form)(path, saved)
    found = read_file(path)
    assert found.format.startswith(".pth") and "without torch" in found.format
    same(found.arrays, ARRAYS)


@pytest.mark.parametrize("form", ["zip", "legacy"])
def test_pth_written_by_torch(form) -> None:
    """Files that torch 2.13 has saved: the names of a checkpoint beside settings of a training script."""
    found = read_file(DATA_FILES / f"torch_{form}.pth").arrays
    base = np.arange(24, dtype=np.float32) / np.float32(7)
    expected = {
        "whole": base.reshape(2, 3, 4),
        "transposed": base.reshape(4, 6).T,
        "middle": base[5:11],
        "half": np.array([1.5, -2], np.float16),
        "bfloat16": (np.array([1, -2.5, 3e20], np.float32).view(np.uint32) + 0x8000 >> 16 << 16).view(np.float32),
        "parameter": np.ones((2, 2), np.float32),
        "counter": np.array(7, np.int64),
    }
    same(found, expected)


@pytest.mark.parametrize("form", ["save_zip", "save_legacy"])
def test_pth_views_and_bfloat16(tmp_path, monkeypatch, form) -> None:
    writer = TorchWriter(monkeypatch)
    transposed = ARRAYS["a.weight"][0].T
    numbers = np.array([1.0, -2.5, 3e20], np.float32)
    halves = (numbers.view(np.uint32) >> 16).astype("<u2")
    short = writer.view(writer.kinds[""], halves.tobytes(), 3, 1, (2,), (2,), 2)
    getattr(writer, form)(tmp_path / "w", {"t": writer.tensor(transposed), "b": short})
    found = read_file(tmp_path / "w").arrays
    np.testing.assert_array_equal(found["t"], transposed)
    np.testing.assert_array_equal(found["b"], (halves[1:].astype(np.uint32) << 16).view(np.float32))


@pytest.mark.parametrize(("offset", "strides"), [(0, (8, 4)), (20, (4, 4)), (-1, (4, 4)), (0, (-4, 4)), (0, (4,))])
def test_a_tensor_outside_its_storage_is_refused(tmp_path, monkeypatch, offset, strides) -> None:
    writer = TorchWriter(monkeypatch)
    data = np.arange(8, dtype=np.float32)
    shape = (8, 2)
    view = writer.view(writer.kinds["f4"], data.tobytes(), 8, offset, shape, [4 * s for s in strides], 4)
    writer.save_zip(tmp_path / "w.pth", {"a": view})
    with pytest.raises(CheckpointError, match="damaged"):
        read_file(tmp_path / "w.pth")


def test_storages_shorter_than_they_say(tmp_path, monkeypatch) -> None:
    writer = TorchWriter(monkeypatch)
    view = writer.view(writer.kinds["f4"], b"\0" * 8, 1000, 0, (1000,), (4,), 4)
    writer.save_zip(tmp_path / "zip.pth", {"a": view})
    writer.save_legacy(tmp_path / "legacy.pth", {"a": view})
    for name in ("zip.pth", "legacy.pth"):
        with pytest.raises(CheckpointError, match=r"damaged|truncated"):
            read_file(tmp_path / name)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pkl_with_numpy_arrays(tmp_path, protocol) -> None:
    arrays = {**ARRAYS, "fortran": np.asfortranarray(ARRAYS["a.weight"][0]), "big": np.arange(3, dtype=">f4")}
    saved = {"model": arrays, "__author__": "somebody", "matching_heuristics": True}
    (tmp_path / "w.pkl").write_bytes(pickle.dumps(saved, protocol=protocol))
    found = read_file(tmp_path / "w.pkl")
    assert found.format == ".pkl"
    for name, array in arrays.items():
        np.testing.assert_array_equal(found.arrays[name], array)


def test_pkl_of_python_2(tmp_path) -> None:
    """There the bytes of an array are a text in the pickle (opcode BINSTRING)."""
    data = np.array([1.0, 2.0], "<f4").tobytes()
    text = b"T" + len(data).to_bytes(4, "little") + data
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR(K\x01(K\x02t"
        b"cnumpy\ndtype\n(U\x02f4K\x00K\x01tR(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
        + text
        + b"tb"
    )
    (tmp_path / "w.pkl").write_bytes(b"\x80\x02}U\x01a" + array + b"s.")
    np.testing.assert_array_equal(read_file(tmp_path / "w.pkl").arrays["a"], [1, 2])


def test_npz_and_checkpoint(tmp_path) -> None:
    np.savez(tmp_path / "x", **ARRAYS)
    found = read_file(tmp_path / "x.npz")
    assert found.format == ".npz"
    same(found.arrays, ARRAYS)
    arrays = {name: np.atleast_1d(array) for name, array in ARRAYS.items()}
    save_checkpoint(tmp_path / "x.ckpt", arrays.items(), {"class_names": ["a"]})
    found = read_file(tmp_path / "x.ckpt")
    assert found.meta["class_names"] == ["a"]
    same(found.arrays, arrays)


def test_safetensors_both_ways_with_its_own_library(tmp_path) -> None:
    library = pytest.importorskip("safetensors.numpy")
    library.save_file(ARRAYS, tmp_path / "theirs")
    found = read_file(tmp_path / "theirs")
    assert found.format == ".safetensors"
    same(found.arrays, ARRAYS)
    write_safetensors(tmp_path / "ours", ARRAYS, {"format": "pt"})
    same(library.load_file(tmp_path / "ours"), ARRAYS)
    same(read_safetensors(tmp_path / "ours"), ARRAYS)


@pytest.mark.parametrize("first_byte", [0x0A, 0x80, ord("P")])
def test_safetensors_are_known_whatever_their_length_looks_like(tmp_path, first_byte) -> None:
    """The first byte of the header's length may be that of a pickle or of a checkpoint."""
    path = tmp_path / "w"
    write_safetensors(path, ARRAYS, {})
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    more = (first_byte - length) % 256
    path.write_bytes((length + more).to_bytes(8, "little") + data[8 : 8 + length] + b" " * more + data[8 + length :])
    assert path.read_bytes()[0] == first_byte
    same(read_file(path).arrays, ARRAYS)


def test_a_header_that_is_nested_too_deeply(tmp_path) -> None:
    path = tmp_path / "w.safetensors"
    header = b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(CheckpointError, match=r"its header cannot be read") as caught:
        read_safetensors(path)
    assert "\n" not in str(caught.value)


def test_damaged_safetensors(tmp_path) -> None:
    path = tmp_path / "w.safetensors"
    write_safetensors(path, ARRAYS, {})
    whole = path.read_bytes()
    for name, data in {
        "truncated": whole[:-1],
        "header": whole[:40] + b"\0" * 20,
        "offsets": whole.replace(b"[0, 96]", b"[8, 96]"),
        "type": whole.replace(b'"F16"', b'"F99"'),
        "json": whole.replace(b"shape", b'sh"pe'),
    }.items():
        path.write_bytes(data)
        with pytest.raises(CheckpointError, match=r"damaged|truncated|no weights"):
            read_file(path)
        assert name


class Evil:
    """Pickles as a call of any function."""

    def __init__(self, function, *arguments) -> None:
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def attacks(mark) -> dict[str, object]:
    """Objects whose unpickling would create the file ``mark``."""
    command = f"touch {mark}"
    code = f"open({str(mark)!r}, 'w')"
    return {
        "os.system": Evil(os.system, command),
        "eval": Evil(builtins.eval, code),
        "exec": Evil(builtins.exec, code),
        "open": Evil(builtins.open, str(mark), "w"),
        "getattr": Evil(getattr, "a", "upper"),
        "nested": {"model": {"a.weight": [ARRAYS["a.weight"], Evil(os.system, command)]}},
        "import": Evil(builtins.__import__, "os"),
    }


@pytest.mark.parametrize("name", attacks(""))
@pytest.mark.parametrize("form", ["pkl", "save_zip", "save_legacy"])
def test_code_in_a_file_is_not_run(tmp_path, monkeypatch, name, form) -> None:
    mark = tmp_path / "was_here"
    attack = attacks(mark)[name]
    path = tmp_path / "weights"
    if form == "pkl":
        path.write_bytes(pickle.dumps(attack))
        if name == "os.system":  # the attack works where it is let
            pickle.loads(path.read_bytes())
            assert mark.exists()
            mark.unlink()
    else:
        getattr(TorchWriter(monkeypatch), form)(path, attack)
    with pytest.raises(CheckpointError, match="nothing in it was run"):
        read_file(path)
    assert not mark.exists()


@pytest.mark.parametrize(
    "body",
    [
        b"cnumpy\nndarray\nN}(U\x05_callN\x86b.",  # change a function of ours
        b"cargparse\nNamespace\nN}U\x0c__setstate__Ns\x86b.",  # change a class of ours
        b"cnumpy.core.multiarray\n_reconstruct\n)R(K\x01)cnumpy\ndtype\n(U\x01OtR\x89U\x08aaaaaaaatb.",  # objects
        b"ccollections\nOrderedDict.__init__\n.",
        b"cmaskrcnn.convert.pickles\nRestrictedUnpickler\n.",
        b"c_codecs\nencode\n(X\x01\x00\x00\x00aX\x06\x00\x00\x00rot_13tR.",
    ],
)
def test_tampering_opcodes_are_refused(tmp_path, body) -> None:
    (tmp_path / "w.pkl").write_bytes(b"\x80\x02" + body)
    with pytest.raises(CheckpointError, match=r"refused|damaged"):
        read_file(tmp_path / "w.pkl")


def test_npz_with_pickled_objects_is_refused(tmp_path) -> None:
    mark = tmp_path / "was_here"
    np.savez(tmp_path / "w", a=np.array([Evil(os.system, f"touch {mark}")], object))
    with pytest.raises(CheckpointError, match="refused"):
        read_file(tmp_path / "w.npz")
    assert not mark.exists()


def test_files_that_are_no_weights(tmp_path) -> None:
    cases = {"text": b"hello, this is text", "empty": b"", "pickle": pickle.dumps([1, 2])}
    cases["number"] = pickle.dumps({"a": 3})
    for name, data in cases.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(CheckpointError):
            read_file(tmp_path / name)
    with zipfile.ZipFile(tmp_path / "zip", "w") as archive:
        archive.writestr("readme.txt", "x")
    with pytest.raises(CheckpointError, match="by its contents"):
        read_file(tmp_path / "zip")
    (tmp_path / "broken").write_bytes((tmp_path / "zip").read_bytes()[:30])
    with pytest.raises(CheckpointError, match="damaged"):
        read_file(tmp_path / "broken")
    with pytest.raises(CheckpointError, match="does not exist"):
        read_file(tmp_path / "missing.pth")
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_file(tmp_path)
