"""What was read and made, as text for the user."""

from __future__ import annotations

from collections.abc import Sequence

from maskrcnn.data.prepare.prepare import REPORT_FILE, Prepared


def prepared_lines(prepared: Prepared) -> list[str]:
    """Returns the table of sources, splits and classes, and what was left out."""
    rows = [("source", "format", "images", "of", "objects", "with masks", "boxes only")]
    rows += [(str(s.source), s.format, s.images, s.listed, s.objects, s.masks, s.boxes) for s in prepared.sources]
    lines = table(rows)
    splits = prepared.splits
    lines += ["", f"Split: {prepared.split_rule}"]
    rows = [("", *splits)]
    rows.append(("images", *(len(file.images) for file in splits.values())))
    rows.append(("objects", *(file.objects for file in splits.values())))
    rows += [(name, *(file.per_class[name] for file in splits.values())) for name in prepared.classes]
    lines += table(rows)
    placed = ", ".join(f"{count} {way}" for way, count in prepared.placed.items())
    lines += ["", f"Image files: {placed}"]
    if prepared.unused:
        lines.append(f"Classes without any object, left out: {', '.join(prepared.unused)}")
    lines += prepared.skipped.lines()
    if prepared.skipped.lines():
        lines.append(f"Every one of them is listed in {prepared.root / REPORT_FILE}")
    return lines


def table(rows: Sequence[Sequence[object]]) -> list[str]:
    """Returns rows as lines of aligned columns; numbers to the right, text to the left."""
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*texts)]
    numbers = [all(isinstance(cell, (int, float)) for cell in column[1:]) and len(column) > 1 for column in zip(*rows)]
    return [
        "  ".join(
            cell.rjust(width) if number else cell.ljust(width) for cell, width, number in zip(row, widths, numbers)
        ).rstrip()
        for row in texts
    ]
