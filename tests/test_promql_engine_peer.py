"""The engine's answers beside a real Prometheus' over the same samples."""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from fleetpulse.errors import QueryError
from fleetpulse.promql.engine import Engine
from fleetpulse.promql.result import QueryEngine, Result
from fleetpulse.promql.syntax import parse
from fleetpulse.storage.embedded import EmbeddedStore
from fleetpulse_cli.importer import import_file
from tests.promql_fakes import QUERIES, FakeReader, fleet
from tests.promql_peer import (
    NEEDS_PEER,
    Answer,
    Peer,
    difference,
    open_metrics,
    ours,
    prometheus,
)
from tests.promql_samples import held
from tests.promqlgen import Generator

BASE_MS = 1_700_000_000_000
# No sample lies on the bound of a window: there Prometheus 2 and 3 differ.
START_MS, END_MS, STEP_MS = BASE_MS + 901_234, BASE_MS + 2_101_234, 37_000

pytestmark = NEEDS_PEER


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    """A Prometheus that holds the fleet's samples."""
    folder = tmp_path_factory.mktemp("prometheus")
    page = folder / "page.txt"
    page.write_text(open_metrics(fleet(BASE_MS, ending=False)))
    with prometheus(folder, page) as running:
        yield running


@pytest.mark.parametrize("query", QUERIES)
def test_range_equals_prometheus(peer: Peer, query: str) -> None:
    wanted = peer.range(query, START_MS, END_MS, STEP_MS)
    engine = Engine(FakeReader(fleet(BASE_MS, ending=False)))
    got = ours(engine.range(query, START_MS, END_MS, STEP_MS).data)
    assert wanted
    assert not isinstance(wanted, str)
    assert not difference(wanted, got)


# What reads wrong or is wrong by its types; Prometheus 2.42 has the same words as 3 for these.
BROKEN = [
    "up up",
    "up +",
    "(up",
    "up]",
    "up}",
    "up{1}",
    "up{a}",
    "up{a=b}",
    "up{a='b' c='d'}",
    "up{a='b'",
    "up{a='b' or c='d'}",
    "up{{a='b'}",
    "sum by (inf) (up)",
    "sum(up up)",
    "sum by up",
    "sum by (1) (up)",
    "sum()",
    "topk(up)",
    "foo(up)",
    "abs(up, )",
    "abs()",
    "round(up, 1, 2)",
    "1 + abs(1)",
    "sum(1)",
    "topk(up, up)",
    "up\n  + bool up",
    "1 > 2",
    "up + up[5m:]",
    "up + on(a) 1",
    "up and 1",
    "up or on(a) group_left up",
    "up * on(a) group_left(a) up",
    '-"a"',
    "up[5m:][5m:]",
    'up{__name__="a"}',
    '{a=""}',
    "1 !~ 1",
    "1 = 1",
    "bool",
    "a:b(up)",
    "up @ up",
    "up @ 1 @ 2",
    "(up) offset 1m",
    "sum(up)[5m]",
    '"\\q"',
    "up;",
    "",
]


@pytest.mark.parametrize("query", BROKEN)
def test_faults_are_told_in_the_same_words_and_place(peer: Peer, query: str) -> None:
    wanted = peer.instant(query, BASE_MS)
    with pytest.raises(QueryError) as caught:
        parse(query)
    assert str(caught.value) == wanted


# The milliseconds differ from those of all samples, and so do those of subqueries' steps (0).
RANDOM_START_MS, RANDOM_END_MS, RANDOM_STEP_MS = BASE_MS + 1_200_950, BASE_MS + 3_000_950, 73_000
RANDOM_AT_MS = BASE_MS + 2_345_950
BATCHES, BATCH = 20, 50
# At an instant only these fix the order of the answer.
ORDERED = ("sort", "topk (", "bottomk (")


@dataclass(slots=True)
class Both:
    """The same samples, imported from the same page, in Prometheus and in the embedded store."""

    peer: Peer
    engine: QueryEngine
    tally: Counter[str] = field(default_factory=Counter)

    def differences(self, query: str) -> Iterator[str]:
        times = RANDOM_START_MS, RANDOM_END_MS, RANDOM_STEP_MS
        wanted = self.peer.range(query, *times)
        got = self._answer(lambda: self.engine.range(query, *times))
        yield self._compared(wanted, got, ordered=True)
        wanted = self.peer.instant(query, RANDOM_AT_MS)
        got = self._answer(lambda: self.engine.instant(query, RANDOM_AT_MS))
        yield self._compared(wanted, got, ordered=query.startswith(ORDERED))

    def _answer(self, ask: Callable[[], Result]) -> Answer:
        try:
            return ours(ask().data)
        except QueryError as err:
            return str(err)

    def _compared(self, wanted: Answer, got: Answer, *, ordered: bool) -> str:
        if isinstance(wanted, str) or isinstance(got, str):
            self.tally["refused"] += 1
            both = isinstance(wanted, str) and isinstance(got, str)
            return "" if both else f"got {str(got)[:200]}, expected {str(wanted)[:200]}"
        self.tally["answered" if wanted else "empty"] += 1
        if ordered and wanted.keys() == got.keys() and list(wanted) != list(got):
            return f"order is {[*map(str, got)][:5]}, expected {[*map(str, wanted)][:5]}"
        return difference(wanted, got)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    folder = tmp_path_factory.mktemp("random")
    page = folder / "page.txt"
    page.write_text(open_metrics(held(BASE_MS)))
    store = EmbeddedStore(folder / "store.db")
    with contextlib.closing(store), prometheus(folder, page) as running:
        import_file(page, store, quiet=True)
        store.compact()
        yield Both(running, Engine(store))


@pytest.mark.parametrize("batch", range(BATCHES))
def test_random_queries_have_the_same_answers(both: Both, batch: int) -> None:
    """20 × 50 expressions, nested to depth 4, each over a range and at an instant."""
    faults = []
    for number in range(BATCH):
        query = Generator(f"{batch}/{number}", (BASE_MS + 2_000_950) / 1000).query(depth=4)
        faults += [f"{query}\n    {one}" for one in both.differences(query) if one]
    assert not faults, "\n".join(faults)


def test_random_queries_mostly_have_answers(both: Both) -> None:
    """Else the test above would show nothing. It runs after it, in the same module."""
    asked = both.tally.total()
    assert both.tally["answered"] >= 0.8 * asked
    assert both.tally["refused"] <= 0.01 * asked
