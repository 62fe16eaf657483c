"""Whatever the store: PromQL scripts and the shipped rules give the same."""

import math
from array import array
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from fleetpulse.matchers import Matcher, all_match
from fleetpulse.model import Labels, Layout, Metadata, Page, Series, is_stale
from fleetpulse.storage.base import Hints, MatcherSets
from tests.every_store import Stores, kinds, opened, stores
from tests.promqlscript import Load
from tests.promqltest import Outcome, ScriptReader, run_script
from tests.rules_unittest import Case, read_tests, run
from tests.test_promql_scripts import OWN, PEER, ROUNDED, make_engine, scripts

# Of those that go on for hours a store is asked thousands of times, and nothing new.
SHORT = 2 * 3600
UNIT_TESTS = Path(__file__).parent / "data" / "rules" / "shipped_test.yml"


@pytest.fixture(scope="module", params=kinds())
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stores]:
    with stores(request.param, tmp_path_factory.mktemp("server")) as found:
        yield found


class Loaded:
    """A store that a script, or a rule's test, loads series into."""

    def __init__(self, running: Stores, folder: Path) -> None:
        self._running, self._folder, self._count = running, folder, 0
        self.native: list[Labels] = []
        self.met_native = False
        self._open()

    def load(self, command: Load) -> None:
        pages = [
            page_of(
                labels, {at * command.step_ms: v for at, v in enumerate(points) if v is not None}
            )
            for labels, points in command.rows
        ]
        self.write(pages)
        self.native += command.native

    def write(self, pages: Sequence[Page]) -> None:
        self._store.write(*pages)

    def describe(self, metadata: Mapping[str, Metadata]) -> None:
        """No rule says anything of a metric."""

    def clear(self) -> "Loaded":
        self.close()
        self.native, self.met_native = [], False
        self._open()
        return self

    def close(self) -> None:
        self._context.__exit__(None, None, None)

    def select(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, hints: Hints
    ) -> Sequence[Series]:
        self.met_native |= any(all_match(matchers, labels) for labels in self.native)
        return self._store.reader.select(matchers, start_ms, end_ms, hints)

    def labels(self, sets: MatcherSets, start_ms: int, end_ms: int) -> list[str]:
        return self._store.reader.labels(sets, start_ms, end_ms)

    def label_values(self, name: str, sets: MatcherSets, start_ms: int, end_ms: int) -> list[str]:
        return self._store.reader.label_values(name, sets, start_ms, end_ms)

    def series(self, sets: MatcherSets, start_ms: int, end_ms: int) -> list[Labels]:
        return self._store.reader.series(sets, start_ms, end_ms)

    def metadata(self) -> Mapping[str, Metadata]:
        return {}

    def _open(self) -> None:
        self._count += 1
        self._context = opened(self._running, self._folder / str(self._count))
        self._store = self._context.__enter__()


def page_of(labels: Labels, samples: Mapping[int, float]) -> Page:
    """One series over time: a page whose line comes again and again would be one a time."""
    lines = Layout((labels,))
    (first, *_) = [*samples, 0]
    times, values = array("q", samples), array("d", samples.values())
    if len(times) == 1:
        return Page(Labels(), lines, first, values)
    layout = Layout((labels,) * len(times))
    return Page(Labels(), layout, first, values, times)


def outcomes(running: Stores, folder: Path, path: Path) -> list[Outcome]:
    rounded = dict.fromkeys(ROUNDED.get(path.name, ()), 1e-6)
    loaded = Loaded(running, folder)
    try:
        return list(run_script(path.read_text(), make_engine, rounded, loaded))
    finally:
        loaded.close()


class Inexact(ScriptReader):
    """Series in memory as VictoriaMetrics keeps them.

    There is no NaN; of two samples of one time the greater stays; and a series' numbers have some
    eighteen digits between them.
    """

    def add(self, labels: Labels, taken: list[tuple[int, float]]) -> None:
        kept: dict[int, float] = {}
        for one in self.held:
            if one.labels == labels:
                kept = dict(zip(one.times_ms.tolist(), one.values.tolist(), strict=True))
        for at, value in taken:
            if is_stale(value) or value == value:
                kept[at] = max(kept.get(at, value), value)
        least = max((abs(one) for one in kept.values() if math.isfinite(one)), default=0) * 1e-18
        if kept:
            super().add(labels, [(at, one if abs(one) >= least or one != one else 0.0)
                                 for at, one in kept.items()])  # fmt: skip

    def clear(self) -> "Inexact":
        return Inexact()


def expected(running: Stores, path: Path) -> set[int]:
    """The lines that come out otherwise than in the script, for what the store cannot keep."""
    if running.exact:
        return set()
    rounded = dict.fromkeys(ROUNDED.get(path.name, ()), 1e-6)
    found = run_script(path.read_text(), make_engine, rounded, Inexact())
    return {one.case.line for one in found if one.verdict == "failed"}


def wrong(found: Sequence[Outcome], but: set[int]) -> str:
    failed = [one for one in found if one.verdict == "failed" and one.case.line not in but]
    missing = but - {one.case.line for one in found if one.verdict == "failed"}
    told = [f"line {line} came out as in the script" for line in sorted(missing)]
    return "\n".join([*told, *(f"line {o.case.line}: {o.case.expr}: {o.reason}" for o in failed)])


@pytest.mark.parametrize("path", scripts(OWN), ids=lambda path: path.stem)
def test_own_scripts_pass(running: Stores, tmp_path: Path, path: Path) -> None:
    found = outcomes(running, tmp_path, path)
    assert found
    assert not wrong(found, expected(running, path))


@pytest.mark.skipif(not PEER.is_dir(), reason="Prometheus' test scripts are not at hand")
@pytest.mark.parametrize("path", scripts(PEER), ids=lambda path: path.stem)
def test_prometheus_scripts_pass(running: Stores, tmp_path: Path, path: Path) -> None:
    assert not wrong(outcomes(running, tmp_path, path), expected(running, path))


@pytest.mark.parametrize(
    ("test", "cases"),
    [
        pytest.param(test, cases, id=test["name"])
        for test, cases in read_tests(UNIT_TESTS)
        if max(case.at for case in cases) < SHORT
    ],
)
def test_shipped_rules_fire_alike(
    running: Stores, tmp_path: Path, test: dict[str, Any], cases: list[Case]
) -> None:
    loaded = Loaded(running, tmp_path)

    def holding(given: Sequence[Series]) -> Loaded:
        loaded.write(
            [
                page_of(s.labels, dict(zip(s.times_ms.tolist(), s.values.tolist(), strict=True)))
                for s in given
            ]
        )
        return loaded

    try:
        found = run(UNIT_TESTS, test, cases, holding)
        assert found == {case.id: case.expected for case in cases}
    finally:
        loaded.close()
