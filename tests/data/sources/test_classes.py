"""Class lists: labels, category ids, and the refusals that keep a run from training the wrong classes."""

from __future__ import annotations

import json

import pytest

from maskrcnn.data.sources.classes import ClassList, without_background
from maskrcnn.errors import DataError

CATEGORIES = [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}, {"id": 90, "name": "owl"}]


def test_from_the_file_sorted_by_id():
    classes = ClassList.from_categories(CATEGORIES)
    assert classes.names == ("cat", "dog", "owl")
    assert classes.category_ids == (3, 7, 90)
    assert [classes.label_of(i) for i in (3, 7, 90, 4)] == [1, 2, 3, None]
    assert [classes.category_of(label) for label in (1, 2, 3)] == [3, 7, 90]
    assert len(classes) == 3


def test_from_the_configuration_keeps_its_order_and_drops_the_background():
    classes = ClassList.from_categories(CATEGORIES, ["background", "owl", "cat"])
    assert classes.names == ("owl", "cat")
    assert classes.category_ids == (90, 3)
    assert classes.label_of(7) is None


def test_background_is_dropped_in_front_only():
    assert without_background(["Background", "a"]) == ("a",)
    assert without_background(["a", "background"]) == ("a", "background")
    assert ClassList.from_names(["background", "a", "b"]).category_ids == (1, 2)


@pytest.mark.parametrize(
    ("categories", "names", "message"),
    [
        (
            CATEGORIES,
            ["cat", "dgo"],
            "class 'dgo' is not a category of the annotation file, which has cat, dog",
        ),
        (CATEGORIES, ["cat", "cat"], "class name 'cat' is there twice"),
        (CATEGORIES, ["background"], "the class list is empty"),
        ([*CATEGORIES, {"id": 3, "name": "cow"}], None, "category id 3 is there twice"),
        ([*CATEGORIES, {"id": 4, "name": "cat"}], None, "two categories are called 'cat'"),
        ([{"id": "3", "name": "cat"}], None, "needs an integer 'id' and a 'name'"),
        ([{"id": 3}], None, "needs an integer 'id' and a 'name'"),
        ([["cat"]], None, "needs an integer 'id' and a 'name'"),
        ([], None, "has no categories"),
    ],
)
def test_refusals(categories, names, message):
    with pytest.raises(DataError, match=message):
        ClassList.from_categories(categories, names)


def test_from_coco_reads_only_the_categories(tmp_path):
    file = tmp_path / "ann.json"
    file.write_text(json.dumps({"images": [{"id": 1}], "annotations": [], "categories": CATEGORIES}))
    assert ClassList.from_coco(file) == ClassList.from_categories(CATEGORIES)


def test_difference_names_the_first_one():
    run = ClassList.from_names(["a", "b"])
    assert run.difference(ClassList(("a", "b"), (5, 9))) is None
    assert run.difference(ClassList.from_names(["a", "c"])) == "class 2 is 'b' instead of 'c'"
    assert run.difference(ClassList.from_names(["a"])) == "2 classes instead of 1"


def test_all_of_coco(coco_tiny):
    classes = ClassList.from_coco(coco_tiny / "annotations" / "instances_val2017.json")
    assert len(classes) == 80
    assert (classes.names[0], classes.category_ids[0]) == ("person", 1)
    assert (classes.names[-1], classes.category_ids[-1]) == ("toothbrush", 90)
