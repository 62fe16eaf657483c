"""Drops values that cannot be true, so that no rule fires on them."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fleetpulse.model import FamilySample, MetricFamily

# A part, and the whole of the same labels that it can never exceed.
_PARTS = {
    "node_filesystem_avail_bytes": "node_filesystem_size_bytes",
    "node_filesystem_free_bytes": "node_filesystem_size_bytes",
    "node_filesystem_files_free": "node_filesystem_files",
    "node_memory_MemAvailable_bytes": "node_memory_MemTotal_bytes",
    "node_memory_MemFree_bytes": "node_memory_MemTotal_bytes",
    "node_memory_SwapFree_bytes": "node_memory_SwapTotal_bytes",
    "node_memory_HugePages_Free": "node_memory_HugePages_Total",
}
_WHOLES = frozenset(_PARTS.values())
# The kernel says -1 for a speed it does not know, and node_exporter's users expect to see that.
_MAY_BE_NEGATIVE = frozenset({"node_network_speed_bytes"})


@dataclass(frozen=True, slots=True)
class Dropped:
    """A value that was left out, and why."""

    metric: str
    labels: Mapping[str, str]
    value: float
    reason: str

    def __str__(self) -> str:
        inner = ",".join(f'{name}="{value}"' for name, value in self.labels.items())
        return f"{self.metric}{{{inner}}} {self.value:g}: {self.reason}"


def validated(families: Iterable[MetricFamily]) -> tuple[list[MetricFamily], list[Dropped]]:
    """The families with what can be true, empty ones left out; and what was dropped."""
    kept, dropped = list(families), list[Dropped]()
    wholes = {family.name: family for family in kept if family.name in _WHOLES}
    for family in kept:
        limits = _limits(wholes.get(_PARTS.get(family.name, "")))
        _sift(family, limits, dropped)
    return [family for family in kept if family.samples], dropped


def _limits(whole: MetricFamily | None) -> dict[tuple[str, ...], float]:
    return {_key(sample): sample.value for sample in whole.samples} if whole else {}


def _key(sample: FamilySample) -> tuple[str, ...]:
    # A collector names the labels of its families in the same order each time.
    return tuple(sample.labels.values())


def _sift(
    family: MetricFamily, limits: Mapping[tuple[str, ...], float], dropped: list[Dropped]
) -> None:
    never_negative = _is_never_negative(family)
    seen, good = set[tuple[str, ...]](), list[FamilySample]()
    for sample in family.samples:
        key, value, reason = _key(sample), sample.value, ""
        if key in seen:
            reason = "the series is there twice"
        elif not math.isfinite(value):
            reason = "not a finite number"
        elif never_negative and value < 0:
            reason = "less than nothing"
        elif limits and value > limits.get(key, math.inf):
            reason = f"more than the whole, {limits[key]:g}"
        if reason:
            dropped.append(Dropped(family.name, sample.labels, value, reason))
        else:
            seen.add(key)
            good.append(sample)
    family.samples = good


def _is_never_negative(family: MetricFamily) -> bool:
    counted = family.type == "counter" or family.name.endswith("_bytes")
    return counted and family.name not in _MAY_BE_NEGATIVE
