"""Classes that are renamed, merged and kept."""

from __future__ import annotations

import pytest

from maskrcnn.data.prepare.classes import ClassMap
from maskrcnn.errors import DataError


def test_merging_renaming_and_keeping():
    classes = ClassMap.from_options("pet,bird", ["cat, dog=pet"], ["sparrow=bird,car=vehicle"])
    assert [classes.name_of(name) for name in ("cat", "dog", "sparrow", "car", "tree")] == [
        "pet",
        "pet",
        "bird",
        None,
        None,
    ]
    assert classes.ordered(["sparrow", "cat"], ["bird"]) == ["pet", "bird"]


def test_order_is_the_source_s_own_and_then_by_name():
    assert ClassMap({}).ordered(["z", "a", "unused"], ["a", "z", "k", "b"]) == ["z", "a", "b", "k"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("", ["a,b"], []), "'a,b' says no new name"),
        (("", [], ["a"]), "'a' says no new name"),
        (
            (
                "",
                [
                    "a=",
                ],
                [],
            ),
            "a name is missing in 'a='",
        ),
        (("", ["a,b=c"], ["a=d"]), "class 'a' would get two names, 'c' and 'd'"),
    ],
)
def test_options_that_make_no_sense(arguments: tuple, message: str):
    with pytest.raises(DataError, match=message):
        ClassMap.from_options(*arguments)


def test_names_that_no_label_has():
    with pytest.raises(DataError, match=r"no label is of class 'cta'; did you mean 'cat'\?"):
        ClassMap.from_options("cta", [], []).check(["cat", "dog"])
    with pytest.raises(DataError, match="no label is of class 'bird'; there are cat, dog"):
        ClassMap.from_options("", [], ["bird=x"]).check(["cat", "dog"])
    ClassMap.from_options("pet", ["cat,dog=pet"], []).check(["cat", "dog"])
