"""`fleetpulse query`: asks the API and shows the answer as table, JSON, CSV or a small plot."""

import csv
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table

from fleetpulse.errors import StartError
from fleetpulse.model import METRIC_NAME
from fleetpulse.values import parse_duration
from fleetpulse_cli.apiget import post
from fleetpulse_cli.plot import plot
from fleetpulse_cli.printing import printable, width

_CHART = 8  # lines
# Seconds that the API takes at most, unless it is configured otherwise; and for the way.
_USUAL, _WAY = 120.0, 10.0


@dataclass(frozen=True, slots=True)
class Question:
    """An expression with its time (instant) or its range; all as the API takes it.

    lookback: how old a sample may be. stats: whether the answer tells what the query took.
    """

    expr: str
    time: str | None = None
    start: str | None = None
    end: str | None = None
    step: str | None = None
    timeout: str | None = None
    tier: str | None = None
    lookback: str | None = None
    stats: bool = False

    @property
    def is_range(self) -> bool:
        return self.start is not None or self.end is not None

    def completed(self, now: float) -> "Question":
        """With the missing ends of a range filled in: until now, from an hour before the end.

        StartError where options are of the other kind: they would change nothing.
        """
        if not self.is_range and self.step is not None:
            raise StartError("--step is of a range: add --start or --end, or leave it out")
        if self.is_range and self.time is not None:
            raise StartError("--time is one time: leave it out, or --start and --end")
        if not self.is_range:
            return self
        end = self.end or f"{now:.3f}"
        start = self.start or _shift(end, -3600.0) or end
        step = self.step or _sixtieth(start, end)
        return replace(self, start=start, end=end, step=step)

    @property
    def patience(self) -> float:
        """Seconds to wait for the answer."""
        try:
            return parse_duration(self.timeout) + _WAY if self.timeout else _USUAL + _WAY
        except ValueError:
            return (_seconds(self.timeout or "") or _USUAL) + _WAY  # or the API says what is wrong

    def form(self) -> dict[str, str]:
        names = ("start", "end", "step") if self.is_range else ("time",)
        given = {name: getattr(self, name) for name in (*names, "timeout", "tier")}
        given |= {"lookback_delta": self.lookback, "stats": "all" if self.stats else None}
        return {"query": self.expr, **{k: v for k, v in given.items() if v is not None}}


def _seconds(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None  # the API says what is wrong with it


def _shift(text: str, by: float) -> str | None:
    at = _seconds(text)
    return None if at is None else f"{at + by:.3f}"


def _sixtieth(start: str, end: str) -> str:
    first, last = _seconds(start), _seconds(end)
    if first is None or last is None:
        return "60"
    return f"{max(1.0, round((last - first) / 60)):g}"


def ask(url: str, question: Question, key: str | None) -> Mapping[str, Any]:
    """The API's answer; QueryRefusedError with its error, StartError where nothing answers."""
    path = "query_range" if question.is_range else "query"
    return post(f"{url}/api/v1/{path}", question.form(), key, question.patience)


def show(
    body: Mapping[str, Any], style: str, out: TextIO = sys.stdout, height: int | None = None
) -> None:
    """Writes the answer; warnings, infos and, but in JSON, stats go to stderr.

    height: lines of a plot; None is a chart on a terminal, one line each elsewhere.
    """
    for note in [*body.get("warnings", ()), *body.get("infos", ())]:
        print(printable(str(note)), file=sys.stderr)
    data = body["data"]
    if "stats" in data and style != "json":
        print(_told(data["stats"]), file=sys.stderr)
    if style == "json":
        json.dump(data, out, indent=2)
        out.write("\n")
    elif style == "csv":
        _write_csv(data, out)
    elif style == "plot" and data["resultType"] == "matrix":
        if not data["result"]:
            print("no series", file=sys.stderr)
        plot(data["result"], out, height or (_CHART if out.isatty() else 1))
    else:
        _table(data, out)


def _told(stats: Mapping[str, Any]) -> str:
    """One line of what Prometheus has as `stats`."""
    took, samples = stats["timings"], stats["samples"]
    parts = [
        f"{what} {1000 * took[name]:.1f}ms"
        for what, name in (
            ("queue", "execQueueTime"),
            ("store", "queryPreparationTime"),
            ("evaluation", "innerEvalTime"),
            ("sorting", "resultSortTime"),
        )
    ]
    return (
        f"took {1000 * took['execTotalTime']:.1f}ms ({', '.join(parts)}), "
        f"{samples['totalQueryableSamples']:,} samples, at most {samples['peakSamples']:,} held"
    )


def _write_csv(data: Mapping[str, Any], out: TextIO) -> None:
    rows = list(_rows(data))
    names = sorted({name for labels, _ in rows for name in labels})
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["timestamp", *names, "value"])
    for labels, points in rows:
        for at, value in points:
            writer.writerow([at, *(labels.get(name, "") for name in names), value])


def _rows(data: Mapping[str, Any]) -> list[tuple[dict[str, str], list[list[Any]]]]:
    kind, result = data["resultType"], data["result"]
    if kind == "matrix":
        return [(row["metric"], row["values"]) for row in result]
    if kind == "vector":
        return [(row["metric"], [row["value"]]) for row in result]
    return [({}, [result])]


def _table(data: Mapping[str, Any], out: TextIO) -> None:
    rows = _rows(data)
    if not rows:
        print("no series", file=sys.stderr)
        return
    if len(rows) == 1 and not rows[0][0] and len(rows[0][1]) == 1:
        out.write(
            f"{printable(rows[0][1][0][1])}\n"
        )  # a bare number is best left bare, for scripts
        return
    # Labels as columns, the metric name first, as a person would lay them out.
    names = sorted({name for labels, _ in rows for name in labels}, key=_name_order)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in [*("metric" if name == METRIC_NAME else name for name in names), "time", "value"]:
        table.add_column(name, justify="right" if name == "value" else "left", overflow="fold")
    for labels, points in rows:
        shown = [printable(labels.get(name, "")) for name in names]
        for at, value in points:
            table.add_row(*shown, _clock(at), printable(value))
    Console(file=out, highlight=False, markup=False, width=width(out)).print(table)


def _name_order(name: str) -> tuple[bool, str]:
    return (name != METRIC_NAME, name)


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")
