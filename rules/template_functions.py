"""The functions of a template: Go's own and Prometheus', each with the kinds of its arguments."""

import html
import ipaddress
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus, urlsplit

from fleetpulse.regex import compile_pattern, expand
from fleetpulse.values import parse_duration
from rules import humanize
from rules.template_eval import AnyMap, GoFunction, truth
from rules.template_format import MAX_TEXT, go_type, sprint, sprintf, sprintln
from rules.template_values import GoDuration, GoTime, QuerySample

# Answers a query at the time of the evaluation. Raises QueryError and StorageError.
QueryFunction = Callable[[str], Sequence[QuerySample]]

_MAX_QUERIES = 20


@dataclass(frozen=True, slots=True)
class _Typed:
    """A function that checks its arguments' kinds first, as Go does at the call."""

    name: str
    kinds: tuple[str, ...]
    function: GoFunction
    variadic: bool = False

    def __call__(self, *arguments: Any) -> Any:
        wanted, got = len(self.kinds), len(arguments)
        if got < wanted or (got > wanted and not self.variadic):
            least = "at least " if self.variadic else ""
            raise ValueError(
                f"wrong number of args for {self.name}: want {least}{wanted} got {got}"
            )
        fitting = [
            _fit(kind, argument) for kind, argument in zip(self.kinds, arguments, strict=False)
        ]
        return self.function(*fitting, *arguments[wanted:])


def _fit(kind: str, value: Any) -> Any:
    if kind == "number":
        return to_float(value)
    checks: dict[str, Callable[[Any], bool]] = {
        "any": lambda _: True,
        "string": lambda one: isinstance(one, str),
        "sample": lambda one: isinstance(one, QuerySample),
        "vector": lambda one: isinstance(one, Sequence) and not isinstance(one, str),
    }
    if not checks[kind](value):
        raise ValueError(f"wrong type for value; expected {kind}; got {go_type(value)}")
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
    here = (
        _Typed("query", ("string",), _counted(query)),
        _Typed("pathPrefix", (), lambda: urlsplit(external_url).path),
        _Typed("externalURL", (), lambda: external_url),
        _Typed("now", (), lambda: now),
    )
    return {**_FIXED, **{function.name: function for function in here}}


def _counted(query: QueryFunction) -> QueryFunction:
    """query, but only so many times in one expansion."""
    asked = 0

    def ask(expression: str) -> Sequence[QuerySample]:
        nonlocal asked
        asked += 1
        if asked > _MAX_QUERIES:
            raise ValueError(f"more than {_MAX_QUERIES} queries in one template")
        return query(expression)

    return ask


# Go's own functions


def _length(value: Any) -> int:
    if isinstance(value, str):
        return len(value.encode())
    if isinstance(value, Mapping | Sequence):
        return len(value)
    raise ValueError(f"len of type {go_type(value)}")


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if isinstance(value, Mapping) and isinstance(key, str):
            value = value.get(key, None if isinstance(value, AnyMap) else "")
        elif isinstance(value, Sequence) and not isinstance(value, str) and type(key) is int:
            if not 0 <= key < len(value):
                raise ValueError(f"index out of range: {key}")
            value = value[key]
        else:
            raise ValueError(f"can't index item of type {go_type(value)} with {go_type(key)}")
    return value


def _slice(value: Any, *bounds: Any) -> Any:
    if not isinstance(value, Sequence) or not all(type(bound) is int for bound in bounds):
        raise ValueError(f"can't slice item of type {go_type(value)}")
    start, end = (*bounds, 0)[0], bounds[1] if len(bounds) > 1 else len(value)
    if len(bounds) > 2 or not 0 <= start <= end <= len(value):
        raise ValueError(f"index out of range: {start}, {end}")
    return value[start:end]


def _comparable(first: Any, second: Any) -> tuple[Any, Any]:
    if type(first) is not type(second) or not isinstance(first, bool | int | float | str):
        # Go does not compare an int with a float: `gt $value 80.0`, not `gt $value 80`.
        kinds = f"{go_type(first)} and {go_type(second)}"
        raise ValueError(f"incompatible types for comparison: {kinds}; write 80.0 against a value")
    return first, second


def _equal(first: Any, *others: Any) -> bool:
    if not others:
        raise ValueError("missing argument for comparison")
    return any(
        (first is None and other is None) or (None not in (first, other) and _same(first, other))
        for other in others
    )


def _same(first: Any, second: Any) -> bool:
    left, right = _comparable(first, second)
    return bool(left == right)


def _less(first: Any, second: Any) -> bool:
    left, right = _comparable(first, second)
    if isinstance(left, bool):
        raise ValueError("invalid type for comparison")
    return bool(left < right)


def _html(*values: Any) -> str:
    return html.escape(sprint(values)).replace("&quot;", "&#34;").replace("&#x27;", "&#39;")


def _js(*values: Any) -> str:
    quoted = json.dumps(sprint(values))[1:-1]
    for char in "<>&'=":
        quoted = quoted.replace(char, f"\\u{ord(char):04X}")
    return quoted


