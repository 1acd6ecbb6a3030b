"""Compiled graphs kept on disk, so that only the first start of a network waits for the compiler.

MindSpore can keep the graphs that it compiles (``MS_COMPILER_CACHE_ENABLE``), but finds them again by their number in
the process: it does not notice that a shape, a threshold or a weight's size has changed, and then computes the old
graph. So each graph is kept here in a folder of its own, named by a digest of everything that the graph follows from,
and is handed to MindSpore under the number that it is going to look for.

What is kept is used only while it has the checksum that was noted when it was complete. A new folder takes its place
when it is whole, so that processes which compile the same graph at the same time do not meet. Whatever goes wrong with
the cache costs a compilation and nothing else.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import mindspore as ms
from mindspore import Tensor, nn
from mindspore.graph import api

from maskrcnn import __version__
from maskrcnn.config import Config
from maskrcnn.config.schema import key_limits, key_types
from maskrcnn.errors import MaskRCNNError
from maskrcnn.files import sha256

ENABLE, PATH = "MS_COMPILER_CACHE_ENABLE", "MS_COMPILER_CACHE_PATH"  # read by MindSpore at every compilation
GRAPH, CHECKSUM = "graph.mindir", "sha256"  # files of a folder
KEPT = 64  # graphs; the ones used last stay
AUTO = "auto"


class CachedGraph:
    """A Cell whose graphs are looked up on disk before they are compiled.

    Args:
        cell: The Cell to call.
        folder: Of all cached graphs; None compiles every time.
        identity: What the graphs follow from besides the Cell's parameters, the shapes of its inputs and the
            environment: the settings, the classes, the role of the network. Fit for JSON.
    """

    def __init__(self, cell: nn.Cell, folder: Path | None, identity: Any) -> None:
        self.cell = cell
        self.folder = folder if os.environ.get(ENABLE) is None else None  # else the user has arranged it differently
        self.identity = identity
        self._compiled: set[tuple] = set()

    def __call__(self, *inputs: Tensor) -> Any:
        """Returns what the Cell returns, compiled or read on the first call with inputs of these shapes."""
        signature = tuple((tuple(tensor.shape), str(tensor.dtype)) for tensor in inputs)
        if self.folder is None or signature in self._compiled:
            return self.cell(*inputs)
        parameters = [
            (p.name, tuple(p.shape), str(p.dtype), p.requires_grad) for p in self.cell.parameters_dict().values()
        ]
        name = digest([self.identity, signature, parameters, bool(self.cell.training), environment()])
        with kept_graph(self.folder / name):
            result = self.cell(*inputs)
        self._compiled.add(signature)
        return result


def cache_folder(setting: str) -> Path | None:
    """Returns the folder that the setting ``compile_cache`` names; None if it is off.

    Args:
        setting: A folder, "auto" for that of the user (``XDG_CACHE_HOME``, by default ~/.cache), or "" for none.
    """
    if setting != AUTO:
        return Path(setting) if setting else None
    with contextlib.suppress(RuntimeError):  # no home
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        return Path(base) / "maskrcnn" / "graphs"
    return None


def graph_settings(cfg: Config) -> dict[str, Any]:
    """Returns the settings that a graph may follow from: all but the names of files, folders and data sets."""
    names = {key for key, expected in key_types().items() if expected is str and not key_limits()[key].choices}
    return {key: value for key, value in cfg.to_dict().items() if key not in names}


def digest(value: Any) -> str:
    """Returns a file name that is the same for equal values, which JSON can hold."""
    text = json.dumps(value, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:40]


def environment() -> dict[str, Any]:
    """Returns what a graph follows from besides the network: the program, its libraries and the device."""
    return {
        "maskrcnn": [__version__, _source_digest()],
        "mindspore": ms.__version__,
        "python": platform.python_version(),
        "device": [ms.get_context("device_target"), platform.machine(), _processor_flags()],
        "variables": {key: value for key, value in sorted(os.environ.items()) if _matters(key)},
    }


def _matters(variable: str) -> bool:
    """Tells whether an environment variable may change what MindSpore compiles."""
    return variable.startswith(("MS_", "ONEDNN_", "DNNL_", "RANK_")) and variable not in (ENABLE, PATH)


@functools.cache
def _source_digest() -> str:
    """Returns the digest of this package's source: another program is another graph."""
    whole = hashlib.sha256()
    root = Path(__file__).parent
    for path in sorted(root.rglob("*.py")):
        whole.update(f"{path.relative_to(root)} {path.stat().st_size}\n".encode() + path.read_bytes())
    return whole.hexdigest()


