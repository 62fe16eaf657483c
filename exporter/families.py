"""What collectors give: families, each with rows of label values and a value."""

import math
from dataclasses import dataclass
from typing import Literal

Type = Literal["counter", "gauge", "untyped"]

# Label values in the order of the family's labels → value. A family without labels has one value.
Rows = dict[tuple[str, ...], float] | float


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """What stands above samples on a page, and what is known of values that can be true.

    Made once, as a constant of a module or by a cached function: the page knows a family by its
    identity. least and most bound a value; whole is the family (of the same collector, with the
    same labels) that it never exceeds. A guarded counter's collector itself sees to it that the
    counter never falls but for a reset.
    """

    name: str  # as exposed, `_total` included
    help: str
    type: Type
    labels: tuple[str, ...] = ()
    least: float = -math.inf
    most: float = math.inf
    whole: "Family | None" = None
    guarded: bool = False


Found = tuple[Family, Rows]


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
