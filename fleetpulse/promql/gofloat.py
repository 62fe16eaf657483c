"""Floats as Go prints and compares them, where Python and numpy do it otherwise."""

import math

import numpy as np

from fleetpulse.promql.frames import Floats


def format_g(value: float) -> str:
    """Go's %g: the shortest exact digits; an exponent below 1e-4 and from 1e+06 on."""
    return _special(value) or _shortest(value, exponent_from=6)


def format_f(value: float) -> str:
    """Go's FormatFloat(value, 'f', -1): the shortest exact digits, never an exponent."""
    return _special(value) or _shortest(value, exponent_from=400, exponent_below=-400)


def format_openmetrics(value: float) -> str:
    """As format_g, but a whole number has a `.0`."""
    text = format_g(value)
    return text if not math.isfinite(value) or "." in text or "e" in text else f"{text}.0"


def _special(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return ""


def _shortest(value: float, *, exponent_from: int, exponent_below: int = -4) -> str:
    sign = "-" if math.copysign(1, value) < 0 else ""
    mantissa, _, power = f"{abs(value)!r}".partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = whole + fraction
    point = len(whole) + int(power or 0)
    stripped = digits.lstrip("0")
    point -= len(digits) - len(stripped)
    digits = stripped.rstrip("0")
    if not digits:
        return f"{sign}0"
    exponent = point - 1
    if exponent < exponent_below or exponent >= exponent_from:
        tail = f".{digits[1:]}" if digits[1:] else ""
        return f"{sign}{digits[0]}{tail}e{exponent:+03d}"
    if point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    padded = digits.ljust(point, "0")
    tail = f".{padded[point:]}" if padded[point:] else ""
    return f"{sign}{padded[:point]}{tail}"


def go_max(left: Floats, right: Floats) -> Floats:
    """math.Max: +Inf wins over NaN, and NaN over all else."""
    infinite = np.isposinf(left) | np.isposinf(right)
    return np.where(infinite, np.inf, np.maximum(left, right))


def go_min(left: Floats, right: Floats) -> Floats:
    """math.Min: -Inf wins over NaN, and NaN over all else."""
    infinite = np.isneginf(left) | np.isneginf(right)
    return np.where(infinite, -np.inf, np.minimum(left, right))
