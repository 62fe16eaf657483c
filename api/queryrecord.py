"""What is known of a query once it has ended, for the log, the metrics and the top list."""

from dataclasses import dataclass, field
from typing import Any

from fleetpulse.errors import QueryError, StorageError
from fleetpulse.promql.stats import QueryStats


@dataclass(frozen=True, slots=True)
class Client:
    """Who sent the request that the query is of; key is the id of its key, never the key."""

    address: str = ""
    method: str = ""
    path: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True)
class QueryRecord:
    """at: Unix seconds when it ended. seconds: from when it came. step_ms: 0 for an instant.

    results: series in the answer.
    """

    query: str
    start_ms: int
    end_ms: int
    step_ms: int
    at: float
    seconds: float
    stats: QueryStats = field(default_factory=QueryStats)
    results: int = 0
    error: Exception | None = None
    client: Client = Client()

    @property
    def status(self) -> str:
        """success, or Prometheus' errorType."""
        match self.error:
            case None:
                return "success"
            case QueryError():
                return self.error.error_type
            case StorageError(retriable=True):
                return "unavailable"
            case _:
                return "internal"


def stats_document(stats: QueryStats) -> dict[str, Any]:
    """The `stats` member of an answer, and of a line of the query log, as in Prometheus."""
    samples: dict[str, Any] = {}
    if stats.per_step:
        samples["totalQueryableSamplesPerStep"] = [[at / 1000, n] for at, n in stats.per_step]
    samples["totalQueryableSamples"] = stats.samples
    samples["peakSamples"] = stats.peak
    timings = {
        "evalTotalTime": stats.working,
        "resultSortTime": stats.shaped,
        "queryPreparationTime": stats.store,
        "innerEvalTime": stats.evaluated,
        "execQueueTime": stats.queued,
        "execTotalTime": stats.queued + stats.working,
    }
    shown = {name: round(seconds, 9) for name, seconds in timings.items()}
    return {"timings": shown, "samples": samples}
