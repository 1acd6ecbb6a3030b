"""Work for a few threads whose results come back in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_in_order(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    workers: int,
    ahead: int,
    name: str,
    eager: bool = False,
) -> Iterator[Result]:
    """Yields ``function(item)`` of every item, in the order of the items, computed by threads that work ahead.

    ``items`` is read in the caller's thread. Memory does not grow with the number of items. However the iteration
    ends (at its end, by an error or because the caller closes it), the threads have ended when it is over.

    Args:
        function: called in the threads; its errors are raised where its result would have come.
        items: what to work on.
        workers: number of threads, at least 1.
        ahead: how many items may be under work or finished before the result of the first of them is given.
        name: prefix of the threads' names.
        eager: give a result as soon as it is there instead of filling the queue first. For items that take long to
            come, such as the batches of a network; with a slow consumer it would leave the threads idle.
    """
    pending: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix=name)
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            while len(pending) > ahead or (eager and pending and pending[0].done()):
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
