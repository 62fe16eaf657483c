"""The functions that Prometheus adds to Go's in the templates of a rule."""

import ipaddress
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote_plus, urlsplit

from fleetpulse.gotemplate import texts
from fleetpulse.gotemplate.functions import GO_FUNCTIONS, TEXT_FUNCTIONS
from fleetpulse.gotemplate.times import GoDuration, GoTime
from fleetpulse.gotemplate.values import (
    AnyMap,
    GoFunction,
    anything,
    go_type,
    string,
    table,
    vector,
    wrong_type,
)
from fleetpulse.values import parse_duration
from rules import humanize
from rules.template_values import QueryResult, QuerySample

# Answers a query at the time of the evaluation. Raises QueryError and StorageError.
QueryFunction = Callable[[str], Sequence[QuerySample]]

_MAX_QUERIES = 20


def sample(value: Any) -> QuerySample:
    if not isinstance(value, QuerySample):
        raise wrong_type("sample", value)
    return value


def to_float(value: Any) -> float:
    """A number from what Prometheus' humanize functions take: numbers, text, durations."""
    if isinstance(value, GoDuration):
        return value.seconds
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            message = f'strconv.ParseFloat: parsing "{value}": invalid syntax'
            raise ValueError(message) from None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    raise ValueError(f"can't convert {go_type(value)} to float")


def functions(query: QueryFunction, external_url: str, now: float) -> dict[str, GoFunction]:
    """Every function by its name. now is the time of the evaluation in Unix seconds."""
    here = table(
        GoFunction("query", (string,), _counted(query)),
        GoFunction("pathPrefix", (), lambda: urlsplit(external_url).path),
        GoFunction("externalURL", (), lambda: external_url),
        GoFunction("now", (), lambda: now),
    )
    return {**_FIXED, **here}


def _counted(query: QueryFunction) -> Callable[[str], QueryResult]:
    """query, but only so many times in one expansion."""
    asked = 0

    def ask(expression: str) -> QueryResult:
        nonlocal asked
        asked += 1
        if asked > _MAX_QUERIES:
            raise ValueError(f"more than {_MAX_QUERIES} queries in one template")
        return QueryResult(query(expression))

    return ask


# Prometheus' functions


def _first(samples: Sequence[Any]) -> QuerySample:
    if not samples:
        raise ValueError("first() called on vector with no elements")
    return sample(samples[0])


def _sort_by_label(name: str, samples: Sequence[Any]) -> QueryResult:
    return QueryResult(sorted(map(sample, samples), key=lambda one: one.labels.get(name, "")))


def _args(*values: Any) -> AnyMap:
    return AnyMap((f"arg{index}", value) for index, value in enumerate(values))


def _split_port(text: str) -> tuple[str, str] | None:
    """Host and port as Go's net.SplitHostPort has them, or None."""
    host, colon, port = text.rpartition(":")
    if not colon:
        return None
    if host.startswith("[") and host.endswith("]") and "]" not in host[1:-1]:
        return host[1:-1], port
    return None if any(mark in host for mark in ":[]") else (host, port)


def _strip_port(text: str) -> str:
    parts = _split_port(text)
    return text if parts is None else parts[0]


def _strip_domain(text: str) -> str:
    host, port = _split_port(text) or (text, "")
    try:
        ipaddress.ip_address(host)
    except ValueError:
        name = host.split(".")[0]
        return f"{name}:{port}" if port else name
    return text


def _parse_duration(text: str) -> float:
    return -parse_duration(text[1:]) if text.startswith("-") else parse_duration(text)


def graph_path(expression: str, tab: int) -> str:
    """The path of Prometheus' expression page; tab 1 is the table, 0 the graph."""
    return f"/graph?g0.expr={quote_plus(expression)}&g0.tab={tab}"


_FIXED: Mapping[str, GoFunction] = {
    **GO_FUNCTIONS,
    **TEXT_FUNCTIONS,
    **table(
        GoFunction("first", (vector,), _first),
        GoFunction("label", (string, sample), lambda name, one: one.labels.get(name, "")),
        GoFunction("value", (sample,), lambda one: one.value),
        GoFunction("strvalue", (sample,), lambda one: one.labels.get("__value__", "")),
        GoFunction("sortByLabel", (string, vector), _sort_by_label),
        GoFunction("args", (), _args, anything),
        GoFunction("title", (string,), texts.title),
        GoFunction("graphLink", (string,), lambda expression: graph_path(expression, 0)),
        GoFunction("tableLink", (string,), lambda expression: graph_path(expression, 1)),
        GoFunction("stripPort", (string,), _strip_port),
        GoFunction("stripDomain", (string,), _strip_domain),
        GoFunction("humanize", (to_float,), humanize.humanize),
        GoFunction("humanize1024", (to_float,), humanize.humanize_1024),
        GoFunction("humanizeDuration", (to_float,), humanize.humanize_duration),
        GoFunction("humanizePercentage", (to_float,), humanize.humanize_percentage),
        GoFunction("humanizeTimestamp", (to_float,), humanize.humanize_timestamp),
        GoFunction("toTime", (to_float,), lambda at: GoTime(humanize.to_datetime(at))),
        GoFunction("toDuration", (to_float,), GoDuration.of),
        GoFunction("parseDuration", (string,), _parse_duration),
        GoFunction("urlQueryEscape", (string,), quote_plus),
    ),
}
NAMES = frozenset([*_FIXED, "query", "pathPrefix", "externalURL", "now"])
