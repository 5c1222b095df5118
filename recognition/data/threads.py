"""Work on many items by threads, results in the items' order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item, Result = TypeVar("Item"), TypeVar("Result")


def map_in_order(
    work: Callable[[Item], Result], items: Iterable[Item], *, workers: int | None = None
) -> Iterator[Result]:
    """Yield `work(item)` for each item in order, computed a little ahead of the consumer by `workers` threads.

    `workers=None` is a few more than there are cores, since some of them wait for files.
    """
    items = iter(items)
    threads = ThreadPoolExecutor(workers)
    try:
        ahead = [threads.submit(work, item) for item in islice(items, 64)]
        while ahead:
            ahead += [threads.submit(work, item) for item in islice(items, 64)]
            now, ahead = ahead[:64], ahead[64:]
            for future in now:
                yield future.result()
    finally:
        # Ctrl-C or an error: what has not begun never will.
        threads.shutdown(cancel_futures=True)
