"""Durations, sizes, addresses and names: parsed from what people write, printed as they read it.

Every parser raises ValueError with a message that says what would be right.
"""

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

# Prometheus' duration: units in falling order, each at most once, whole numbers.
_DURATION = re.compile(
    r"(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+)s)?(?:(\d+)ms)?"
)
_DURATION_MS = (365 * 86_400_000, 7 * 86_400_000, 86_400_000, 3_600_000, 60_000, 1_000, 1)
_DURATION_UNITS = ("y", "w", "d", "h", "m", "s", "ms")

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B?", re.IGNORECASE)
_SIZE_POWER = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}

_METRIC_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


def parse_duration(text: str) -> float:
    """Seconds in a Prometheus duration such as `1h30m`, `10s` or `250ms`; `0` needs no unit."""
    text = text.strip()
    if text == "0":
        return 0.0
    match = _DURATION.fullmatch(text)
    if not text or match is None:
        raise ValueError(f"{text!r} is no duration; write for example 10s, 5m, 1h30m or 7d")
    total = sum(
        int(amount) * unit
        for amount, unit in zip(match.groups(), _DURATION_MS, strict=True)
        if amount
    )
    return total / 1000


def format_duration(seconds: float) -> str:
    """The shortest exact Prometheus duration, to the millisecond: 5400.0 → `1h30m`."""
    left = round(seconds * 1000)
    if left <= 0:
        return "0s"
    parts = []
    for unit, name in zip(_DURATION_MS, _DURATION_UNITS, strict=True):
        # Years and weeks only where nothing is left over: 10d reads better than 1w3d.
        if name in ("y", "w") and left % unit:
            continue
        amount, left = divmod(left, unit)
        if amount:
            parts.append(f"{amount}{name}")
    return "".join(parts)


def parse_size(text: str) -> int:
    """Bytes in `50MB`, `64KiB` or `1024`. As Prometheus has it, all units are powers of 1024."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no size; write for example 512KB, 50MB or 1GB")
    amount, unit, _ = match.groups()
    return int(float(amount) * 1024 ** _SIZE_POWER[unit.upper()])


# What YAML makes of a value, read as the kind that is wanted.


def text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f'{value!r} is no text; write it in quotes, as in "{value}"')
    return value


def switch(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{value!r} is neither true nor false")
    return value


def whole(value: object) -> int:
    """An integer from 0 up."""
    if isinstance(value, bool) or not str(value).isdecimal():
        raise ValueError(f"{value!r} is no whole number from 0 up")
    return int(str(value))


def one_of(*choices: str) -> Callable[[object], str]:
    def read(value: object) -> str:
        if value not in choices:
            raise ValueError(f"{value!r} is none of {', '.join(choices)}")
        return str(value)

    return read


def duration(value: object) -> float:
    """Seconds: a text with a unit, or 0."""
    if isinstance(value, str):
        return parse_duration(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value == 0:
        return 0.0
    raise ValueError(f"{value!r} has no unit; write for example 10s, 5m or 1h30m")


def size(value: object) -> int:
    """Bytes: a text, or a number without a unit."""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise ValueError(f"{value!r} is no size; write for example 512KB, 50MB or 1GB")
    return parse_size(str(value))


def is_metric_name(text: str) -> bool:
    return _METRIC_NAME.fullmatch(text) is not None


def is_label_name(text: str) -> bool:
    return _LABEL_NAME.fullmatch(text) is not None


# Where a server that listens on all addresses is reached from the same machine.
_REACHABLE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - nothing is bound here


@lru_cache(64)  # asked at every request
def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """Where a server listens. Port 0 asks the system for a free one."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        return _is_loopback(self.host)

    @property
    def reachable(self) -> str:
        """The host by which this machine reaches the server."""
        return _REACHABLE.get(self.host, self.host)

    @property
    def url(self) -> str:
        """A URL by which this machine reaches the server."""
        host = self.reachable
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_listen_address(text: str) -> ListenAddress:
    """`HOST:PORT`, `[::1]:PORT` or `:PORT` (all addresses)."""
    host, colon, port = text.strip().rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"{text!r}: an IPv6 address needs brackets, as in [::1]:9100")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{text!r} is no listen address; write HOST:PORT, as in 127.0.0.1:9100")
    return ListenAddress(host or "0.0.0.0", int(port))  # noqa: S104 - asked for by leaving it out


def listen_address(value: object) -> ListenAddress:
    """As parse_listen_address, of what YAML makes of it."""
    return value if isinstance(value, ListenAddress) else parse_listen_address(str(value))
