"""Request parameters: read from the query string and form bodies as Prometheus reads them."""

import math
import re
from datetime import datetime

from flask import Request

from api.respond import bad_data
from fleetpulse.values import parse_duration

# Some 300,000 years either way: enough for all, and safe to add to in 64 bits.
MIN_MS, MAX_MS = -(10**16), 10**16
# What Prometheus' own clients send for "since ever" and "for ever".
_EXTREMES = {
    "-292273086-05-16T16:47:06Z": MIN_MS,
    "292277025-08-18T07:12:54.999999999Z": MAX_MS,
}
_RFC3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII
)
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)


def value(request: Request, name: str) -> str:
    """A parameter, the form body's before the query string's; empty where there is none."""
    for given in (request.args,) if request.method == "GET" else (request.form, request.args):
        # get() would make an exception of each that is not there; a query leaves out several.
        found = given.getlist(name)
        if found and found[0]:
            return found[0]
    return ""


def values(request: Request, name: str) -> list[str]:
    return [*request.form.getlist(name), *request.args.getlist(name)]


def parse_time(text: str) -> int:
    """Unix milliseconds of Unix seconds or an RFC 3339 time. ValueError."""
    if text in _EXTREMES:
        return _EXTREMES[text]
    if _NUMBER.fullmatch(text):
        at = float(text) * 1000
    elif _RFC3339.fullmatch(text):
        try:
            at = datetime.fromisoformat(text.upper()).timestamp() * 1000
        except (ValueError, OverflowError):
            at = math.nan
    else:
        at = math.nan
    if not MIN_MS <= at <= MAX_MS:
        raise ValueError(
            f'cannot parse "{text}" to a valid timestamp; '
            f"write Unix seconds or a time as in 2026-01-02T15:04:05Z"
        )
    return round(at)


def parse_seconds(text: str) -> float:
    """Seconds of a bare number or a duration as in 5m. ValueError."""
    try:
        seconds = float(text) if _NUMBER.fullmatch(text) else parse_duration(text)
    except ValueError:
        seconds = math.nan
    if not abs(seconds) * 1000 <= MAX_MS:
        raise ValueError(
            f'cannot parse "{text}" to a valid duration; write seconds or for example 5m'
        )
    return seconds


def time_ms(request: Request, name: str, default: int | None = None) -> int:
    """A time in Unix ms; without a default it must be there."""
    text = value(request, name)
    if not text and default is not None:
        return default
    try:
        return parse_time(text)
    except ValueError as err:
        raise invalid(name, f"invalid time value for '{name}': {err}") from None


def duration(request: Request, name: str, default: float | None = None) -> float:
    """Seconds; without a default it must be there."""
    text = value(request, name)
    if not text and default is not None:
        return default
    try:
        return parse_seconds(text)
    except ValueError as err:
        raise invalid(name, str(err)) from None


def limit(request: Request, name: str = "limit") -> int:
    """How many results to answer with; 0 is all."""
    text = value(request, name)
    if not text:
        return 0
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise invalid(name, f"{text!r} is no whole number of 0 or above")
    return int(text)


def most(request: Request, name: str) -> int | None:
    """The same as Prometheus takes it for metadata: 0 is none, below it is all."""
    text = value(request, name)
    try:
        number = int(text or -1)
    except ValueError:
        raise bad_data(f"{name} must be a number") from None
    return None if number < 0 else number


def invalid(name: str, message: str) -> Exception:
    return bad_data(f'invalid parameter "{name}": {message}')
