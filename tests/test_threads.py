"""Ordered results of threads: order, bounded memory, errors, and no thread left behind."""

from __future__ import annotations

import threading
import time

import pytest

from maskrcnn.threads import map_in_order

NAME = "in-order"


def running() -> int:
    return sum(thread.name.startswith(NAME) for thread in threading.enumerate())


def slow_first(number: int) -> int:
    time.sleep(0.03 if number % 3 == 0 else 0.0)
    return number * number


@pytest.mark.parametrize("workers", [1, 2, 7])
@pytest.mark.parametrize("ahead", [1, 4, 100])
@pytest.mark.parametrize("eager", [False, True])
def test_results_come_in_the_order_of_the_items(workers, ahead, eager):
    found = list(map_in_order(slow_first, range(12), workers=workers, ahead=ahead, name=NAME, eager=eager))
    assert found == [number * number for number in range(12)]
    assert not running()


def test_no_items_give_no_results():
    assert list(map_in_order(slow_first, [], workers=2, ahead=2, name=NAME)) == []


def test_items_are_read_only_so_far_ahead():
    read = []

    def items():
        for number in range(20):
            read.append(number)
            yield number

    for number, _ in enumerate(map_in_order(slow_first, items(), workers=2, ahead=3, name=NAME)):
        assert len(read) <= number + 1 + 3


def test_an_eager_iteration_gives_what_is_done_before_it_reads_on():
    read, given = [], []

    def items():
        for number in range(4):
            read.append(number)
            yield number
            time.sleep(0.1)  # long enough for the thread to finish

    for result in map_in_order(lambda number: number, items(), workers=1, ahead=10, name=NAME, eager=True):
        given.append((result, len(read)))
    assert [result for result, _ in given] == [0, 1, 2, 3]
    assert given[0][1] <= 2, "the first result waited until all items had been read"


def test_errors_come_where_the_result_would_have_and_end_the_threads():
    def fails(number: int) -> int:
        if number == 3:
            raise KeyError("three")
        return number

    found = []
    with pytest.raises(KeyError, match="three"):
        for result in map_in_order(fails, range(10), workers=2, ahead=4, name=NAME):
            found.append(result)
    assert found == [0, 1, 2] and not running()

    def broken_items():
        yield 1
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        list(map_in_order(fails, broken_items(), workers=2, ahead=4, name=NAME))
    assert not running()


def test_closing_early_ends_the_threads():
    results = map_in_order(slow_first, range(1000), workers=3, ahead=5, name=NAME)
    assert next(results) == 0
    assert running()
    results.close()
    assert not running()
