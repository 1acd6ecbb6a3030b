"""Cached graphs: right results whatever has changed, been damaged or cannot be written."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from maskrcnn import compile_cache
from maskrcnn.compile_cache import CachedGraph, cache_folder, digest, graph_settings, kept_graph
from maskrcnn.config import Config

PROGRAM = Path(__file__).with_name("cached_graphs.py")


def start(folder: Path, wanted: list, **environment: str) -> subprocess.Popen:
    source = str(Path(compile_cache.__file__).parents[1])
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), str(folder), json.dumps(wanted)],
        env={**os.environ, "PYTHONPATH": source, **environment},
        stdout=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen) -> tuple[list, list]:
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return tuple(json.loads(output.splitlines()[-1]))


def expected(wanted: list) -> list:
    return [[[size], (1 + width * (width - 1) / 2) * factor] for factor, width, size in wanted]


def run(folder: Path, wanted: list, **environment: str) -> list:
    """The results must be right in any case; returns which graphs were found on the disk."""
    found, read = finish(start(folder, wanted, **environment))
    assert found == expected(wanted)
    return read


def test_a_graph_is_found_again_and_never_taken_for_another(tmp_path: Path) -> None:
    first, other_shape, other_constant, other_weight = [2.0, 3, 4], [2.0, 3, 5], [7.0, 3, 4], [2.0, 6, 4]
    assert run(tmp_path, [first, other_shape]) == [False, False]
    assert run(tmp_path, [first, other_shape]) == [True, True]
    # In another order, and a graph between them that has not been there: MindSpore's own cache would mix them up.
    assert run(tmp_path, [other_shape, other_constant, first, other_weight]) == [True, False, True, False]
    assert run(tmp_path, [first], ONEDNN_MAX_CPU_ISA="SSE41") == [False]


def test_processes_at_the_same_time(tmp_path: Path) -> None:
    wanted = [[2.0, 3, 4], [2.0, 3, 5]]
    processes = [start(tmp_path, wanted) for _ in range(3)]
    assert [finish(process)[0] for process in processes] == [expected(wanted)] * 3
    assert run(tmp_path, wanted) == [True, True]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")], "private copies are left behind"


def test_a_damaged_graph_is_compiled_anew(tmp_path: Path) -> None:
    wanted = [[2.0, 3, 4]]
    run(tmp_path, wanted)
    (graph,) = tmp_path.rglob(compile_cache.GRAPH)
    graph.write_bytes(graph.read_bytes()[:-10])
    assert run(tmp_path, wanted) == [False]
    assert run(tmp_path, wanted) == [True]


@pytest.fixture
def compiling(monkeypatch: pytest.MonkeyPatch):
    """A function that does what MindSpore does, as far as the cache sees it, in an exchange folder of its own."""
    exchange = compile_cache._Exchange()
    monkeypatch.setattr(compile_cache, "_exchange", lambda: exchange)

    def compile_graph(text: str = "a graph") -> None:
        number = exchange.count - 1
        path = Path(os.environ[compile_cache.PATH]) / "rank_0" / "graph_cache" / f"compile_cache_{number}.mindir"
        if not path.exists():
            path.write_text(text)

    return compile_graph


def test_what_a_place_holds(tmp_path: Path, compiling) -> None:
    for text in ("first", "second"):
        with kept_graph(tmp_path / "graph"):
            compiling(text)
    assert (tmp_path / "graph" / compile_cache.GRAPH).read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["graph"]


def test_a_place_that_cannot_be_written_costs_nothing_else(tmp_path: Path, compiling) -> None:
    (tmp_path / "file").write_text("no folder")
    with kept_graph(tmp_path / "file" / "graph"):
        compiling()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_full_disk_leaves_no_half_graph(tmp_path: Path, compiling, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: Path, target: Path) -> None:
        Path(target).write_text("half")
        raise OSError(28, "No space left on device")

    with kept_graph(tmp_path / "whole"):
        compiling()
    monkeypatch.setattr(shutil, "copyfile", full)
    for name in ("whole", "new"):
        with kept_graph(tmp_path / name):
            pass
    assert [path.name for path in tmp_path.iterdir()] == ["whole"]
    assert (tmp_path / "whole" / compile_cache.GRAPH).read_text() == "a graph"


def test_an_error_while_compiling_leaves_nothing(tmp_path: Path, compiling) -> None:
    with pytest.raises(RuntimeError), kept_graph(tmp_path / "graph"):
        compiling()
        raise RuntimeError("the graph is wrong")
    assert list(tmp_path.iterdir()) == []
    assert compile_cache.ENABLE not in os.environ


def test_the_graphs_used_last_are_kept(tmp_path: Path, compiling, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compile_cache, "KEPT", 2)
    for name in ("a", "b", "c"):
        with kept_graph(tmp_path / name):
            compiling()
        if name == "a":
            os.utime(tmp_path / "a", (1e9, 1e9))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "c"]


def test_every_setting_of_the_network_is_in_the_key() -> None:
    def key(**values) -> str:
        return digest(graph_settings(Config.from_dict(values)))

    same = key()
    assert key(test_score_thr=0.3) != same
    assert key(coco_classes=["background", "cat"]) != same
    assert key(rpn_nms_thr=0.6) != same
    assert key(img_width=1344) != same
    assert key(coco_root="elsewhere", log_dir="elsewhere", eval_output="elsewhere") == same


def test_another_source_is_another_key(monkeypatch: pytest.MonkeyPatch) -> None:
    before = compile_cache.environment()
    monkeypatch.setattr(compile_cache, "_source_digest", lambda: "another")
    assert compile_cache.environment() != before


def test_where_graphs_are_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder("auto") == tmp_path / "maskrcnn" / "graphs"
    assert cache_folder("here") == Path("here")
    assert cache_folder("") is None


def test_a_users_own_arrangement_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(compile_cache.ENABLE, "1")
    assert CachedGraph(None, tmp_path, {}).folder is None
