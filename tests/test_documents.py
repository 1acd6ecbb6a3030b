"""What the documents of the house say is there: files, rooms on their floors, links."""

from __future__ import annotations

import re

import pytest
from tests.test_layers import FLOORS, ROOT

DOCUMENTS = ("README.md", "CONTRIBUTING.md", "docs/design.md")
FOLDERS = (".", "src/maskrcnn", "scripts", "benchmarks", "ascend310_infer", "ascend310_infer/src/engines")
PLACES = [ROOT / folder for folder in FOLDERS]
SUFFIXES = (".py", ".yaml", ".md", ".sh", ".cpp", ".txt")


def named_files(text: str) -> list[str]:
    """The files and folders in backticks: what ends like one of ours, and holds no placeholder in capitals."""
    quoted = re.findall(r"`([^`\n ]+)`", re.sub(r"(?s)```.*?```", "", text))
    return [name for name in quoted if name.endswith((*SUFFIXES, "/")) and not re.search(r"[A-Z]{3}|[*{]|2017", name)]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_files_it_names_are_there(document):
    text = (ROOT / document).read_text(encoding="utf-8")
    tests = [path.parent for path in (ROOT / "tests").rglob("test_*.py")]
    gone = [
        name
        for name in named_files(text)
        if not any((place / name).exists() for place in PLACES)
        and not any((folder / name).exists() for folder in tests)
        and not list((ROOT / "src").rglob(name.rstrip("/")))
    ]
    assert not gone, f"{document} names what is not there"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_its_links_lead_somewhere(document):
    file = ROOT / document
    text = file.read_text(encoding="utf-8")
    headings = {
        re.sub(r"[^\w -]", "", line).strip().lower().replace(" ", "-") for line in re.findall(r"(?m)^#+ (.*)$", text)
    }
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("#"):
            assert target[1:] in headings, target
        elif "://" not in target:
            assert (file.parent / target.split("#")[0]).exists(), target


def test_the_design_has_the_floors_that_are_enforced():
    text = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    stated = {}
    for floor, rooms in re.findall(r"(?m)^\| (\d+) \| ([^|]*) \|", text):
        names = re.findall(r"`([\w/.]+)`", rooms)
        stated[int(floor)] = sorted(name.removesuffix(".py").rstrip("/").replace("/", ".") for name in names)
    assert stated == {number: sorted(rooms) for number, rooms in enumerate(FLOORS, 1)}
