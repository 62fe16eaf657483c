"""What a query may hold and how it ends: weights, the queue, whoever asks and leaves, stats."""

import threading
from collections.abc import Callable, Sequence

import pytest

from fleetpulse.errors import QueryError
from fleetpulse.matchers import Matcher
from fleetpulse.model import Labels, Series
from fleetpulse.promql.asker import Asker, asked_by
from fleetpulse.promql.engine import Engine
from fleetpulse.promql.frames import ROW
from fleetpulse.promql.result import Matrix, QueryEngine, Result, Vector
from fleetpulse.promql.stats import QueryStats
from fleetpulse.storage.base import Hints
from tests.promql_fakes import FakeReader, series
from tests.support import wait_for

STEP_MS = 10_000
TOO_MANY = "would load too many samples into memory"


def gauges(count: int = 3, samples: int = 100, **labels: str) -> FakeReader:
    return FakeReader(
        series(
            Labels.of(__name__="up", instance=str(i), **labels),
            [(at * STEP_MS, float(i)) for at in range(samples)],
        )
        for i in range(count)
    )


class Clock:
    """Stands still but for what a test adds; waits: how often it was read."""

    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        self.time += 0.06  # long enough for the next look at whoever asks
        return self.time


def stats_of(result: Result) -> QueryStats:
    assert result.stats is not None
    return result.stats


def test_a_query_that_is_done_with_a_frame_has_its_room_again() -> None:
    # Each of the sums holds no more than one of them does, however many there are.
    query = " + ".join(["sum(up)"] * 100)
    alone = stats_of(Engine(gauges()).range("sum(up)", 0, 900_000, 1_000)).peak
    assert stats_of(Engine(gauges()).range(query, 0, 900_000, 1_000)).peak < 2 * alone


HELD = [
    pytest.param("up + (up + (up + (up + up)))", id="operands to the left of a bracket"),
    pytest.param("clamp(up, scalar(sum(up)), scalar(max(up)))", id="arguments"),
    pytest.param(
        "sum_over_time(sum_over_time(sum_over_time(vector(1)[100s:1s])[1s:1ms])[1s:1ms])",
        id="the steps of each subquery in another",
    ),
]


@pytest.mark.parametrize("query", HELD)
def test_what_is_held_at_the_same_time_counts_together(query: str) -> None:
    peak = stats_of(Engine(gauges()).range(query, 0, 900_000, 1_000)).peak
    assert Engine(gauges(), max_samples=peak).range(query, 0, 900_000, 1_000)
    with pytest.raises(QueryError, match=TOO_MANY) as caught:
        Engine(gauges(), max_samples=peak - 1).range(query, 0, 900_000, 1_000)
    assert caught.value.error_type == "execution"
    assert f"more than {peak - 1:,}" in str(caught.value)
    assert "raise max_samples" in str(caught.value)


def test_a_series_weighs_more_than_its_samples() -> None:
    reader = gauges(1000, 1)
    assert stats_of(Engine(reader).instant("up", 0)).peak >= 1000 * (1 + ROW)
    with pytest.raises(QueryError, match=TOO_MANY):
        Engine(reader, max_samples=10_000).instant("up", 0)


def doubled(label: str, times: int) -> str:
    query = "up"
    for _ in range(times):
        query = f'label_join({query}, "{label}", "", "{label}", "{label}", "{label}", "{label}")'
    return query


def replaced(label: str, times: int) -> str:
    query = "up"
    for _ in range(times):
        query = f'label_replace({query}, "{label}", "{"$1" * 3000}", "{label}", "(.*)")'
    return query


GROWING = [
    pytest.param(doubled("job", 30), id="label_join"),
    pytest.param(replaced("job", 3), id="label_replace"),
]


@pytest.mark.parametrize("query", GROWING)
def test_labels_that_grow_without_end_are_refused(query: str) -> None:
    with pytest.raises(QueryError, match=TOO_MANY):
        Engine(gauges(job="node"), max_samples=1_000_000).instant(query, 0)
    assert Engine(gauges(job="node")).instant(doubled("job", 3), 0)


def test_texts_of_warnings_are_bounded() -> None:
    query = "sum_over_time(quantile(vector(time() + 2), up)[1h:1s])".replace(
        "quantile(vector(time() + 2), up)", "quantile_over_time(2 + scalar(up * time()), up[1m])"
    )
    warnings = Engine(gauges(1)).instant(query, 3_600_000).warnings
    assert len(warnings) <= 11


def test_a_query_of_its_own_lookback() -> None:
    engine = Engine(gauges(1, 1), lookback_ms=300_000)

    def found(lookback_ms: int | None) -> int:
        data = engine.instant("up", 60_000, lookback_ms=lookback_ms).data
        assert isinstance(data, Vector)
        return len(data.labels)

    assert [found(None), found(30_000), found(61_000), found(0)] == [1, 0, 1, 1]
    ranged = engine.range("up", 0, 60_000, 30_000, lookback_ms=10_000).data
    assert isinstance(ranged, Matrix)
    assert [one.times_ms.tolist() for one in ranged.series] == [[0]]


