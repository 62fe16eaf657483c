"""What the tests of the embedded store share: a store that closes itself, pages in a line."""

from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from fleetpulse.matchers import Matcher
from fleetpulse.model import Labels, Layout, Page, Series, lines_of
from fleetpulse.storage.base import Hints
from fleetpulse.storage.embedded import EmbeddedStore

# On the border of a span (two hours), so that a few minutes either way cross it.
T0 = 1_699_999_200_000
MINUTE = 60_000

FROM_EVER, FOR_EVER = -(1 << 50), 1 << 50


@contextmanager
def opened(path: Path, *, now_ms: int = T0, read_only: bool = False) -> Iterator[EmbeddedStore]:
    store = EmbeddedStore(path, read_only=read_only, now=lambda: now_ms / 1000)
    try:
        yield store
    finally:
        store.close()


def line(name: str, **labels: str) -> Labels:
    """A line of a page; empty values stay."""
    return lines_of([{"__name__": name, **labels}])[0]


def page(target: Labels, at_ms: int, lines: Mapping[Labels, float]) -> Page:
    return Page.of(target, at_ms, lines)


def timed_page(target: Labels, samples: Sequence[tuple[Labels, int, float]]) -> Page:
    lines, times, values = zip(*samples, strict=True)
    return Page(target, Layout(tuple(lines)), 0, array("d", values), array("q", times))


def bits(values: Sequence[float] | np.ndarray) -> list[int]:
    """Float values as their bit patterns, for comparisons that tell NaN from NaN."""
    found: list[int] = np.array(values, np.float64).view(np.uint64).tolist()
    return found


def samples_of(series: Sequence[Series]) -> dict[Labels, dict[int, int]]:
    """Bit patterns by labels and time; also asserts what every selection promises."""
    assert [one.labels for one in series] == sorted({one.labels for one in series})
    for one in series:
        assert one.times_ms.dtype == np.int64
        assert one.values.dtype == np.float64
        assert len(one.times_ms) == len(one.values) > 0
        assert (np.diff(one.times_ms) > 0).all()
    return {
        one.labels: dict(zip(one.times_ms.tolist(), bits(one.values), strict=True))
        for one in series
    }


def everything(
    store: EmbeddedStore,
    *matchers: Matcher,
    start_ms: int = FROM_EVER,
    end_ms: int = FOR_EVER,
) -> dict[Labels, dict[int, int]]:
    return samples_of(store.select(matchers, start_ms, end_ms, Hints()))
