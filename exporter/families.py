"""What collectors give: families, each with rows of label values and a value."""

import math
from dataclasses import dataclass
from typing import Literal

Type = Literal["counter", "gauge", "untyped", "histogram", "summary"]

# Label values in the order of the family's labels → value. A family without labels has one value.
# A histogram or summary has several samples a row: its keys begin with what the sample's name has
# behind the family's (`_bucket`, `_sum`, `_count`, or nothing for a quantile), and its last label,
# `le` or `quantile`, is empty where the sample has none.
Rows = dict[tuple[str, ...], float] | float


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """What stands above samples on a page, and what is known of values that can be true.

    Made once, as a constant of a module or by a cached function: the page knows a family by its
    identity. least and most bound a value; whole is the family (of the same collector, with the
    same labels) that it never exceeds. A guarded counter's collector itself sees to it that the
    counter never falls but for a reset. raw values are told even where they are not finite; these
    are to be NAN, INF or MINUS_INF, which know how they are written.
    """

    name: str  # as exposed, `_total` included
    help: str
    type: Type
    labels: tuple[str, ...] = ()
    least: float = -math.inf
    most: float = math.inf
    whole: "Family | None" = None
    guarded: bool = False
    raw: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """All names that no other family may have, in either format of a page."""
        suffixes = _SUFFIXES.get(self.type, ())
        if self.type == "counter" and self.name.endswith("_total"):
            return self.name, self.name.removesuffix("_total")
        return self.name, *(self.name + suffix for suffix in suffixes)

    def sample(self, key: tuple[str, ...]) -> tuple[str, list[tuple[str, str]]]:
        """Name and labels of one row's sample."""
        if self.type not in _SUFFIXES:
            return self.name, list(zip(self.labels, key, strict=True))
        suffix, *values = key
        pairs = list(zip(self.labels, values, strict=True))
        return self.name + suffix, pairs if values[-1] else pairs[:-1]


_SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "summary": ("_sum", "_count")}


Found = tuple[Family, Rows]


class NotFinite(float):
    """Formatted as pages have it, so that finite values need no care."""

    def __str__(self) -> str:
        return "NaN" if math.isnan(self) else "+Inf" if self > 0 else "-Inf"


NAN, INF, MINUS_INF = NotFinite("nan"), NotFinite("inf"), NotFinite("-inf")


def counter(
    name: str, help_text: str, *labels: str, most: float = math.inf, guarded: bool = False
) -> Family:
    return Family(name, help_text, "counter", labels, 0.0, most, guarded=guarded)


def gauge(
    name: str,
    help_text: str,
    *labels: str,
    least: float | None = None,
    most: float = math.inf,
    whole: Family | None = None,
) -> Family:
    """A size in bytes is never negative, unless least says so."""
    if least is None:
        least = 0.0 if name.endswith("_bytes") else -math.inf
    return Family(name, help_text, "gauge", labels, least, most, whole)


def untyped(name: str, help_text: str, *labels: str) -> Family:
    return Family(name, help_text, "untyped", labels)
