"""Numbers as people read them: Prometheus' humanize* template functions.

The outputs are those of Prometheus' template package, character by character, since operators'
annotations (and the tests they wrote for them) hold such text. They differ from what one would
write today: "60.5" becomes "1m 0s" because minutes and more show whole seconds only.
"""

import math
from datetime import UTC, datetime, timedelta

from fleetpulse.gotemplate.printing import format_float

_LARGE = ("k", "M", "G", "T", "P", "E", "Z", "Y")
_SMALL = ("m", "u", "n", "p", "f", "a", "z", "y")
_BINARY = ("ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi")

_MAX_NANOSECONDS = 2.0**63
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def humanize(value: float) -> str:
    """1234567 → `1.235M`, 0.12 → `120m`: SI prefixes, four significant digits."""
    if value == 0 or not math.isfinite(value):
        return _short(value)
    if abs(value) >= 1:
        return _scaled_down(value, 1000, _LARGE)
    return "".join(_scaled_up(value))


def humanize_1024(value: float) -> str:
    """1048576 → `1Mi`. What is below one gets no prefix."""
    if abs(value) <= 1 or not math.isfinite(value):
        return _short(value)
    return _scaled_down(value, 1024, _BINARY)


def humanize_percentage(ratio: float) -> str:
    """0.1234 → `12.34%`."""
    return f"{_short(ratio * 100)}%"


def humanize_duration(seconds: float) -> str:
    """93784 → `1d 2h 3m 4s`, 0.1 → `100ms`."""
    if not math.isfinite(seconds):
        return _short(seconds)
    if seconds == 0:
        return "0s"
    if abs(seconds) < 1:
        number, prefix = _scaled_up(seconds)
        return f"{number}{prefix}s"
    return ("-" if seconds < 0 else "") + _long_duration(abs(seconds))


def humanize_timestamp(at: float) -> str:
    """Unix seconds → `2015-06-23 13:19:44.128 +0000 UTC`. ValueError past the year 2262."""
    if not math.isfinite(at):
        return _short(at)
    moment = to_datetime(at)
    fraction = f"{moment.microsecond:06d}".rstrip("0")
    return f"{moment:%Y-%m-%d %H:%M:%S}{'.' if fraction else ''}{fraction} +0000 UTC"


def to_datetime(at: float) -> datetime:
    """Unix seconds as a time in UTC, cut to the millisecond. ValueError where Go's overflows."""
    if not math.isfinite(at):
        raise ValueError("value is NaN or Inf")
    nanoseconds = at * 1e9
    if not -_MAX_NANOSECONDS <= nanoseconds < _MAX_NANOSECONDS:
        raise ValueError(
            f"{format_float(at)} cannot be represented as a nanoseconds timestamp"
            " since it overflows int64"
        )
    return _EPOCH + timedelta(milliseconds=int(int(nanoseconds) / 1_000_000))


def _short(value: float) -> str:
    return format_float(value, "g", 4)


def _scaled_down(value: float, base: int, prefixes: tuple[str, ...]) -> str:
    used = ""
    for prefix in prefixes:
        if abs(value) < base:
            break
        used = prefix
        value /= base
    return _short(value) + used


def _scaled_up(value: float) -> tuple[str, str]:
    used = ""
    for prefix in _SMALL:
        if abs(value) >= 1:
            break
        used = prefix
        value *= 1000
    return _short(value), used


def _long_duration(seconds: float) -> str:
    minutes, whole_seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}d {hours}h {minutes}m {whole_seconds}s"
    if hours:
        return f"{hours}h {minutes}m {whole_seconds}s"
    if minutes:
        return f"{minutes}m {whole_seconds}s"
    return f"{_short(seconds)}s"
