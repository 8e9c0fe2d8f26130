"""Work on many things at once, results in their order, in bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Done = TypeVar("Done")


def pipelined(
    items: Iterable[Item], work: Callable[[Item], Done], *, workers: int = 2, ahead: int = 4
) -> Generator[tuple[Item, Done], None, None]:
    """Each of *items* with what *work* makes of it, in the order of *items*.

    *items* is drawn in the caller's thread while up to *workers* others work; at most *ahead* items are under way, so
    memory stays bounded. The first error of *work* is raised at its item's turn; no work goes on after the end,
    an error, or the closing of the generator.
    """
    under_way: deque[tuple[Item, Future[Done]]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="pipelined") as pool:
        try:
            for item in items:
                under_way.append((item, pool.submit(work, item)))
                if len(under_way) >= ahead:
                    first, future = under_way.popleft()
                    yield first, future.result()
            while under_way:
                first, future = under_way.popleft()
                yield first, future.result()
        finally:
            for _, future in under_way:
                future.cancel()
