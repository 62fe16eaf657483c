"""The engine's answers, limits and errors through its public door."""

import threading
from collections.abc import Sequence

import pytest

from fleetpulse.errors import QueryError
from fleetpulse.matchers import Matcher
from fleetpulse.model import Labels, Series
from fleetpulse.promql.engine import Engine
from fleetpulse.promql.result import Matrix, QueryEngine, Scalar, String, Vector
from fleetpulse.storage.base import Hints
from tests.promql_fakes import QUERIES, FakeReader, fleet, series

STEP_MS = 10_000
BASE_MS = 1_700_000_000_000


def up(count: int = 3, samples: int = 100) -> FakeReader:
    return FakeReader(
        series(
            Labels.of(__name__="up", instance=str(i)),
            [(at * STEP_MS, float(i)) for at in range(samples)],
        )
        for i in range(count)
    )


class Clock:
    """A clock that goes on by so much each time it is read."""

    def __init__(self, tick: float) -> None:
        self.tick, self.time = tick, 0.0

    def __call__(self) -> float:
        self.time += self.tick
        return self.time


class BlockedReader(FakeReader):
    """Says when a selection began, and keeps it until it is let go."""

    def __init__(self) -> None:
        super().__init__(up().held)
        self.began, self.go_on = threading.Event(), threading.Event()

    def select(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, hints: Hints
    ) -> Sequence[Series]:
        self.began.set()
        assert self.go_on.wait(10)
        return super().select(matchers, start_ms, end_ms, hints)


def test_instant_answers_each_of_the_four_types() -> None:
    engine: QueryEngine = Engine(up(1))
    assert engine.instant("1 + 2", 5_000).data == Scalar(5_000, 3.0)
    assert engine.instant('"text"', 5_000).data == String(5_000, "text")
    vector = engine.instant("up", 60_000).data
    assert isinstance(vector, Vector)
    assert list(vector.labels) == [Labels.of(__name__="up", instance="0")]
    matrix = engine.instant("up[20s]", 60_000).data
    assert isinstance(matrix, Matrix)
    assert matrix.series[0].times_ms.tolist() == [50_000, 60_000]


def test_range_is_sorted_by_labels_and_ends_at_the_last_step() -> None:
    data = Engine(up()).range("topk(3, up)", 0, 35_000, 10_000).data
    assert isinstance(data, Matrix)
    assert [one.labels.get("instance") for one in data.series] == ["0", "1", "2"]
    assert data.series[0].times_ms.tolist() == [0, 10_000, 20_000, 30_000]


def test_scalar_range_is_one_series_without_labels() -> None:
    data = Engine(up()).range("time()", 1_000, 3_000, 1_000).data
    assert isinstance(data, Matrix)
    assert [(one.labels, one.values.tolist()) for one in data.series] == [
        (Labels(), [1.0, 2.0, 3.0])
    ]


def test_empty_answers_have_their_type_all_the_same() -> None:
    vector = Engine(FakeReader()).instant("up", 0).data
    assert isinstance(vector, Vector)
    assert not list(vector.labels)
    assert Engine(FakeReader()).range("rate(up[5m])", 0, 60_000, 30_000).data == Matrix([])


BAD_RANGES = [
    pytest.param(0, 10, 0, "zero or negative query resolution", id="no step"),
    pytest.param(0, 10, -5, "zero or negative query resolution", id="a negative step"),
    pytest.param(10, 0, 5, "end timestamp must not be before start", id="end before start"),
    pytest.param(
        0,
        11_001 * 1000,
        1000,
        "exceeded maximum resolution of 11,000 points per timeseries."
        r" Try decreasing the query resolution \(\?step=XX\)",
        id="too many points",
    ),
]


@pytest.mark.parametrize(("start", "end", "step", "message"), BAD_RANGES)
def test_bad_range_is_refused(start: int, end: int, step: int, message: str) -> None:
    with pytest.raises(QueryError, match=message) as caught:
        Engine(up()).range("up", start, end, step)
    assert caught.value.error_type == "bad_data"


def test_eleven_thousand_steps_are_fine() -> None:
    data = Engine(up(1)).range("vector(1)", 0, 11_000 * 1000, 1000).data
    assert isinstance(data, Matrix)
    assert len(data.series[0].values) == 11_001


