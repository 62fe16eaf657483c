"""Windows of five minutes, as InfluxDB makes them: InfluxQL's continuous query, Flux's task. Pure.

A window is (start, end] and written at the millisecond after its start, which is where reads look
for it (series.SHIFT_MS). Only the field `value` counts: staleness markers and what is no number
are not among it.
Sources: https://docs.influxdata.com/influxdb/v1/query_language/continuous_queries/,
https://docs.influxdata.com/flux/v0/stdlib/universe/.
"""

from datetime import UTC, datetime

from fleetpulse.storage.embedded.windows import WINDOW_MS
from fleetpulse.storage.influx.influxql import quoted
from fleetpulse.storage.influx.series import SHIFT_MS

CQ_NAME = "fleetpulse_5m"
# Windows that are made anew each time, so that samples which come late are in them.
LATE_MINUTES = 15
_FIELDS = ("min", "max", "sum", "count", "last")


def _fold(database: str, raw: str, tier: str, where: str = "") -> str:
    fields = ", ".join(f'{field}("value") AS "{field}"' for field in _FIELDS)
    name = quoted(database)
    return (
        f"SELECT {fields} INTO {name}.{quoted(tier)}.:MEASUREMENT "  # noqa: S608 - see quoted()
        f"FROM {name}.{quoted(raw)}./.*/ {where}"
        f"GROUP BY time({WINDOW_MS // 60_000}m, {SHIFT_MS}ms), * fill(none)"
    )


def continuous_query(database: str, raw: str, tier: str) -> str:
    """The statement that makes it. It fills tier from raw, both retention policies."""
    return (
        f"CREATE CONTINUOUS QUERY {quoted(CQ_NAME)} ON {quoted(database)} "
        f"RESAMPLE EVERY {WINDOW_MS // 60_000}m FOR {LATE_MINUTES}m "
        f"BEGIN {_fold(database, raw, tier)} END"
    )


def fold_statement(database: str, raw: str, tier: str, start_ms: int, end_ms: int) -> str:
    """What the continuous query does, for windows that begin from start_ms on and before end_ms."""
    start, end = start_ms + SHIFT_MS, end_ms + SHIFT_MS
    return _fold(database, raw, tier, f"WHERE time >= {start}ms AND time < {end}ms ")


def same_query(one: str, other: str) -> bool:
    """InfluxDB tells a query with fewer quotes than it was given."""
    return _bare(one) == _bare(other)


def _bare(query: str) -> str:
    return "".join(query.replace('"', "").split())


def task_name(bucket: str) -> str:
    return f"fleetpulse_5m {bucket}"


def task(bucket: str, tier: str, org: str) -> str:
    """The Flux of a task: the last windows, made anew every five minutes."""
    late_ms = LATE_MINUTES * 60_000
    return "\n".join(
        [
            # Half a minute later, so that what was scraped at the end has come.
            f"option task = {{name: {_text(task_name(bucket))}, every: 5m, offset: 30s}}",
            "",
            # In nanoseconds: date.truncate() knows no five minutes.
            f"stop = int(v: now()) / {_ns(WINDOW_MS)} * {_ns(WINDOW_MS)}",
            f"before = time(v: stop - {_ns(late_ms + WINDOW_MS - SHIFT_MS)})",
            f"begin = time(v: stop - {_ns(late_ms - SHIFT_MS)})",
            f"end = time(v: stop + {_ns(SHIFT_MS)})",
            *_fold_flux(bucket, tier, org),
        ]
    )


def fold_flux(bucket: str, tier: str, org: str, start_ms: int, end_ms: int) -> str:
    """What the task does, for windows that begin from start_ms on and before end_ms."""
    return "\n".join(
        [
            f"before = {_time(start_ms - WINDOW_MS + SHIFT_MS)}",
            f"begin = {_time(start_ms + SHIFT_MS)}",
            f"end = {_time(end_ms + SHIFT_MS)}",
            *_fold_flux(bucket, tier, org),
        ]
    )


def _fold_flux(bucket: str, tier: str, org: str) -> list[str]:
    """increase: how far a counter rose since the window before, a fall taken for a new start."""
    window = f'every: 5m, offset: {SHIFT_MS}ms, timeSrc: "_start", createEmpty: false'
    folds = [
        f"    values(start: begin) |> aggregateWindow(fn: {field}, {window})"
        f'{" |> toFloat()" if field == "count" else ""} |> set(key: "_field", value: "{field}"),'
        for field in _FIELDS
    ]
    return [
        "values = (start) =>",
        f"    from(bucket: {_text(bucket)})",
        "        |> range(start: start, stop: end)",
        '        |> filter(fn: (r) => r._field == "value")',
        "",
        "union(",
        "    tables: [",
        *(f"    {fold}" for fold in folds),
        "        values(start: before)",
        "            |> difference(nonNegative: true, initialZero: true)",
        "            |> range(start: begin, stop: end)",
        f"            |> aggregateWindow(fn: sum, {window})",
        '            |> set(key: "_field", value: "increase"),',
        "    ],",
        ")",
        f"    |> to(bucket: {_text(tier)}, org: {_text(org)})",
        "",
    ]


def _text(text: str) -> str:
    """A string in Flux. `${` would begin an expression."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return '"' + escaped.replace("${", "\\${") + '"'


def _time(at_ms: int) -> str:
    """RFC 3339, to the millisecond."""
    at = datetime.fromtimestamp(at_ms // 1000, UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at_ms % 1000:03}Z"


def _ns(ms: int) -> int:
    return ms * 1_000_000
