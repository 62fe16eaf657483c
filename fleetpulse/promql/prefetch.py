"""Reads what a query selects at the same time, where a store is far away.

Which selections there are, with their bounds and hints, is found by working the query out once over
nothing at all: that takes about a millisecond, and asks for just what the query itself asks for,
but for what depends on data. A store that is far away says so by `concurrent`.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from types import TracebackType
from typing import Self, cast

from fleetpulse.errors import QueryError
from fleetpulse.matchers import Matcher
from fleetpulse.model import Labels, Metadata, Series
from fleetpulse.promql.context import Annotations, EvalContext
from fleetpulse.promql.stats import Seen
from fleetpulse.storage.base import Hints, MatcherSets, SeriesReader

Selection = tuple[tuple[Matcher, ...], int, int, Hints]

_MOST = 64  # selections of a query that are read ahead
_QUERIES = 4  # that may do so at the same time before one waits for another


class Noting:
    """A store that has nothing and notes what it is asked for."""

    def __init__(self) -> None:
        self.asked: dict[Selection, None] = {}

    def select(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, hints: Hints
    ) -> Sequence[Series]:
        self.asked[_key(matchers, start_ms, end_ms, hints)] = None
        return []


def selections(
    ctx: EvalContext, work: Callable[[SeriesReader, EvalContext], object]
) -> list[Selection]:
    """What a query will ask for; work is its evaluation over a reader."""
    noting = Noting()
    budget = replace(ctx.budget)
    alike = replace(ctx, budget=budget, annotations=Annotations(), seen=Seen())
    try:
        work(cast(SeriesReader, noting), alike)  # evaluation selects, and nothing else
    except QueryError:
        return []  # it will be raised where it counts
    return list(noting.asked)[:_MOST]


def pool_for(reader: object) -> Executor:
    """What readings of all queries run in. To start threads for each query takes longer than many
    a reading; these are started when they are wanted."""
    return ThreadPoolExecutor(_QUERIES * getattr(reader, "concurrent", 1), "prefetch")


class Prefetched:
    """The reader with some selections under way. A context manager: leaving it waits for them."""

    def __init__(
        self, reader: SeriesReader, wanted: Sequence[Selection], hints: Hints, pool: Executor
    ) -> None:
        """hints: of the limits, which all selections together keep to."""
        self._reader, self._wanted, self._pool = reader, wanted, pool
        self._hints = replace(hints, max_samples=max(1, hints.max_samples // len(wanted)))
        self._under_way: list[Future[Sequence[Series]]] = []
        self._found: dict[Selection, Future[Sequence[Series]]] = {}

    def __enter__(self) -> Self:
        self._under_way = [self._pool.submit(self._read, one) for one in self._wanted]
        self._found = dict(zip(self._wanted, self._under_way, strict=True))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        wait([one for one in self._under_way if not one.cancel()])

    def select(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, hints: Hints
    ) -> Sequence[Series]:
        ahead = self._found.pop(_key(matchers, start_ms, end_ms, hints), None)
        if ahead is not None:
            try:
                return ahead.result()
            except QueryError as err:
                if err.error_type != "execution":
                    raise
                # Of one alone more may be read than of each of several.
        return self._reader.select(matchers, start_ms, end_ms, hints)

    def labels(self, sets: MatcherSets, start_ms: int, end_ms: int) -> list[str]:
        return self._reader.labels(sets, start_ms, end_ms)

    def label_values(self, name: str, sets: MatcherSets, start_ms: int, end_ms: int) -> list[str]:
        return self._reader.label_values(name, sets, start_ms, end_ms)

    def series(self, sets: MatcherSets, start_ms: int, end_ms: int) -> list[Labels]:
        return self._reader.series(sets, start_ms, end_ms)

    def metadata(self) -> Mapping[str, Metadata]:
        return self._reader.metadata()

    def _read(self, one: Selection) -> Sequence[Series]:
        matchers, start_ms, end_ms, hints = one
        limits = self._hints
        bounded = replace(
            hints,
            max_samples=limits.max_samples,
            max_series=limits.max_series,
            check=limits.check,
            seconds=limits.seconds,
        )
        return self._reader.select(matchers, start_ms, end_ms, bounded)


def _key(matchers: Sequence[Matcher], start_ms: int, end_ms: int, hints: Hints) -> Selection:
    """Without the limits: how much is left differs from one selection to the next."""
    return tuple(matchers), start_ms, end_ms, replace(hints, max_samples=0, max_series=0)
