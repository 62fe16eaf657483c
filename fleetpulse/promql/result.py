"""What a query answers: one of Prometheus' four result types, with its annotations."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fleetpulse.model import Labels, Series
from fleetpulse.promql.stats import QueryStats
from fleetpulse.storage.base import Tier


@dataclass(frozen=True, slots=True)
class Scalar:
    at_ms: int
    value: float


@dataclass(frozen=True, slots=True)
class String:
    at_ms: int
    text: str


@dataclass(frozen=True, slots=True)
class Vector:
    """One value a series, all at at_ms; values is float64 of len(labels). The order counts."""

    at_ms: int
    labels: Sequence[Labels]
    values: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Matrix:
    """Samples over time, sorted by labels: a range query's answer, or an instant `x[5m]`."""

    series: Sequence[Series]


@dataclass(frozen=True, slots=True)
class Result:
    """data with Prometheus' annotations: warnings and infos, each once.

    stats: what the query took, where the engine knows.
    """

    data: Scalar | String | Vector | Matrix
    warnings: tuple[str, ...] = ()
    infos: tuple[str, ...] = ()
    stats: QueryStats | None = None


class QueryEngine(Protocol):
    """Answers PromQL. Safe from any thread. Raises QueryError and StorageError."""

    def instant(
        self,
        expr: str,
        at_ms: int,
        *,
        timeout: float | None = None,
        tier: Tier | None = None,
        lookback_ms: int | None = None,
    ) -> Result:
        """The expression at one time. timeout in seconds, at most the engine's own.

        tier: what may stand in for samples (storage.base.Hints); None is the engine's own choice.
        lookback_ms: how old a sample a selector still takes; likewise.
        """

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
        """The expression at start, start+step, … up to end inclusive; data is a Matrix."""