# Prometheus' functions


def _first(vector: Sequence[QuerySample]) -> QuerySample:
    if not vector:
        raise ValueError("first() called on vector with no elements")
    return vector[0]


def _sort_by_label(name: str, vector: Sequence[QuerySample]) -> list[QuerySample]:
    return sorted(vector, key=lambda sample: sample.labels.get(name, ""))


def _args(*values: Any) -> AnyMap:
    return AnyMap((f"arg{index}", value) for index, value in enumerate(values))


def _match(pattern: str, text: str) -> bool:
    return compile_pattern(pattern).search(text) is not None


def _replace_all(pattern: str, replacement: str, text: str) -> str:
    """Go's ReplaceAllString: $1 and ${1} filled in; no empty match right behind another match."""
    out, at, length = [], 0, 0
    last_end = -1
    for match in compile_pattern(pattern).finditer(text):
        start, end = match.span()
        if start == end == last_end:
            continue
        out += [text[at:start], expand(match, replacement)]
        at = last_end = end
        length += len(out[-1]) + len(out[-2])
        if length > MAX_TEXT:
            raise ValueError("the replaced text is too long")
    return "".join(out) + text[at:]


def _each(change: Callable[[str], str], text: str) -> str:
    """Letter by letter, as Go does it: ß has no capital of one letter, and stays."""
    return "".join(new if len(new := change(char)) == 1 else char for char in text)


def _title(text: str) -> str:
    """Every word with a capital, the rest as it is."""
    out, inside = [], False
    for char in text:
        out.append(char if inside else char.title())
        inside = char.isalnum() or (inside and char in "'’_")
    return "".join(out)


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


_ALL = (
    _Typed("and", ("any",), lambda *_: None, variadic=True),  # the evaluation knows these two
    _Typed("or", ("any",), lambda *_: None, variadic=True),
    _Typed("not", ("any",), lambda value: not truth(value)),
    _Typed("len", ("any",), _length),
    _Typed("index", ("any",), _index, variadic=True),
    _Typed("slice", ("any",), _slice, variadic=True),
    _Typed("print", (), lambda *values: sprint(values), variadic=True),
    _Typed("println", (), lambda *values: sprintln(values), variadic=True),
    _Typed("printf", ("string",), lambda form, *rest: sprintf(form, rest), variadic=True),
    _Typed("html", (), _html, variadic=True),
    _Typed("js", (), _js, variadic=True),
    _Typed("urlquery", (), lambda *values: quote_plus(sprint(values)), variadic=True),
    _Typed("eq", ("any",), _equal, variadic=True),
    _Typed("ne", ("any", "any"), lambda first, second: not _equal(first, second)),
    _Typed("lt", ("any", "any"), _less),
    _Typed("le", ("any", "any"), lambda a, b: _less(a, b) or _same(a, b)),
    _Typed("gt", ("any", "any"), lambda a, b: _less(b, a)),
    _Typed("ge", ("any", "any"), lambda a, b: _less(b, a) or _same(a, b)),
    _Typed("first", ("vector",), _first),
    _Typed("label", ("string", "sample"), lambda name, sample: sample.labels.get(name, "")),
    _Typed("value", ("sample",), lambda sample: sample.value),
    _Typed("strvalue", ("sample",), lambda sample: sample.labels.get("__value__", "")),
    _Typed("sortByLabel", ("string", "vector"), _sort_by_label),
    _Typed("args", (), _args, variadic=True),
    _Typed("reReplaceAll", ("string", "string", "string"), _replace_all),
    _Typed("match", ("string", "string"), _match),
    _Typed("safeHtml", ("string",), lambda text: text),
    _Typed("title", ("string",), _title),
    _Typed("toUpper", ("string",), lambda text: _each(str.upper, text)),
    _Typed("toLower", ("string",), lambda text: _each(str.lower, text)),
    _Typed("graphLink", ("string",), lambda expression: graph_path(expression, 0)),
    _Typed("tableLink", ("string",), lambda expression: graph_path(expression, 1)),
    _Typed("stripPort", ("string",), _strip_port),
    _Typed("stripDomain", ("string",), _strip_domain),
    _Typed("humanize", ("number",), humanize.humanize),
    _Typed("humanize1024", ("number",), humanize.humanize_1024),
    _Typed("humanizeDuration", ("number",), humanize.humanize_duration),
    _Typed("humanizePercentage", ("number",), humanize.humanize_percentage),
    _Typed("humanizeTimestamp", ("number",), humanize.humanize_timestamp),
    _Typed("toTime", ("number",), lambda at: GoTime(humanize.to_datetime(at))),
    _Typed("toDuration", ("number",), GoDuration.of),
    _Typed("parseDuration", ("string",), _parse_duration),
    _Typed("urlQueryEscape", ("string",), quote_plus),
)
_FIXED: dict[str, GoFunction] = {function.name: function for function in _ALL}
NAMES = frozenset([*_FIXED, "query", "pathPrefix", "externalURL", "now"])
