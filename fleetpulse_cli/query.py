"""`fleetpulse query`: asks the API and shows the answer as table, JSON, CSV or a small plot."""

import csv
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TextIO

import requests
from rich.console import Console
from rich.table import Table

from fleetpulse.errors import FleetPulseError, StartError
from fleetpulse.model import METRIC_NAME, Labels

_BARS = "▁▂▃▄▅▆▇█"
_PLOT_WIDTH = 60


class QueryRefusedError(FleetPulseError):
    """The API answered that the query is wrong or cannot be answered."""


@dataclass(frozen=True, slots=True)
class Question:
    """An expression with its time (instant) or its range; times as the API takes them."""

    expr: str
    time: str | None = None
    start: str | None = None
    end: str | None = None
    step: str | None = None

    @property
    def is_range(self) -> bool:
        return self.start is not None or self.end is not None

    def completed(self, now: float) -> "Question":
        """With the missing ends of a range filled in: until now, from an hour before the end."""
        if not self.is_range:
            return self
        end = self.end or f"{now:.3f}"
        start = self.start or _shift(end, -3600.0) or end
        step = self.step or _sixtieth(start, end)
        return Question(self.expr, None, start, end, step)

    def form(self) -> dict[str, str]:
        names = ("start", "end", "step") if self.is_range else ("time",)
        given = {name: getattr(self, name) for name in names}
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
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        answer = requests.post(
            f"{url}/api/v1/{path}",
            data=question.form(),
            headers=headers,
            timeout=130,
            allow_redirects=False,
        )
        body = answer.json()
    except requests.exceptions.JSONDecodeError as err:
        raise StartError(f"{url} is no FleetPulse API: it did not answer in JSON") from err
    except requests.RequestException as err:
        raise StartError(
            f"no API at {url}: {type(err).__name__}; start it with `fleetpulse up`, "
            f"or name another with --url"
        ) from err
    if not isinstance(body, dict) or body.get("status") != "success":
        error = body.get("error", body) if isinstance(body, dict) else body
        raise QueryRefusedError(f"{url}: {error}")
    return body


def show(body: Mapping[str, Any], style: str, out: TextIO = sys.stdout) -> None:
    """Writes the answer; warnings and infos go to stderr."""
    for note in [*body.get("warnings", ()), *body.get("infos", ())]:
        print(note, file=sys.stderr)
    data = body["data"]
    if style == "json":
        json.dump(data, out, indent=2)
        out.write("\n")
    elif style == "csv":
        _write_csv(data, out)
    elif style == "plot" and data["resultType"] == "matrix":
        _plot(data["result"], out)
    else:
        _table(data, out)


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


def printable(text: str) -> str:
    """On one line, and nothing in it that steers a terminal: labels are what targets write."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def width(out: TextIO) -> int | None:
    # Into a pipe nothing is folded: lines are for grep there.
    return None if out.isatty() else 1_000


def _name_order(name: str) -> tuple[bool, str]:
    return (name != METRIC_NAME, name)


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _plot(result: Sequence[Mapping[str, Any]], out: TextIO) -> None:
    if not result:
        print("no series", file=sys.stderr)
    for row in result:
        values = [float(value) for _, value in row["values"]]
        finite = [value for value in values if math.isfinite(value)]
        if not finite:
            continue
        low, high = min(finite), max(finite)
        line = "".join(_bar(value, low, high) for value in _thin(values))
        out.write(f"{printable(str(Labels.of(row['metric'])))}\n  {line}  {low:g} … {high:g}\n")


def _thin(values: Sequence[float]) -> list[float]:
    """At most _PLOT_WIDTH values: the largest of each stretch, so that no peak is lost."""
    width = math.ceil(len(values) / _PLOT_WIDTH)
    return [max(values[i : i + width]) for i in range(0, len(values), width)]


def _bar(value: float, low: float, high: float) -> str:
    if not math.isfinite(value):
        return " "
    share = (value - low) / (high - low) if high > low else 0.0
    return _BARS[min(len(_BARS) - 1, int(share * len(_BARS)))]
