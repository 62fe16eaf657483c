"""What each function and aggregation takes and gives, as Prometheus 3 documents it."""

from collections.abc import Mapping
from dataclasses import dataclass

from fleetpulse.promql.tree import ValueType

ENDLESS = 1 << 30  # arguments


@dataclass(frozen=True, slots=True)
class Signature:
    """args: the types in order; arguments past them are of the last one's type.

    least, most: how many may be given. experimental: only with `promql.experimental`.
    """

    args: tuple[ValueType, ...]
    least: int
    most: int
    returns: ValueType = "vector"
    experimental: bool = False


_TYPES: Mapping[str, ValueType] = {"v": "vector", "m": "matrix", "s": "scalar", "t": "string"}


def _table(*lines: str, experimental: bool = False) -> dict[str, Signature]:
    """Of lines `args returns: names`; `?` after an argument: it may be left out, `*`: repeated."""
    found: dict[str, Signature] = {}
    for line in lines:
        kinds, names = line.split(":")
        given, returns = kinds.split()
        letters = given.strip("-").replace("?", "").replace("*", "")
        least = len(letters) - given.count("?") - given.count("*")
        most = ENDLESS if "*" in given else len(letters)
        types = tuple(_TYPES[letter] for letter in letters)
        signature = Signature(types, least, most, _TYPES[returns], experimental)
        found |= dict.fromkeys(names.split(), signature)
    return found


SIGNATURES: Mapping[str, Signature] = {
    **_table(
        "v v: abs absent acos acosh asin asinh atan atanh ceil cos cosh deg exp floor",
        "v v: histogram_avg histogram_count histogram_sum histogram_stddev histogram_stdvar",
        "v v: ln log10 log2 rad sgn sin sinh sort sort_desc sqrt tan tanh timestamp",
        "v? v: day_of_month day_of_week day_of_year days_in_month hour minute month year",
        "m v: absent_over_time avg_over_time changes count_over_time delta deriv first_over_time",
        "m v: idelta increase irate last_over_time max_over_time min_over_time present_over_time",
        "m v: rate resets stddev_over_time stdvar_over_time sum_over_time",
        "vss v: clamp",
        "vs v: clamp_max clamp_min",
        "vs? v: round",
        "ssv v: histogram_fraction",
        "sv v: histogram_quantile",
        "vtttt v: label_replace",
        "vttt* v: label_join",
        "- s: pi time",
        "ms v: predict_linear",
        "sm v: quantile_over_time",
        "v s: scalar",
        "s v: vector",
    ),
    **_table(
        "mss v: double_exponential_smoothing",
        "vv? v: info",
        "m v: mad_over_time ts_of_first_over_time ts_of_last_over_time",
        "m v: ts_of_max_over_time ts_of_min_over_time",
        "- s: start end step range",
        "ss s: max_of min_of",
        "vt* v: sort_by_label sort_by_label_desc",
        "v v: start_timestamp",
        experimental=True,
    ),
    "histogram_quantiles": Signature(
        ("vector", "string", "scalar", "scalar"), 3, 12, "vector", experimental=True
    ),
}

# What reads well and is refused, as a sample here has no start timestamp.
UNSUPPORTED = frozenset(["start_timestamp"])

# Each aggregation and the type of its parameter, None where it has none.
AGGREGATIONS: Mapping[str, ValueType | None] = {
    **dict.fromkeys(("sum", "avg", "count", "min", "max", "group", "stddev", "stdvar")),
    **dict.fromkeys(("topk", "bottomk", "quantile", "limitk", "limit_ratio"), "scalar"),
    "count_values": "string",
}
EXPERIMENTAL_AGGREGATIONS = frozenset(["limitk", "limit_ratio"])

_DOCUMENTED: Mapping[ValueType, str] = {
    "vector": "instant vector",
    "matrix": "range vector",
    "scalar": "scalar",
    "string": "string",
}


def documented(kind: ValueType) -> str:
    """A type as Prometheus' documentation calls it."""
    return _DOCUMENTED[kind]
