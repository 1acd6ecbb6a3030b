"""The page as one HTML file: styles, scripts, data and previews inside, nothing to load from anywhere.

User's strings (class names, file names) are data: they travel as JSON in script elements that are not run, every ``<``
escaped, and the scripts show them as text only. A content security policy forbids requests to other hosts.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterable
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from maskrcnn import __version__
from maskrcnn.errors import EvaluationError
from maskrcnn.files import whole_file

MOST_BYTES = 24_000_000  # of the whole page
_STYLES = ("report.css",)
_SCRIPTS = (
    "dom.js",
    "state.js",
    "charts.js",
    "tables.js",
    "curves.js",
    "confusion.js",
    "runs.js",
    "masks.js",
    "drawing.js",
    "gallery.js",
    "viewer.js",
    "main.js",
)
_LIBRARY = "vendor/chart.umd.min.js"


class Picture(NamedTuple):
    """An image of the gallery: what the page must know at once, what only to draw it, and a WebP file in base64."""

    index: dict[str, Any]
    shapes: dict[str, Any]
    preview: str | None


def write_page(path: Path, title: str, data: dict[str, Any], pictures: Iterable[Picture] = ()) -> int:
    """Writes the page, whole or not at all.

    Args:
        path: The HTML file.
        title: Its heading.
        data: What the scripts show, see ``build``; ``images`` is added to it.
        pictures: The gallery in its order; those that would make the page larger than ``MOST_BYTES`` are left out.

    Returns:
        How many pictures the page holds.

    Raises:
        EvaluationError: The file cannot be written.
    """
    stamped = {**data, "version": __version__, "created": datetime.now().astimezone().isoformat(timespec="minutes")}
    room = MOST_BYTES - len(_json(stamped)) - sum(len(part) for part in (_library(), _scripts(), _styles()))
    images, elements = [], []
    for picture in pictures:
        number = len(images)
        parts = [f'<script type="application/json" id="shapes-{number}">{_json(picture.shapes)}</script>\n']
        if picture.preview is not None:
            parts.append(f'<script type="text/plain" id="preview-{number}">{picture.preview}</script>\n')
        room -= sum(map(len, parts)) + len(_json(picture.index))
        if room < 0:
            break
        images.append(picture.index)
        elements += parts
    content = _text("report.html")
    for name, value in (
        ("title", html.escape(title.encode("utf-8", "replace").decode())),
        ("styles", _styles()),
        ("data", _json({**stamped, "images": images})),
        ("library", _library()),
        ("scripts", _scripts()),
        ("pictures", "".join(elements)),  # the last one: what comes in is not searched again
    ):
        content = content.replace(f"<!--{name}-->", value)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path, "w") as file:
            file.write(content)
    except OSError as error:
        raise EvaluationError(f"cannot write {path}: {error.strerror or error}") from error
    return len(images)


def _json(value: Any) -> str:
    """JSON that no HTML parser takes for markup, in ASCII, since file names need not be Unicode."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _text(name: str) -> str:
    folder = files("maskrcnn.report")
    return (folder if "/" in name else folder / "assets").joinpath(name).read_text(encoding="utf-8")


def _styles() -> str:
    return "".join(map(_text, _STYLES))


def _scripts() -> str:
    """The scripts as one block, so that their names are not global ones."""
    return '"use strict";\n{\n' + "".join(map(_text, _SCRIPTS)) + "}\n"


def _library() -> str:
    """The library without the address of its source map, which a browser's tools would ask for."""
    return _text(_LIBRARY).partition("//# sourceMappingURL")[0]
