"""What is asked of InfluxDB, as InfluxQL. Pure.

Label values, names and patterns are written so that no text ends the statement. What is asked may
let more series through than the matchers do, and never fewer: whoever asks looks again.
Source: https://docs.influxdata.com/influxdb/v1/query_language/spec/
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from fleetpulse.lineprotocol import FIELDS, WINDOW_FIELDS, stored, stored_measurement, stored_tag
from fleetpulse.matchers import Matcher
from fleetpulse.model import METRIC_NAME

# The times that InfluxDB has, in ms; those beyond are an overflow to it.
EARLIEST_MS, LATEST_MS = -9_223_372_036_854, 9_223_372_036_853
# Characters and escapes that mean the same for a text as it is stored, where a line break, a last
# backslash and what stands for those are other characters. A pattern with any other one is not told
# to the server.
_SAME = re.compile(
    r"[^\\\x00-\x1f\x7f\ue000-\ue0ff]|\\[.dDwWbB+*?(){}|^$\-\[\]/:,=_\"'# ]", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where series are: a database and a retention policy, "" for the database's own default."""

    database: str
    policy: str = ""


def select(place: Place, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> str:
    """All samples between two times, both inclusive, by series."""
    return _select(FIELDS, place, matchers, start_ms, end_ms)


def select_newest(place: Place, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> str:
    """Of each series the newest sample between two times."""
    return f"{_select(FIELDS, place, matchers, start_ms, end_ms)} ORDER BY time DESC LIMIT 1"


def select_windows(place: Place, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> str:
    return _select(WINDOW_FIELDS, place, matchers, start_ms, end_ms)


def _select(
    fields: Sequence[str], place: Place, matchers: Sequence[Matcher], start_ms: int, end_ms: int
) -> str:
    columns = ", ".join(f"{quoted(field)}::field" for field in fields)
    where = " AND ".join([*_times(start_ms, end_ms), *_tags(matchers)])
    source = _source(place, matchers)
    return f"SELECT {columns} FROM {source} WHERE {where} GROUP BY *"  # noqa: S608 - see quoted()


def show_series(place: Place, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> str:
    """Series with shards in the time."""
    where = " AND ".join([*_times(start_ms, end_ms), *_tags(matchers)])
    return f"SHOW SERIES FROM {_source(place, matchers)} WHERE {where}"


# The following look into the index alone, of all retention policies.


def show_values(label: str, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> str:
    """Values of a label by metric. matchers: those that indexed() lets pass."""
    where = " AND ".join([*_times(start_ms, end_ms), *_tags(_equalities(matchers))])
    key = quoted(stored_tag(label))
    return f"SHOW TAG VALUES FROM {_measurements(matchers)} WITH KEY = {key} WHERE {where}"


def show_labels(matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> str:
    """Names of labels by metric; a metric without labels is not told of."""
    where = " AND ".join([*_times(start_ms, end_ms), *_tags(_equalities(matchers))])
    return f"SHOW TAG KEYS FROM {_measurements(matchers)} WHERE {where}"


def show_metrics() -> str:
    """Those of any time: InfluxDB takes none here."""
    return "SHOW MEASUREMENTS"


def show_series_of(place: Place, names: Sequence[str], start_ms: int, end_ms: int) -> str:
    """Of metrics by their names, without a look at labels."""
    policy = f"{quoted(place.policy)}." if place.policy else ""
    sources = ", ".join(policy + quoted(stored_measurement(name)) for name in names)
    return f"SHOW SERIES FROM {sources} WHERE {' AND '.join(_times(start_ms, end_ms))}"


def indexed(matchers: Sequence[Matcher], label: str = METRIC_NAME) -> bool:
    """Whether the index alone tells which values of the label there are.

    It tells them by metric: what is asked of either can be looked at again, and what is asked of
    another label has to be what the index says for sure.
    """
    return can_be_told(label) and all(
        one.name in (METRIC_NAME, label) or _is_sure(one) for one in matchers
    )


def _is_sure(one: Matcher) -> bool:
    return one.op == "=" and one.value != "" and can_be_told(one.name) and can_be_told(one.value)


def _equalities(matchers: Sequence[Matcher]) -> list[Matcher]:
    return [one for one in matchers if _is_sure(one)]


def within(at_ms: int) -> int:
    """The nearest time that InfluxDB has."""
    return min(max(at_ms, EARLIEST_MS), LATEST_MS)


def _times(start_ms: int, end_ms: int) -> list[str]:
    start, end = within(start_ms), within(end_ms)
    return [f"time >= {start}ms", f"time <= {end}ms"]


def _source(place: Place, matchers: Sequence[Matcher]) -> str:
    source = _measurements(matchers)
    return f"{quoted(place.policy)}.{source}" if place.policy else source


def _measurements(matchers: Sequence[Matcher]) -> str:
    """One name, or a pattern: the narrowest that the matchers of the name tell of."""
    named = [one for one in matchers if one.name == METRIC_NAME]
    for one in named:
        if one.op == "=" and can_be_told(one.value):
            return quoted(stored_measurement(one.value)) if one.value else "/^$/"
    for one in named:
        if one.op == "=~" and (pattern := _pattern(one.value)) is not None:
            return pattern
    return "/.*/"


def _tags(matchers: Sequence[Matcher]) -> list[str]:
    found = (_tag(one) for one in matchers if one.name != METRIC_NAME)
    return [one for one in found if one is not None]


def _tag(matcher: Matcher) -> str | None:
    """::tag, for a field may have the same name; where no series has it, its text is empty."""
    tag = f"{quoted(stored_tag(matcher.name))}::tag"
    if not can_be_told(matcher.name):
        return None
    if matcher.op in ("=", "!="):
        if not can_be_told(matcher.value):
            return None
        return f"{tag} {matcher.op} {literal(stored(matcher.value))}"
    pattern = _pattern(matcher.value)
    return None if pattern is None else f"{tag} {matcher.op} {pattern}"


def can_be_told(text: str) -> bool:
    """A carriage return in a statement is taken for a line break."""
    return "\r" not in text


def _pattern(pattern: str) -> str | None:
    """Anchored, as Go has it; None where it might mean something else there."""
    if "".join(_SAME.findall(pattern)) != pattern:
        return None
    # A slash ends the literal. What is escaped already stays so.
    inner = re.sub(r"\\.|/", lambda found: found[0] if found[0] != "/" else r"\/", pattern)
    return f"/^(?s:{inner})$/"


def quoted(name: str) -> str:
    """A name; no text ends it."""
    escaped = name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def literal(text: str) -> str:
    """A string; no text ends it."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
    return f"'{escaped}'"


def read_series_key(key: str) -> tuple[str, list[tuple[str, str]]]:
    """Measurement and tags, as stored, of a line of SHOW SERIES. ValueError where it is none.

    A backslash escapes a comma, a space and an equals sign, and is itself before all else.
    """
    name, *tags = _split(key, ",")
    pairs = [_split(tag, "=") for tag in tags]
    if any(len(pair) != 2 for pair in pairs):
        raise ValueError(f"{key!r} is no series")
    return _unescaped(name), [(_unescaped(tag), _unescaped(text)) for tag, text in pairs]


_ESCAPED = re.compile(r"\\([,= ])")


def _split(text: str, sign: str) -> list[str]:
    parts, begin, at = [], 0, 0
    while at < len(text):
        if text[at] == "\\" and text[at + 1 : at + 2] in (",", "=", " "):
            at += 2
            continue
        if text[at] == sign:
            parts.append(text[begin:at])
            begin = at + 1
        at += 1
    return [*parts, text[begin:]]


def _unescaped(text: str) -> str:
    return _ESCAPED.sub(r"\1", text)