@functools.cache
def _processor_flags() -> str:
    """Returns the digest of the processor's instruction sets: a home folder may be shared by several machines."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return digest(sorted({line for line in lines if line.startswith(("flags", "Features"))}))


@contextlib.contextmanager
def kept_graph(place: Path) -> Iterator[None]:
    """Has MindSpore take the one graph that is compiled inside the block from ``place``, or leaves it there.

    Args:
        place: Folder of the graph, which need not be there yet.
    """
    try:
        exchange = _exchange()
        file = exchange.next_file()
        taken = _take(place, file)
    except OSError:  # a full disk
        yield
        return
    with _variables({ENABLE: "1", PATH: exchange.folder.name}), _no_entry_script():
        yield
    with contextlib.suppress(OSError, MaskRCNNError):  # a home that cannot be written, a full disk
        if exchange.files() == [file] and (not taken or sha256(file) != taken):
            _publish(file, place)


class _Exchange:
    """The folder in which this process's MindSpore looks for graphs: the first that it is told, for all time."""

    def __init__(self) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="maskrcnn-graphs-")
        self.count = 0

    def next_file(self) -> Path:
        """Returns the file that MindSpore will look for at its next compilation, in an empty folder."""
        folder = Path(self.folder.name) / f"rank_{os.environ.get('RANK_ID', '0')}" / "graph_cache"
        folder.mkdir(parents=True, exist_ok=True)
        for path in self.files():
            path.unlink()
        self.count += 1
        return folder / f"compile_cache_{self.count - 1}.mindir"

    def files(self) -> list[Path]:
        """The graphs that are there, without MindSpore's checksums of the script that was started."""
        return [path for path in Path(self.folder.name).rglob("*") if path.is_file() and path.suffix != ".hash"]


@functools.cache
def _exchange() -> _Exchange:
    return _Exchange()


@contextlib.contextmanager
def _variables(values: Mapping[str, str]) -> Iterator[None]:
    """Sets environment variables inside the block."""
    os.environ.update(values)
    try:
        yield
    finally:
        for name in values:
            del os.environ[name]


@contextlib.contextmanager
def _no_entry_script() -> Iterator[None]:
    """Keeps MindSpore from reading the script that was started, and all that it imports, to see whether they changed.

    The digest says that already; and there may be no script to read (``python -c``, a notebook).
    """
    script, api.entry_script_path = api.entry_script_path, None
    try:
        yield
    finally:
        api.entry_script_path = script


def _take(place: Path, file: Path) -> str:
    """Copies a graph that is complete and undamaged to ``file``; returns its checksum, "" if there is none.

    Raises:
        OSError: The copy cannot be written.
    """
    try:
        noted = (place / CHECKSUM).read_text(encoding="utf-8")
        whole = sha256(place / GRAPH) == noted
    except (OSError, ValueError, MaskRCNNError):
        return ""
    if not whole:
        return ""
    shutil.copyfile(place / GRAPH, file)
    with contextlib.suppress(OSError):
        os.utime(place)  # used now: others are thrown away first
    return noted


def _publish(file: Path, place: Path) -> None:
    """Puts a graph in its place, whole or not at all, and throws the oldest graphs away.

    Raises:
        OSError: The place cannot be written.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    copy = Path(tempfile.mkdtemp(prefix=".", dir=place.parent))
    try:
        shutil.copyfile(file, copy / GRAPH)
        (copy / CHECKSUM).write_text(sha256(copy / GRAPH), encoding="utf-8")
        shutil.rmtree(place, ignore_errors=True)
        os.replace(copy, place)  # fails if another process has been faster: its graph is as good
    finally:
        shutil.rmtree(copy, ignore_errors=True)
    graphs = [path for path in place.parent.iterdir() if path.is_dir() and not path.name.startswith(".")]
    for oldest in sorted(graphs, key=lambda path: path.stat().st_mtime)[:-KEPT]:
        shutil.rmtree(oldest, ignore_errors=True)
