"""Several readings of one selection at the same time."""

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from itertools import pairwise
from threading import Event

_SLICE_MS = 1_800_000
_MOST_SLICES = 4

Check = Callable[[], None]


def slices(start_ms: int, end_ms: int) -> list[tuple[int, int]]:
    """A time, both ends inclusive, in parts that are worth a request each.

    InfluxDB 1 and 2 work a statement out on one processor, some 2 µs a sample.
    """
    whole = end_ms - start_ms + 1
    count = max(1, min(_MOST_SLICES, whole // _SLICE_MS))
    edges = [start_ms + whole * part // count for part in range(count + 1)]
    return [(begin, end - 1) for begin, end in pairwise(edges)]


class _OverError(Exception):
    """Another reading has failed."""


class Together:
    """Its threads begin with the first readings that are more than one. Safe from any thread."""

    def __init__(self, workers: int) -> None:
        self._pool = ThreadPoolExecutor(workers, "influx")

    def run(self, works: Sequence[Callable[[Check], None]]) -> None:
        """Back once all are done. The first failure ends all: each calls its Check now and then."""
        if len(works) == 1:
            works[0](lambda: None)
            return
        over = Event()

        def check() -> None:
            if over.is_set():
                raise _OverError

        tasks = [self._pool.submit(work, check) for work in works]
        try:
            _wait_for(tasks)
        finally:
            over.set()
            for task in tasks:
                task.cancel()

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


def _wait_for(tasks: Sequence["Future[None]"]) -> None:
    done, _ = wait(tasks, return_when=FIRST_EXCEPTION)
    for task in done:
        task.result()
