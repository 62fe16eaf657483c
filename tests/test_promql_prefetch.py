"""Of a store that is far away, a query's selections are read at the same time."""

import threading
from collections.abc import Sequence

import pytest

from fleetpulse.errors import QueryError, StorageError
from fleetpulse.matchers import Matcher
from fleetpulse.model import Series
from fleetpulse.promql.engine import Engine
from fleetpulse.storage.base import Hints
from tests.promql_fakes import QUERIES, FakeReader, fleet

AT_MS = 1_500_000


class Far(FakeReader):
    """Answers once as many ask as are expected to, or raises what it is told to."""

    concurrent = 4

    def __init__(self, together: int = 1) -> None:
        super().__init__(fleet())
        self.meeting = threading.Barrier(together)
        self.error: Exception | None = None

    def select(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, hints: Hints
    ) -> Sequence[Series]:
        self.meeting.wait(10)
        if self.error is not None:
            raise self.error
        found = super().select(matchers, start_ms, end_ms, hints)
        if hints.max_samples and sum(len(one.times_ms) for one in found) > hints.max_samples:
            raise QueryError("execution", "too many samples")
        return found


def test_three_selections_are_read_at_the_same_time() -> None:
    reader = Far(together=3)
    Engine(reader).instant("sum(load) + sum(rate(cpu_total[5m])) + count(info)", AT_MS)
    assert len(reader.asked) == 3


@pytest.mark.parametrize("query", QUERIES)
def test_answers_are_those_of_a_store_that_is_near(query: str) -> None:
    near, far = Engine(FakeReader(fleet())), Engine(Far())
    assert str(near.instant(query, AT_MS).data) == str(far.instant(query, AT_MS).data)


def test_nothing_is_asked_for_twice() -> None:
    reader = Far()
    Engine(reader).range("load / load + on(host) count by(host)(info)", 600_000, AT_MS, 60_000)
    assert [str(asked[0][0]) for asked in reader.asked] == ['__name__="load"', '__name__="info"']


def test_an_error_of_the_store_is_the_querys() -> None:
    reader = Far()
    reader.error = StorageError("away", retriable=True)
    with pytest.raises(StorageError, match="away"):
        Engine(reader).instant("sum(load) + count(info)", AT_MS)


def test_one_selection_may_be_as_large_as_the_limit_allows() -> None:
    reader = Far()
    samples = sum(len(one.times_ms) for one in fleet() if one.labels.name == "cpu_total")
    engine = Engine(reader, max_samples=2 * samples)
    engine.instant("count(cpu_total) or sum(rate(cpu_total[30m])) or count(none)", AT_MS)


def test_a_faulty_query_is_refused_as_elsewhere() -> None:
    with pytest.raises(QueryError, match="parse error"):
        Engine(Far()).instant("sum(", AT_MS)
