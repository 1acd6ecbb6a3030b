"""Who may import whom: an arrow goes down only (docs/design.md).

Every import counts, also those within functions and those that only type checkers see. The modules that start
something, ``launch.py`` and ``__main__.py``, stand outside: they call a command and are called by nobody.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src"
PACKAGE = "maskrcnn"
# From the bottom. A room may import itself and the rooms of lower floors, not its neighbours.
FLOORS = (
    ("errors",),
    ("cli", "files", "lock", "ops", "threads"),
    ("config", "distributed"),
    ("checkpoint", "compile_cache", "device", "models"),
    ("data.sources",),
    ("data.download", "data.formats", "data.records", "data.shapes"),
    ("convert", "data.batches", "data.prepare", "export"),
    ("data.inspection", "inference"),
    ("api", "evaluation"),
    ("report", "serving", "training"),
    ("commands",),
)
FLOOR_OF = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}


def room_of(module: str) -> str | None:
    """Returns the room of a module of the package; None for the package itself, which holds the version."""
    parts = module.split(".")[1:]
    if not parts:
        return None
    return ".".join(parts[:2]) if parts[0] == "data" and len(parts) > 1 else parts[0]


def imports_of(tree: ast.AST, module: str, is_package: bool) -> Iterator[tuple[str, int]]:
    """Yields the modules of the package that a module imports anywhere, and the lines where it does."""
    here = module.split(".") if is_package else module.split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level + 1] if node.level else []
            start = ".".join([*base, *([node.module] if node.module else [])])
            # "from maskrcnn.data import sources" names a module, "from maskrcnn.data.sources import coco" perhaps
            found = (
                [f"{start}.{alias.name}" for alias in node.names] if start in (PACKAGE, f"{PACKAGE}.data") else [start]
            )
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) == "import_module":
            found = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
        else:
            continue
        for name in found:
            if isinstance(name, str) and name.split(".")[0] == PACKAGE:
                yield name, node.lineno


def violations(source: Path) -> list[str]:
    """Returns a line for each import that does not go down."""
    wrong = []
    for file in sorted((source / PACKAGE).rglob("*.py")):
        path = file.relative_to(source)
        module = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
        room = room_of(module)
        if room in (None, "launch", "data") or file.name == "__main__.py":
            continue
        if room not in FLOOR_OF:
            wrong.append(f"{path} is in no room of the table: put '{room}' on a floor, and into docs/design.md")
            continue
        for name, line in imports_of(ast.parse(file.read_text(encoding="utf-8")), module, file.name == "__init__.py"):
            other = room_of(name)
            if other is None or other == room or (other not in FLOOR_OF and not _is_module(source, name)):
                continue
            if FLOOR_OF.get(other, len(FLOORS)) >= FLOOR_OF[room]:
                wrong.append(f"{path}:{line} imports {name}: {room} may not import {other}")
    return wrong


def _is_module(source: Path, name: str) -> bool:
    """Whether a name is a module or package, and not something that the package itself defines."""
    path = source.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def test_every_import_goes_down():
    assert violations(SOURCE) == []


def test_every_room_of_the_table_is_there():
    for room in FLOOR_OF:
        assert _is_module(SOURCE, f"{PACKAGE}.{room}"), f"{room} is gone: take it out of the table"


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        ("ops/a.py", "from maskrcnn.errors import DataError\n", None),
        ("ops/a.py", "import maskrcnn.config\n", "ops may not import config"),
        ("ops/a.py", "def f():\n    from maskrcnn.config.schema import Config\n", "ops/a.py:2 imports"),
        ("ops/a.py", "if TYPE_CHECKING:\n    from maskrcnn.config import Config\n", "ops may not import config"),
        ("ops/a.py", "from maskrcnn import __version__\n", None),
        ("ops/a.py", "from maskrcnn import config\n", "ops may not import config"),
        ("ops/a.py", "from ..training import step\n", "ops may not import training"),
        ("ops/a.py", "from .b import c\n", None),
        ("ops/__init__.py", "from ..models.fpn import FPN\n", "ops may not import models"),
        ("ops/a.py", "import importlib\nimportlib.import_module('maskrcnn.models.fpn')\n", "ops may not import models"),
        ("models/a.py", "from maskrcnn.checkpoint.format import save\n", "models may not import checkpoint"),
        ("data/sources/a.py", "from maskrcnn.data.batches.loader import x\n", "sources may not import data.batches"),
        ("data/sources/a.py", "from maskrcnn.data import records\n", "sources may not import data.records"),
        ("data/batches/a.py", "from maskrcnn.data.sources.coco import x\n", None),
        ("evaluation/a.py", "from maskrcnn.training.step import x\n", "evaluation may not import training"),
        ("convert/__main__.py", "from maskrcnn.commands.convert import main\n", None),
        ("launch.py", "from maskrcnn.commands.launch import main\n", None),
        ("cellar/a.py", "", "put 'cellar' on a floor"),
    ],
)
def test_what_goes_up_is_found(tmp_path, file, text, expected):
    for room in FLOOR_OF:
        (tmp_path / PACKAGE / room.replace(".", "/")).mkdir(parents=True, exist_ok=True)
    target = tmp_path / PACKAGE / file
    target.parent.mkdir(exist_ok=True)
    target.write_text(text)
    found = violations(tmp_path)
    assert found == [] if expected is None else len(found) == 1 and expected in found[0], found
