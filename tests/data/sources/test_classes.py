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
        ([*CATEGORIES, {"id": 3, "name": "cow"}], None, "category id 3 is there twice, as 'cat' and 'cow'"),
        ([*CATEGORIES, {"id": 4, "name": "cat"}], None, "categories 3 and 4 are both called 'cat'; rename one"),
        ([*CATEGORIES, {"id": 4, "name": "cat"}], ["dog", "cat"], "categories 3 and 4 are both called 'cat'"),
        ([{"id": 3}], None, "category .* needs an 'id' and a 'name'"),
        ([{"id": None, "name": "cat"}], None, "category .* needs an 'id' and a 'name'"),
        ([{"id": 3, "name": None}], None, "category .* needs an 'id' and a 'name'"),
        ([["cat"]], None, "category .* needs an 'id' and a 'name'"),
        ([], None, "has no categories"),
    ],
)
def test_refusals(categories, names, message):
    with pytest.raises(DataError, match=message):
        ClassList.from_categories(categories, names)


def test_from_coco_needs_only_categories(tmp_path):
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


def test_ids_may_be_texts_and_floats():
    classes = ClassList.from_categories([{"id": "10", "name": "b"}, {"id": 9.0, "name": "a"}, {"id": "x", "name": "c"}])
    assert classes.names == ("a", "b", "c"), "numbers in their order, then texts"
    assert classes.category_ids == (9.0, "10", "x")
    assert [classes.label_of(i) for i in (9, "9", 10, "10", 10.0, "x", "y")] == [1, 1, 2, 2, 2, 3, None]


def test_the_same_category_listed_twice_counts_once():
    assert ClassList.from_categories([*CATEGORIES, CATEGORIES[0]]).names == ("cat", "dog", "owl")


def test_a_category_called_background_is_a_class():
    """It was dropped when the names were looked up a second time, and every label after it shifted by one."""
    categories = [{"id": 0, "name": "background"}, {"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    classes = ClassList.from_categories(categories, [])
    assert classes.names == ("background", "cat", "dog")
    assert [classes.label_of(i) for i in (0, 1, 2)] == [1, 2, 3]
    again, missing = classes.in_file(categories)
    assert again == classes and not missing


ROBOFLOW = [
    {"id": 0, "name": "fruit", "supercategory": "none"},
    {"id": 1, "name": "apple", "supercategory": "fruit"},
    {"id": 2, "name": "fruit", "supercategory": "fruit"},
]


def test_a_root_category_without_objects_is_no_class():
    assert ClassList.from_categories(ROBOFLOW, annotated={1, 2}) == ClassList(("apple", "fruit"), (1, 2))
    assert ClassList.from_categories(ROBOFLOW[:2], annotated={1}) == ClassList(("apple",), (1,))
    assert ClassList.from_categories(ROBOFLOW[:2], annotated={0, 1}).names == ("fruit", "apple"), "it has objects"
    with pytest.raises(DataError, match="categories 0 and 2 are both called 'fruit'"):
        ClassList.from_categories(ROBOFLOW, annotated={0, 1, 2})
    assert ClassList.from_categories(ROBOFLOW, ["apple"], annotated={0, 1, 2}).category_ids == (1,), "no clash there"
    own_parent = [{"id": 1, "name": "person", "supercategory": "person"}, {"id": 2, "name": "cat"}]
    assert len(ClassList.from_categories(own_parent, annotated={2})) == 2, "as in COCO: person's parent is person"
    assert ClassList.from_categories(ROBOFLOW[:2], ["fruit"], annotated={1}).category_ids == (0,), "asked for by name"


def test_the_classes_of_a_run_in_another_file():
    run = ClassList(("cat", "dog", "owl"), (1, 2, 3))
    found, missing = run.in_file([{"id": 2, "name": "owl"}, {"id": 7, "name": "cat"}, {"id": 8, "name": "cow"}])
    assert found.names == run.names and missing == ["dog"]
    assert (found.category_ids[0], found.category_ids[2]) == (7, 2)
    assert found.category_ids[1] not in (2, 7, 8), "an id that means another class there would count its objects"
    with pytest.raises(
        DataError, match=r"none of the run's classes: its categories are cow, the run's classes cat, dog"
    ):
        run.in_file([{"id": 1, "name": "cow"}])


def test_the_file_tells_which_categories_have_objects(tmp_path):
    file = tmp_path / "ann.json"
    content = {"annotations": [{"category_id": "1"}, 5, {"category_id": None}], "categories": ROBOFLOW[:2]}
    file.write_text(json.dumps(content))
    assert ClassList.from_coco(file).names == ("apple",)
