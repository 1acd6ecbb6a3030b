"""Numbers and ids in every spelling that JSON allows."""

from __future__ import annotations

import pytest

from maskrcnn.data.sources.scalars import as_identity, as_integer, as_number


@pytest.mark.parametrize(
    ("value", "number", "integer"),
    [
        (7, 7.0, 7),
        (7.0, 7.0, 7),
        ("7", 7.0, 7),
        (" 7.0 ", 7.0, 7),
        (7.5, 7.5, None),
        ("1e3", 1000.0, 1000),
        (-2, -2.0, -2),
        (True, None, None),
        (None, None, None),
        ("", None, None),
        ("seven", None, None),
        ([7], None, None),
        (float("nan"), None, None),
        (float("inf"), None, None),
        ("nan", None, None),
        (10**400, None, None),
    ],
)
def test_numbers(value, number, integer):
    assert as_number(value) == number
    assert as_integer(value) == integer and type(as_integer(value)) is type(integer)


@pytest.mark.parametrize(
    ("spellings", "identity"),
    [
        ((7, 7.0, "7", " 7 "), 7),
        ((-1, -1.0, "-1"), -1),
        ((0, "0", 0.0, -0.0), 0),
        (("007",), "007"),
        (("a/b.jpg",), "a/b.jpg"),
        ((7.5, "7.5"), "7.5"),
        ((10**30, str(10**30)), str(10**30)),
        (("²",), "²"),
        ((None, True, False, "", "  ", float("nan"), [1], {"a": 1}), None),
    ],
)
def test_ids_are_the_same_in_all_spellings(spellings, identity):
    for value in spellings:
        found = as_identity(value)
        assert found == identity and type(found) is type(identity), value