# What Debian's Prometheus (2.42) says of the same samples, queries and steps.
SAMPLES = [
    pytest.param("up", [3, 3, 3], id="a selector: its series at each step"),
    pytest.param("sum_over_time(up[20s])", [6, 6, 6], id="a range: its samples at each step"),
    pytest.param("up @ 100", [3, 3, 3], id="what is fixed in time counts at each step"),
    pytest.param(
        "max_over_time(up[20s:10s])", [6, 6, 6], id="a subquery: what it gives to the function"
    ),
    pytest.param("1", [0, 0, 0], id="nothing"),
]


@pytest.mark.parametrize(("query", "each"), SAMPLES)
def test_samples_are_counted_as_prometheus_does(query: str, each: list[int]) -> None:
    with asked_by(Asker(per_step=True)):
        stats = stats_of(Engine(gauges()).range(query, 500_000, 520_000, 10_000))
    assert [count for _, count in stats.per_step] == each
    assert [at for at, _ in stats.per_step] == [500_000, 510_000, 520_000]
    assert stats.samples == sum(each)
    assert stats_of(Engine(gauges()).range(query, 500_000, 520_000, 10_000)).per_step == ()


def test_samples_of_an_instants_raw_answer() -> None:
    assert stats_of(Engine(gauges()).instant("up[50s]", 500_000)).samples == 15


def test_times_are_told_apart() -> None:
    clock = Clock()

    class SlowReader(FakeReader):
        def select(
            self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, hints: Hints
        ) -> Sequence[Series]:
            clock.time += 10
            return super().select(matchers, start_ms, end_ms, hints)

    stats = stats_of(Engine(SlowReader(gauges().held), now=clock).instant("up", 0))
    assert 10 < stats.store < 11
    assert 0 < stats.evaluated < 2
    assert 0 < stats.shaped < 1
    assert stats.series == 3


def test_a_query_stops_once_nobody_waits_for_it() -> None:
    left = iter([False] * 20 + [True])
    asker = Asker(gone=lambda: next(left))
    with asked_by(asker), pytest.raises(QueryError, match="canceled in expression") as caught:
        Engine(gauges(), now=Clock()).instant(" + ".join(["sum(up)"] * 50), 0)
    assert caught.value.error_type == "canceled"
    assert asker.stats.series == 3


def test_the_store_is_told_how_to_ask_whether_to_go_on() -> None:
    class Checking(FakeReader):
        def select(
            self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, hints: Hints
        ) -> Sequence[Series]:
            assert hints.check is not None
            hints.check()
            raise AssertionError("the check ends it")

    gone = iter([False, False, False, True, True])
    with asked_by(Asker(gone=lambda: next(gone))), pytest.raises(QueryError, match="canceled"):
        Engine(Checking(), now=Clock()).instant("up", 0)


class BlockedReader(FakeReader):
    """Keeps each selection until it is let go; tells which ones came, in order."""

    def __init__(self) -> None:
        super().__init__(gauges().held)
        self.go_on, self.came = threading.Semaphore(0), 0

    def select(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, hints: Hints
    ) -> Sequence[Series]:
        self.came += 1
        assert self.go_on.acquire(timeout=20)
        return super().select(matchers, start_ms, end_ms, hints)


class Query(threading.Thread):
    """A question in a thread of its own; what became of it is in error."""

    def __init__(self, engine: QueryEngine, gone: Callable[[], bool] = lambda: False) -> None:
        super().__init__()
        self.began = threading.Event()
        self._engine = engine
        self.asker = Asker(gone=gone, began=self.began.set)
        self.error: QueryError | None = None
        self.start()

    def run(self) -> None:
        try:
            with asked_by(self.asker):
                self._engine.instant("up", 0)
        except QueryError as err:
            self.error = err


def test_queries_come_to_their_turn_in_their_order_and_may_leave_the_queue() -> None:
    reader = BlockedReader()
    engine = Engine(reader, max_concurrency=1)
    left = threading.Event()
    first = Query(engine)
    wait_for("the first to begin", first.began.is_set)
    leaving = Query(engine, left.is_set)
    others = [Query(engine)]
    left.set()
    leaving.join(20)
    assert leaving.error is not None
    assert (leaving.error.error_type, str(leaving.error)) == (
        "canceled",
        "query was canceled in query queue",
    )
    others.append(Query(engine))
    assert not any(other.began.is_set() for other in others)
    reader.go_on.release()
    wait_for("the next to begin", lambda: any(other.began.is_set() for other in others))
    assert others[0].began.is_set()
    assert not others[1].began.is_set()
    for _ in others:
        reader.go_on.release()
    for query in (first, *others):
        query.join(20)
        assert query.error is None
    assert others[1].asker.stats.queued > 0


def test_the_error_of_a_timeout_says_where_and_how_long() -> None:
    engine = Engine(gauges(), now=Clock(), timeout=1.0)
    with pytest.raises(QueryError, match=r"timed out in expression evaluation after 1s: ask for"):
        engine.instant(" + ".join(["sum(up)"] * 50), 0)
