"""Image folders that change after a conversion, and those that only look changed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from maskrcnn.data.records.fingerprint import FolderFingerprint

SECOND = 10**9


@pytest.fixture
def folder(tmp_path) -> Path:
    """Three images, one in a subfolder, and files that are no images."""
    root = tmp_path / "images"
    (root / "night").mkdir(parents=True)
    for number, name in enumerate(("a.jpg", "b.PNG", "night/c.webp")):
        (root / name).write_bytes(bytes(10 + number))
        os.utime(root / name, ns=(0, (1000 + number) * SECOND))
    (root / "_annotations.coco.json").write_text("{}")
    return root


def test_the_same_folder_is_the_same(folder):
    before = FolderFingerprint.of(folder)
    assert before.files == 3
    assert before.newest == 1002 * SECOND
    assert FolderFingerprint.from_json(before.to_json()) == before
    (folder / "_annotations.coco.json").write_text("changed")
    (folder / "notes.txt").touch()
    assert before.compare(folder) == (None, None)


def add(folder):
    (folder / "night" / "new.jpg").write_bytes(b"1")


def remove(folder):
    (folder / "a.jpg").unlink()


def rename(folder):
    (folder / "a.jpg").rename(folder / "z.jpg")


def exchange(folder):
    """Two images change their names: all names and all sizes are there."""
    (folder / "a.jpg").rename(folder / "x")
    (folder / "b.PNG").rename(folder / "a.jpg")
    (folder / "x").rename(folder / "b.PNG")


def grow(folder):
    with open(folder / "a.jpg", "ab") as file:
        file.write(b"1")


def rewrite(folder):
    (folder / "a.jpg").write_bytes(b"1" * 10)


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (add, "it has 1 image files more than then, for instance night/new.jpg"),
        (remove, "it has 1 image files less than then"),
        (rename, "image files have other names or sizes than then"),
        (exchange, "image files have other names or sizes than then"),
        (grow, "image files have other names or sizes than then, for instance a.jpg"),
        (rewrite, "1 image files have been written since, for instance a.jpg"),
    ],
)
def test_a_change_is_named(folder, action, message):
    before = FolderFingerprint.of(folder)
    action(folder)
    assert before.compare(folder) == (message, None)


def test_a_copy_is_the_same_images(folder, tmp_path):
    """All times are new; or a copy that keeps some of them sets none that is newer."""
    before = FolderFingerprint.of(folder)
    shutil.copytree(folder, tmp_path / "copy", copy_function=shutil.copyfile)
    change, note = before.compare(tmp_path / "copy")
    assert change is None
    assert "other times than then, but the same names and sizes" in note
    os.utime(folder / "a.jpg", ns=(0, SECOND))
    assert before.compare(folder) == (None, note)


def test_links(folder, tmp_path):
    """Linked images and folders count, links to nothing and in circles do not."""
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "d.jpg").write_bytes(b"d")
    (folder / "far").symlink_to(tmp_path / "far")
    (folder / "e.jpg").symlink_to(tmp_path / "far" / "d.jpg")
    (folder / "nothing.jpg").symlink_to(tmp_path / "nothing")
    (folder / "night" / "up").symlink_to(folder)
    before = FolderFingerprint.of(folder)
    assert before.files == 8  # the three again through the circle, once
    (tmp_path / "far" / "d.jpg").write_bytes(b"dd")
    assert "other names or sizes" in before.compare(folder)[0]


def test_no_image_is_opened(folder, monkeypatch):
    """Names that no file system lacks, and contents that cannot be read."""
    (folder / os.fsdecode(b"\xff\xfe.jpg")).touch()
    monkeypatch.setattr("builtins.open", lambda *args, **kwargs: pytest.fail("a file was opened"))
    assert FolderFingerprint.of(folder).files == 4


def test_no_folder_has_none(tmp_path):
    assert FolderFingerprint.of(tmp_path / "absent") is None