@pytest.mark.parametrize(("query", "kind"), [("up[5m]", "range vector"), ('"x"', "string")])
def test_range_query_takes_scalars_and_instant_vectors_only(query: str, kind: str) -> None:
    with pytest.raises(QueryError, match=f'invalid expression type "{kind}"') as caught:
        Engine(up()).range(query, 0, 1000, 1000)
    assert caught.value.error_type == "bad_data"


def test_query_that_takes_too_long_times_out() -> None:
    engine = Engine(up(), timeout=10.0, now=Clock(1.0))
    with pytest.raises(QueryError, match="query timed out in expression evaluation") as caught:
        engine.instant(" + ".join(["sum(up)"] * 50), 60_000)
    assert caught.value.error_type == "timeout"
    # The same is fine where the clock hardly moves.
    assert Engine(up(), timeout=10.0, now=Clock(0.001)).instant("sum(up)", 60_000)


def test_callers_timeout_shortens_the_engines_but_never_lengthens_it() -> None:
    query = " + ".join(["sum(up)"] * 5)
    with pytest.raises(QueryError, match="timed out"):
        Engine(up(), timeout=1000.0, now=Clock(1.0)).instant(query, 60_000, timeout=5.0)
    with pytest.raises(QueryError, match="timed out"):
        Engine(up(), timeout=5.0, now=Clock(1.0)).instant(query, 60_000, timeout=1000.0)


TOO_MANY = [
    pytest.param("up", id="steps of a selector"),
    pytest.param("rate(up[5m])", id="steps of a function"),
    pytest.param("sum_over_time(up[1h:1s])", id="steps of a subquery"),
    pytest.param("sum_over_time(vector(1)[1000d:1s])", id="a subquery of nothing but steps"),
]


@pytest.mark.parametrize("query", TOO_MANY)
def test_too_many_samples_are_refused(query: str) -> None:
    engine = Engine(up(3), max_samples=400)
    with pytest.raises(QueryError, match="would load too many samples into memory") as caught:
        engine.range(query, 100_000, 900_000, 2_000)
    assert caught.value.error_type == "execution"


def test_too_many_series_are_refused() -> None:
    assert Engine(up(3), max_series=3).instant("up", 0)
    with pytest.raises(QueryError, match="matches 3 series; at most 2") as caught:
        Engine(up(3), max_series=2).instant("up", 0)
    assert caught.value.error_type == "execution"


def test_queries_past_the_limit_wait_for_their_turn_and_give_up_in_time() -> None:
    reader = BlockedReader()
    engine = Engine(reader, max_concurrency=1)
    first = threading.Thread(target=engine.instant, args=("up", 0))
    first.start()
    try:
        assert reader.began.wait(10)
        with pytest.raises(QueryError, match="query timed out in query queue") as caught:
            engine.instant("1", 0, timeout=0.01)
        assert caught.value.error_type == "timeout"
    finally:
        reader.go_on.set()
        first.join(10)
    assert engine.instant("1", 0, timeout=5.0).data == Scalar(0, 1.0)


def test_failed_query_gives_its_turn_back() -> None:
    engine = Engine(up(), max_concurrency=1)
    for _ in range(3):
        with pytest.raises(QueryError, match="many-to-many"):
            engine.instant("up + on() up", 60_000)
    assert engine.instant("1", 0, timeout=1.0)


SELECTIONS = [
    pytest.param("up", 101_000, 400_999, (300_000, 0, ""), id="look-back: the newest is enough"),
    pytest.param("sum(up)", 101_000, 400_999, (300_000, 0, "sum"), id="the aggregation is told"),
    pytest.param("rate(up[1m])", 341_000, 400_999, (0, 60_000, "rate"), id="the range is told"),
    pytest.param("up offset 1m", 41_000, 340_999, (300_000, 0, ""), id="offset"),
    pytest.param("up @ 1000 offset -1m", 760_001, 1_060_000, (300_000, 0, ""), id="@ and offset"),
]


