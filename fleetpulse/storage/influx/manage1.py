"""Looks at an InfluxDB 1 and carries a plan out, by InfluxQL over POST /query."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from pydantic_core import from_json

from fleetpulse.errors import StorageError
from fleetpulse.storage.embedded.windows import WINDOW_MS
from fleetpulse.storage.influx.answers import said_in
from fleetpulse.storage.influx.config import Influx1Config
from fleetpulse.storage.influx.downsample import CQ_NAME, fold_statement
from fleetpulse.storage.influx.http1 import CannotReachError, Influx1Http
from fleetpulse.storage.influx.influxql import quoted
from fleetpulse.storage.influx.plan import Step, kept_seconds
from fleetpulse.storage.influx.setup1 import (
    Found1,
    Policy,
    go_seconds,
    plan1,
    raw_policy,
)

_STEP_MS = 3_600_000  # of a backfill: each a statement that ends within its time
_LONGEST = 300.0  # seconds for one of those

Row = Mapping[str, Any]


class Influx1Setup:
    """Not for several threads. http: whoever may manage the server, if it has users.

    user_password: of config.username, where that user is to be made; None: users are left alone.
    """

    def __init__(
        self,
        config: Influx1Config,
        http: Influx1Http,
        *,
        user_password: str | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._config, self._http, self._password, self._now = config, http, user_password, now
        self.name = f"influxdb1 at {config.url}"

    def plan(self) -> Sequence[Step[str]]:
        return plan1(self._config, self.look(), self._password)

    def carry_out(self, step: Step[str]) -> None:
        for statement in step.do:
            self._ask(statement)

    def look(self) -> Found1:
        name = self._config.database
        if name not in {row["name"] for row in self._ask("SHOW DATABASES")}:
            return Found1(grants=self._grants())
        policies = self._ask(f"SHOW RETENTION POLICIES ON {quoted(name)}")
        queries = [
            row["query"]
            for row in self._ask("SHOW CONTINUOUS QUERIES")
            if row["name"] == CQ_NAME and row[_OF] == name
        ]
        return Found1(
            True,
            {row["name"]: _policy(row) for row in policies},
            queries[0] if queries else "",
            self._grants(),
        )

    def backfill(self) -> Iterator[tuple[int, int, int]]:
        """Makes the windows of all samples that are there: (done, of, points written) by turn."""
        config = self._config
        raw = raw_policy(config, self.look())
        spans = self._spans(raw)
        for done, (start, end) in enumerate(spans, 1):
            statement = fold_statement(config.database, raw, config.tier_policy, start, end)
            written = self._ask(statement, max(_LONGEST, config.query_timeout))
            yield done, len(spans), sum(row["written"] for row in written)

    def close(self) -> None:
        self._http.close()

    def _spans(self, raw: str) -> list[tuple[int, int]]:
        """Hours with samples, of which windows are kept, up to the last window that is over."""
        now_ms = round(self._now() * 1000)
        first = now_ms - kept_seconds(self._config.retention.tiers) * 1000 + _STEP_MS
        last = now_ms // WINDOW_MS * WINDOW_MS
        hours: set[int] = set()
        for row in self._ask("SHOW SHARDS"):
            if (row["database"], row["retention_policy"]) == (self._config.database, raw):
                # A sample at a shard's very start is in the window before.
                start = max(_ms(row["start_time"]) - WINDOW_MS, first)
                end = min(_ms(row["end_time"]), last)
                hours.update(range(start // _STEP_MS, -(-end // _STEP_MS)))
        found = [(hour * _STEP_MS, min((hour + 1) * _STEP_MS, last)) for hour in sorted(hours)]
        return [(start, end) for start, end in found if start < end]

    def _grants(self) -> Mapping[str, str] | None:
        name = self._config.username
        if self._password is None or name not in {row["user"] for row in self._ask("SHOW USERS")}:
            return None
        rows = self._ask(f"SHOW GRANTS FOR {quoted(name)}")
        return {row["database"]: row["privilege"] for row in rows}

    def _ask(self, statement: str, timeout: float | None = None) -> list[Row]:
        """The rows of the answer. StorageError says what to mend, and not what was asked."""
        seconds = timeout or self._config.query_timeout
        try:
            answer = self._http.post("/query", {"epoch": "ms"}, {"q": statement}, seconds)
        except CannotReachError as err:
            raise StorageError(f"{self.name}: {err}; check storage.url", retriable=True) from err
        said = said_in(answer.body)
        if answer.status in (401, 403):
            mend = "this needs a user who may manage the server: --admin-user, --admin-secret-file"
            raise StorageError(
                f"{self.name}: HTTP {answer.status}: {said}; {mend}", retriable=False
            )
        try:
            results = from_json(answer.body)["results"]
            errors = [result["error"] for result in results if "error" in result]
            found = [] if errors else list(_rows(results))
        except (ValueError, KeyError, TypeError, AttributeError):
            told = f"{self.name}: HTTP {answer.status}: {said}; check storage.url"
            raise StorageError(told, retriable=True) from None
        if errors:
            raise StorageError(f"{self.name}: {errors[0]}", retriable=False)
        return found


_OF = "of"  # the name of a series among its columns


def _rows(results: Sequence[Any]) -> Iterator[Row]:
    for result in results:
        for series in result.get("series", ()):
            for values in series.get("values", ()):
                yield {_OF: series.get("name"), **dict(zip(series["columns"], values, strict=True))}


def _policy(row: Row) -> Policy:
    shard = go_seconds(row["shardGroupDuration"])
    return Policy(go_seconds(row["duration"]), shard, row["default"])


def _ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)
