"""What the tests of the rules share: a store in memory, a sink for alerts, groups from text."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from fleetpulse.errors import NotifyError, StorageError
from fleetpulse.matchers import Matcher, all_match
from fleetpulse.model import Alert, Labels, Metadata, Page, Series, is_stale
from fleetpulse.promql.engine import Engine
from fleetpulse.promql.result import QueryEngine, Result
from fleetpulse.storage.base import Hints, MatcherSets, Tier
from rules.files import GroupSpec, load_groups
from rules.group import Context, Group
from rules.metrics import RuleMetrics
from rules.restore import Restorer
from tests.promql_fakes import FakeReader, series

# A time that is a multiple of every interval used here.
T0 = 1_700_000_000.0 - 1_700_000_000.0 % 3600


def labels(**pairs: str) -> Labels:
    return Labels.of(pairs)


class MemoryStore:
    """A SampleWriter and SeriesReader; set broken and it refuses both ways."""

    def __init__(self) -> None:
        self.samples: dict[Labels, dict[int, float]] = {}
        self.pages: list[Page] = []
        self.broken = False
        self.refuses_writes = False

    def put(self, at: float, values: Mapping[Labels, float]) -> None:
        """Samples as a scraper would have stored them. at in seconds."""
        for name, value in values.items():
            self.samples.setdefault(name, {})[round(at * 1000)] = value

    def write(self, pages: Sequence[Page]) -> None:
        if self.broken or self.refuses_writes:
            raise StorageError("the store is away", retriable=True)
        self.pages.extend(pages)
        for page in pages:
            values = dict(zip(page.layout.lines, page.values, strict=True))
            self.put(page.at_ms / 1000, {page.target.merged(k): v for k, v in values.items()})

    def describe(self, metadata: Mapping[str, Metadata]) -> None:
        pass

    def close(self) -> None:
        pass

    def _reader(self) -> FakeReader:
        return FakeReader(series(name, found.items()) for name, found in self.samples.items())

    def select(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, hints: Hints
    ) -> Sequence[Series]:
        if self.broken:
            raise StorageError("the store is away", retriable=True)
        wanted = [name for name in self.samples if all_match(matchers, name)]
        held = [series(name, self.samples[name].items()) for name in wanted]
        return FakeReader(held).select(matchers, start_ms, end_ms, hints)

    def labels(self, sets: MatcherSets, start_ms: int, end_ms: int) -> list[str]:
        return self._reader().labels(sets, start_ms, end_ms)

    def label_values(self, name: str, sets: MatcherSets, start_ms: int, end_ms: int) -> list[str]:
        return self._reader().label_values(name, sets, start_ms, end_ms)

    def series(self, sets: MatcherSets, start_ms: int, end_ms: int) -> list[Labels]:
        return self._reader().series(sets, start_ms, end_ms)

    def metadata(self) -> Mapping[str, Metadata]:
        return {}

    def values(self, name: str, **pairs: str) -> list[float | str]:
        """One series' values in the order of time; "stale" for a marker. [] if there is none."""
        found = self.samples.get(labels(__name__=name, **pairs), {})
        return ["stale" if is_stale(found[at]) else found[at] for at in sorted(found)]


class FailingEngine:
    """An engine of which every query fails with the given error."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def instant(
        self,
        expr: str,
        at_ms: int,
        *,
        timeout: float | None = None,
        tier: Tier | None = None,
        lookback_ms: int | None = None,
    ) -> Result:
        raise self.error

    def range(
        self,
        expr: str,
        start_ms: int,
        end_ms: int,
        step_ms: int,
        *,
        timeout: float | None = None,
        tier: Tier | None = None,
        lookback_ms: int | None = None,
    ) -> Result:
        raise self.error


class Sink:
    """Keeps the alerts that are sent, one list a call."""

    def __init__(self) -> None:
        self.calls: list[list[Alert]] = []

    def send(self, alerts: Sequence[Alert]) -> None:
        self.calls.append(list(alerts))

    @property
    def alerts(self) -> list[Alert]:
        return [alert for call in self.calls for alert in call]


class FakePost:
    """Takes bodies; failing answers are taken from `answers` first."""

    def __init__(self, answers: Iterable[NotifyError | None] = ()) -> None:
        self.answers = list(answers)
        self.bodies: list[tuple[str, bytes]] = []
        self.timeouts: set[float] = set()
        self.closed = False

    def __call__(self, url: str, body: bytes, timeout: float) -> None:
        self.timeouts.add(timeout)
        answer = self.answers.pop(0) if self.answers else None
        if answer is not None:
            raise answer
        self.bodies.append((url, body))

    def close(self) -> None:
        self.closed = True


def specs(tmp_path: Path, text: str, *, name: str = "rules.yml") -> tuple[GroupSpec, ...]:
    """The groups of a rule file with this text."""
    path = tmp_path / name
    path.write_text(textwrap.dedent(text))
    return load_groups([path], 10.0)


class Bench:
    """Groups over a store in memory, evaluated by hand."""

    def __init__(self, engine: QueryEngine | None = None, **settings: Any) -> None:
        self.store = MemoryStore()
        self.engine: QueryEngine = engine or Engine(self.store)
        self.sink = Sink()
        self.registry = CollectorRegistry()
        self.metrics = RuleMetrics(self.registry)
        self.settings: dict[str, Any] = {
            "external_labels": {},
            "external_url": "http://fleet",
            "resend_delay": 60.0,
            "timeout": 10.0,
            "restorer": Restorer(self.engine, 3600.0, 600.0),
            **settings,
        }

    @property
    def context(self) -> Context:
        return Context(self.engine, self.store, self.sink, self.metrics, **self.settings)

    def group(self, spec: GroupSpec, *, restore: bool = False) -> Group:
        return Group(spec, self.context, restore=restore)

    def metric(self, name: str, **pairs: str) -> float | None:
        return self.registry.get_sample_value(f"fleetpulse_rules_{name}", pairs)


def one_rule(tmp_path: Path, rule: str, **group: object) -> GroupSpec:
    """The group `g` with one rule, given as indented YAML lines."""
    extra = "".join(f"\n    {key}: {value}" for key, value in group.items())
    body = textwrap.indent(textwrap.dedent(rule).strip(), "        ").replace(
        "        ", "      - ", 1
    )
    found = specs(tmp_path, f"groups:\n  - name: g{extra}\n    rules:\n{body}\n")
    return found[0]
