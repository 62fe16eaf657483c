"""What a client takes: compression and format, by the quality it gives each (RFC 9110, 12.4)."""

import re
from collections.abc import Iterator

_WEIGHT = re.compile(r"(?:0(?:\.\d{0,3})?|1(?:\.0{0,3})?)")
_OPENMETRICS = "application/openmetrics-text"
_OPENMETRICS_VERSIONS = (None, "1.0.0", "0.0.1")


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether Accept-Encoding prefers gzip to no compression, or likes it as well."""
    weights = {name: weight for name, _, weight in _offers(accept_encoding)}
    gzip = weights.get("gzip", weights.get("x-gzip", weights.get("*", 0.0)))
    # What is not named may be sent uncompressed, but nobody has asked for it.
    return gzip > 0 and gzip >= weights.get("identity", 0.0)


def wants_openmetrics(accept: str) -> bool:
    """Whether Accept prefers a version of OpenMetrics that is spoken here to the text format.

    With the same weight, the one that is named first: older versions of Prometheus give none.
    """
    best, best_weight = "", 0.0
    for name, parameters, weight in _offers(accept):
        kind = _kind(name, parameters)
        if kind and weight > best_weight:
            best, best_weight = kind, weight
    return best == "openmetrics"


def name_escaping(accept: str) -> str:
    """How Accept wants names that are no words: allow-utf-8, values, or underscores.

    Empty where it says nothing of it, as older versions of Prometheus do; then underscores will do.
    """
    for name, parameters, weight in _offers(accept):
        asked = parameters.get("escaping", "")
        if asked and weight and name in ("text/plain", _OPENMETRICS):
            return asked if asked in ("allow-utf-8", "values") else "underscores"
    return ""


def _kind(name: str, parameters: dict[str, str]) -> str:
    if name == _OPENMETRICS and parameters.get("version") in _OPENMETRICS_VERSIONS:
        return "openmetrics"
    if name == "text/plain" and parameters.get("version", "0.0.4") != "0.0.4":
        return ""
    return "text" if name in ("text/plain", "text/*", "*/*") else ""


def _offers(header: str) -> Iterator[tuple[str, dict[str, str], float]]:
    """Each name with its parameters and weight; what is malformed is left out."""
    for item in header.lower().split(","):
        name, *rest = (part.strip() for part in item.split(";"))
        parameters = dict(_pair(part) for part in rest if part)
        weight = parameters.pop("q", "1")
        if name and _WEIGHT.fullmatch(weight):
            yield name, parameters, float(weight)


def _pair(part: str) -> tuple[str, str]:
    name, _, value = part.partition("=")
    return name.strip(), value.strip().strip('"')