@pytest.mark.parametrize(("query", "start", "end", "hints"), SELECTIONS)
def test_store_is_asked_for_what_is_needed_only(
    query: str, start: int, end: int, hints: tuple[int, int, str]
) -> None:
    """Left-open: the first millisecond that counts is one after the bound."""
    reader = up()
    Engine(reader).instant(query, 400_999)
    ((matchers, asked_start, asked_end, given),) = reader.asked
    assert [str(matcher) for matcher in matchers] == ['__name__="up"']
    assert (asked_start, asked_end) == (start, end)
    assert (given.step_ms, given.range_ms, given.func) == hints
    assert given.max_samples > 0
    assert 0 < given.seconds <= 120


def test_times_out_of_bounds_are_refused() -> None:
    with pytest.raises(QueryError, match="timestamp out of bounds") as caught:
        Engine(up()).instant("up", 2**63)
    assert caught.value.error_type == "bad_data"


def test_no_time_left_is_a_timeout() -> None:
    with pytest.raises(QueryError, match="timed out") as caught:
        Engine(up()).instant("1", 0, timeout=-1.0)
    assert caught.value.error_type == "timeout"


def test_same_selection_is_fetched_once() -> None:
    reader = up()
    Engine(reader).instant("up / (up + up)", 60_000)
    assert len(reader.asked) == 1


def test_step_invariant_part_is_asked_for_once_for_all_steps() -> None:
    reader = up()
    Engine(reader).range("sum(rate(up[1m] @ 100))", 0, 900_000, 1_000)
    ((_, start, end, _),) = reader.asked
    assert (start, end) == (40_001, 100_000)


def test_warnings_are_told_once_and_bounded() -> None:
    names = [f"metric_{i}" for i in range(15)]
    reader = FakeReader(
        series(Labels.of(__name__=name), [(0, 1.0), (10_000, 2.0)]) for name in names
    )
    query = " or ".join(f"rate({name}[1m])" for name in names)
    infos = Engine(reader).instant(query, 10_000).infos
    assert len(infos) == 11
    assert infos[0].endswith('"metric_0" (1:6)')
    assert infos[-1] == "5 more info annotations omitted"
    once = Engine(reader).range("rate(metric_0[1m])", 0, 60_000, 10_000).infos
    assert len(once) == 1


UNSUPPORTED = [
    pytest.param("rate(up[5m] anchored)", "not supported: anchored", id="anchored"),
]


@pytest.mark.parametrize(("query", "message"), UNSUPPORTED)
def test_what_is_not_supported_says_so(query: str, message: str) -> None:
    with pytest.raises(QueryError, match=message) as caught:
        Engine(up()).instant(query, 0)
    assert caught.value.error_type == "bad_data"


def test_long_chain_of_operators_needs_no_deep_stack() -> None:
    data = Engine(up(1)).instant(" + ".join(["1"] * 500), 0).data
    assert data == Scalar(0, 500.0)


def test_engine_answers_many_threads_at_once() -> None:
    engine = Engine(up())
    answers: list[object] = []

    def ask() -> None:
        result = engine.range("sum(rate(up[1m]))", 100_000, 900_000, 10_000)
        assert isinstance(result.data, Matrix)
        answers.append(tuple(result.data.series[0].values.tolist()))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(answers) == 8
    assert len(set(answers)) == 1


@pytest.mark.parametrize("query", QUERIES)
def test_range_equals_the_instants_at_its_steps(query: str) -> None:
    engine = Engine(FakeReader(fleet(BASE_MS)))
    start, end, step = BASE_MS + 900_000, BASE_MS + 2_100_000, 37_000
    data = engine.range(query, start, end, step).data
    assert isinstance(data, Matrix)
    ranged = {
        (one.labels, at): value
        for one in data.series
        for at, value in zip(one.times_ms.tolist(), one.values.tolist(), strict=True)
    }
    single = {}
    for at in range(start, end + 1, step):
        vector = engine.instant(query, at).data
        assert isinstance(vector, Vector)
        for labels, value in zip(vector.labels, vector.values.tolist(), strict=True):
            single[labels, at] = value
    assert len(single) > 10
    assert ranged.keys() == single.keys()
    assert ranged == pytest.approx(single, rel=1e-9, abs=1e-12, nan_ok=True)
