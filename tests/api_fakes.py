"""Stand-ins for what the API is handed, and an API made of them."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from flask import Flask
from flask.testing import FlaskClient
from prometheus_client import CollectorRegistry

from api.app import create_app
from api.config import ApiConfig
from api.keys import KeyStore, Scope
from fleetpulse.errors import StorageError
from fleetpulse.matchers import Matcher, all_match
from fleetpulse.model import METRIC_NAME, Labels, Metadata, Page, Series
from fleetpulse.promql.result import Matrix, Result, Vector
from fleetpulse.storage.base import Hints, MatcherSets, Tier

NOW = 1_700_000_000.0
NOW_MS = round(NOW * 1000)


def labels(name: str = "", **more: str) -> Labels:
    return Labels.of({METRIC_NAME: name}, **more)


def series(of: Labels, *pairs: tuple[int, float]) -> Series:
    times = np.array([at for at, _ in pairs], dtype=np.int64)
    return Series(of, times, np.array([value for _, value in pairs], dtype=np.float64))


def vector(at_ms: int, *pairs: tuple[Labels, float]) -> Vector:
    values = np.array([value for _, value in pairs], dtype=np.float64)
    return Vector(at_ms, [one for one, _ in pairs], values)


class FakeEngine:
    """Answers an expression with what it was told, else with nothing; notes what was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, Result | Exception] = {}
        self.asked: list[tuple[Any, ...]] = []
        self.tiers: list[Tier | None] = []
        self.lookbacks: list[int | None] = []

    def instant(
        self,
        expr: str,
        at_ms: int,
        *,
        timeout: float | None = None,
        tier: Tier | None = None,
        lookback_ms: int | None = None,
    ) -> Result:
        self.asked.append((expr, at_ms, timeout))
        self.tiers.append(tier)
        self.lookbacks.append(lookback_ms)
        return self._answer(expr, Result(vector(at_ms)))

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
        self.asked.append((expr, start_ms, end_ms, step_ms, timeout))
        self.tiers.append(tier)
        self.lookbacks.append(lookback_ms)
        return self._answer(expr, Result(Matrix([])))

    def _answer(self, expr: str, default: Result) -> Result:
        answer = self.answers.get(expr, default)
        if isinstance(answer, Exception):
            raise answer
        return answer


class FakeReader:
    """A store of a few series in memory."""

    def __init__(self, *held: Series) -> None:
        self.held = list(held)
        self.known: dict[str, Metadata] = {}
        self.asked: list[tuple[int, int]] = []

    def select(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, hints: Hints
    ) -> Sequence[Series]:
        return self._found([matchers], start_ms, end_ms)

    def labels(self, sets: MatcherSets, start_ms: int, end_ms: int) -> list[str]:
        found = self._found(sets, start_ms, end_ms)
        return sorted({name for one in found for name, _ in one.labels})

    def label_values(self, name: str, sets: MatcherSets, start_ms: int, end_ms: int) -> list[str]:
        found = self._found(sets, start_ms, end_ms)
        return sorted({one.labels.get(name) for one in found} - {""})

    def series(self, sets: MatcherSets, start_ms: int, end_ms: int) -> list[Labels]:
        return sorted({one.labels for one in self._found(sets, start_ms, end_ms)})

    def metadata(self) -> Mapping[str, Metadata]:
        return self.known

    def _found(self, sets: MatcherSets, start_ms: int, end_ms: int) -> list[Series]:
        self.asked.append((start_ms, end_ms))
        return [
            one
            for one in self.held
            if (not sets or any(all_match(matchers, one.labels) for matchers in sets))
            and ((one.times_ms >= start_ms) & (one.times_ms <= end_ms)).any()
        ]


class FakeWriter:
    """Keeps pages as they come; raises what it is told to."""

    def __init__(self) -> None:
        self.pages: list[Page] = []
        self.described: list[Mapping[str, Metadata]] = []
        self.failure: StorageError | None = None
        self.when_writing: Callable[[], None] = lambda: None

    def write(self, pages: Sequence[Page]) -> None:
        self.when_writing()
        if self.failure is not None:
            raise self.failure
        self.pages.extend(pages)

    def describe(self, metadata: Mapping[str, Metadata]) -> None:
        self.described.append(metadata)

    def close(self) -> None:
        pass

    def samples(self) -> dict[tuple[str, int], float]:
        """By full series and time, as a store would show them."""
        found = {}
        for page in self.pages:
            times = page.times_ms or [page.at_ms] * len(page.values)
            for line, at_ms, value in zip(page.layout.lines, times, page.values, strict=True):
                found[str(page.target.merged(line)), at_ms] = value
        return found


class Api:
    """An API over fakes, with a clock that stands still until it is moved."""

    def __init__(self, folder: Path, /, **settings: Any) -> None:
        settings.setdefault("rate_limit", "unlimited")
        self.time = NOW
        self.engine, self.reader, self.writer = FakeEngine(), FakeReader(), FakeWriter()
        self.registry = CollectorRegistry()
        self.folder = folder
        self.keys = KeyStore(self.folder / "keys" / "keys.json", now=self.now)
        self.config = ApiConfig.model_validate(settings)

    def now(self) -> float:
        return self.time

    def key(self, scope: Scope, server: str | None = None, **more: Any) -> str:
        return self.keys.create(scope, server, **more)[1]

    @cached_property
    def app(self) -> Flask:
        return create_app(
            self.config,
            self.engine,
            self.reader,
            self.writer,
            self.keys,
            self.registry,
            now=self.now,
        )

    def client(self) -> FlaskClient:
        return self.app.test_client()

    def metric(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}
