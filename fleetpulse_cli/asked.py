"""What a person asks of the store on the command line: which series, and which times."""

from collections.abc import Sequence
from datetime import datetime

from fleetpulse.errors import QueryError, StartError
from fleetpulse.matchers import Matcher
from fleetpulse.promql import syntax
from fleetpulse.values import parse_duration

_EVER_MS = 1 << 50


def read_matchers(text: str) -> Sequence[Matcher]:
    """`up{job="node"}` as matchers; StartError where it is no plain selector."""
    try:
        found = syntax.parse(text)
    except QueryError as err:
        raise StartError(f"{text!r} is no selector: {err}") from err
    if not isinstance(found, syntax.Selector) or found.offset_ms or found.at is not None:
        raise StartError(f'{text!r} is no selector; write one like up{{job="node"}}')
    return found.matchers


def read_range(start: str | None, end: str | None, now: float) -> tuple[int, int]:
    """Both in Unix ms; a missing one is as far away as can be."""
    first = -_EVER_MS if start is None else read_time(start, now)
    last = _EVER_MS if end is None else read_time(end, now)
    if first > last:
        raise StartError(f"--start {start} is after --end {end}")
    return first, last


def read_time(text: str, now: float) -> int:
    """Unix seconds, RFC 3339, `now`, or a duration back from now, in Unix ms."""
    if text == "now":
        return round(now * 1000)
    for read in (float, lambda text: now - parse_duration(text), _rfc3339):
        try:
            return round(read(text) * 1000)
        except (ValueError, OverflowError):
            continue
    raise StartError(f"{text!r} is no time; write Unix seconds, RFC 3339, or 2h for two hours ago")


def _rfc3339(text: str) -> float:
    at = datetime.fromisoformat(text.upper())
    if at.tzinfo is None:
        raise ValueError("no zone")
    return at.timestamp()
