"""The formats a page may come in: what is asked for, and what an answer's Content-Type means."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

_MEDIA_TYPES = {
    "OpenMetricsText1.0.0": "application/openmetrics-text;version=1.0.0",
    "OpenMetricsText0.0.1": "application/openmetrics-text;version=0.0.1",
    "PrometheusText1.0.0": "text/plain;version=1.0.0",
    "PrometheusText0.0.4": "text/plain;version=0.0.4",
}
DEFAULT_PROTOCOLS = tuple(_MEDIA_TYPES)
_ESCAPED = ("OpenMetricsText1.0.0", "PrometheusText1.0.0")
_FIRST_WEIGHT = 6  # tenths; Prometheus counts one protocol more than there are here
_OPENMETRICS = "application/openmetrics-text"
_PROTOBUF = "application/vnd.google.protobuf"


def _known(value: Any) -> Any:
    if value == "PrometheusProto":
        raise ValueError("PrometheusProto is not supported; leave it out, targets answer in text")
    if not isinstance(value, str) or value not in _MEDIA_TYPES:
        raise ValueError(f"{value!r} is none of {', '.join(_MEDIA_TYPES)}")
    return value


def _each_once(protocols: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(protocols)) < len(protocols):
        raise ValueError("a protocol is there twice")
    return protocols


Protocol = Annotated[str, BeforeValidator(_known)]
Protocols = Annotated[tuple[Protocol, ...], Field(min_length=1), AfterValidator(_each_once)]
ValidationScheme = Literal["utf8", "legacy"]
EscapingScheme = Literal["allow-utf-8", "underscores", "dots", "values"]


def accept_header(protocols: Sequence[str], escaping: str) -> str:
    """The value of Accept that asks for protocols in this order, and for anything at last."""
    wanted = []
    for place, protocol in enumerate(protocols):
        escape = f";escaping={escaping}" if protocol in _ESCAPED else ""
        wanted.append(f"{_MEDIA_TYPES[protocol]}{escape};q=0.{_FIRST_WEIGHT - place}")
    return ",".join([*wanted, f"*/*;q=0.{_FIRST_WEIGHT - len(wanted)}"])


def is_openmetrics(content_type: str, fallback: str | None) -> bool:
    """Which of the two text formats a page is in; ValueError where it is in neither.

    Without a fallback a page of no known type is taken as the text format, as Prometheus 2 does.
    """
    kind = media_type(content_type)
    if kind == _PROTOBUF:
        raise ValueError("the target answers in protobuf, which was not asked for")
    if kind in (_OPENMETRICS, "text/plain") or fallback is None:
        return kind == _OPENMETRICS
    return fallback.startswith("OpenMetrics")


def media_type(content_type: str) -> str:
    """A Content-Type without its parameters, in small letters."""
    return content_type.partition(";")[0].strip().lower()
