"""One collector's part of the page: takes what it found, drops what cannot be true."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import gt, itemgetter, lt
from typing import Any

from exporter.families import Family, Found
from exporter.page import Key, Part, Shape

NOT_FINITE, TOO_SMALL, TOO_LARGE = "not_finite", "below_range", "above_range"
ABOVE_WHOLE, BACKWARDS, TAKEN = "above_whole", "went_backwards", "name_taken"

# A counter that falls below this part of itself was reset; one that falls less slipped back. What
# the kernel takes back is little: sums over CPUs, read while they change. A reset that is less than
# this needs as much traffic in one interval as in all the time before.
_RESET = 0.99
# One that stays behind for so many pages did not slip: it was reset all the same, or its source
# lost a part for good, as a network card with fewer queues than before. It is then told as it is,
# for one that stands still while it counts misleads for longer than one that seems to be reset.
_PATIENCE = 10

Series = tuple[Family, Key]
Values = Sequence[float]


@dataclass(frozen=True, slots=True)
class Dropped:
    """A value that was left out or, of a counter that slipped back, replaced by its last."""

    family: Family
    key: Key
    value: float
    reason: str

    def __str__(self) -> str:
        name, pairs = self.family.sample(self.key)
        inner = ",".join(f'{label}="{value}"' for label, value in pairs)
        series = f"{name}{{{inner}}}" if inner else name
        return f"{series} {self.value:g}: {self.reason}"


class Block:
    """Makes a Part of what the collector found, turn by turn; by one thread at a time.

    Whether all is well is asked of all values at once, in a few passes; only where it is not is
    each looked at. A counter that slips back a little keeps its last value for a while: to PromQL
    one that falls has been reset, and all it ever counted would be added to a rate. One that falls
    by more, or stays behind, has been reset at its source, and is told as it is.

    owns: whether a name is this collector's to tell.
    """

    def __init__(self, owns: Callable[[str], bool] = lambda _name: True) -> None:
        self._owns = owns
        self._checks = _Checks(Shape(()), {}, {}, self._owns)
        self._sifted = Shape(())

    def take(self, found: Iterable[Found]) -> tuple[Part, list[Dropped]]:
        """ValueError where a collector tells a family twice or with wrong labels."""
        slots, values = _flat(found)
        if slots != self._checks.shape.slots:
            last = self._checks
            self._checks = _Checks(Shape(slots), last.counts(), last.behind, self._owns)
        checks = self._checks
        if not checks.doubts(values):
            checks.keep(values)
            return Part(checks.shape, tuple(values)), []
        good, dropped = checks.sift(values)
        return self._part_of(good), dropped

    def _part_of(self, good: Mapping[Series, float]) -> Part:
        slots = list(_slots(good))
        if slots != self._sifted.slots:
            self._sifted = Shape(slots)
        return Part(self._sifted, tuple(good.values()))


def _flat(found: Iterable[Found]) -> tuple[list[Family | Key], list[float]]:
    slots: list[Family | Key] = []
    values: list[float] = []
    add_slot, add_slots, add_value = slots.append, slots.extend, values.append
    for family, rows in found:
        add_slot(family)
        if isinstance(rows, dict):
            add_slots(rows)
            values.extend(rows.values())
        else:
            add_slot(())
            add_value(rows)
    return slots, values


def _slots(series: Iterable[Series]) -> Iterator[Family | Key]:
    above = None
    for family, key in series:
        if family is not above:
            above = family
            yield family
        yield key


class _Checks:
    """What is known of the values of one shape, in their order."""

    def __init__(
        self,
        shape: Shape,
        counts: Mapping[Series, float],
        behind: Mapping[Series, int],
        owns: Callable[[str], bool],
    ) -> None:
        self.shape = shape
        self.behind = behind  # for how many pages a counter has kept its last value
        _refuse_doubled(shape)
        series = shape.series
        self._foreign = {family for family in shape.families() if not all(map(owns, family.names))}
        self._pick_tame = _all_but({i for i, (family, _) in enumerate(series) if family.raw})
        counters = [i for i, (family, _) in enumerate(series) if _counts(family)]
        bounded = [i for i, (family, _) in enumerate(series) if _is_bounded(family)]
        capped = [i for i, (family, _) in enumerate(series) if family.most < math.inf]
        self._counters = [series[i] for i in counters]
        self._pick_floored = _picker([*counters, *bounded])
        self._leasts = tuple(series[i][0].least for i in bounded)
        self._floors = (*(counts.get(one, 0.0) for one in self._counters), *self._leasts)
        self._pick_capped = _picker(capped)
        self._caps = [series[i][0].most for i in capped]
        self._parts = list(_parts(series))
        # Most shapes have little to be checked; what there is not costs nothing then.
        self._is_bounded = bool(counters or bounded)
        self._is_odd = bool(capped or self._parts or self._foreign)

    def doubts(self, values: Values) -> bool:
        """Whether any value may be wrong."""
        if not math.isfinite(sum(self._pick_tame(values))):
            return True
        if self._is_bounded and any(map(lt, self._pick_floored(values), self._floors)):
            return True
        return self._is_odd and (
            any(map(gt, self._pick_capped(values), self._caps))
            or any(values[part] > values[whole] for part, whole in self._parts)
            or bool(self._foreign)
        )

    def keep(self, values: Values) -> None:
        """Takes values that are not in doubt as what counters must not fall below."""
        if self._counters:
            self._floors = self._pick_floored(values)[: len(self._counters)] + self._leasts
            self.behind = {}

    def counts(self) -> dict[Series, float]:
        """What the counters stood at last."""
        return dict(zip(self._counters, self._floors, strict=False))

    def sift(self, values: Values) -> tuple[dict[Series, float], list[Dropped]]:
        found = dict(zip(self.shape.series, values, strict=True))
        last, good, dropped = self.counts(), dict[Series, float](), list[Dropped]()
        for one, value in found.items():
            reason = self._reason(one, value, found, last)
            if reason is None:
                good[one] = value
                continue
            dropped.append(Dropped(*one, value, reason))
            if reason == BACKWARDS:
                good[one] = last[one]
        last.update((one, good[one]) for one in self._counters if one in good)
        self.behind = {
            (one.family, one.key): self.behind.get((one.family, one.key), 0) + 1
            for one in dropped
            if one.reason == BACKWARDS
        }
        self._floors = (*(last[one] for one in self._counters), *self._leasts)
        return good, dropped

    def _reason(
        self, one: Series, value: float, found: Mapping[Series, float], last: Mapping[Series, float]
    ) -> str | None:
        """Why the value cannot be true, or None."""
        family, key = one
        before = last.get(one, 0.0)
        if family in self._foreign:
            return TAKEN
        if not family.raw and not math.isfinite(value):
            return NOT_FINITE
        if value < family.least:
            return TOO_SMALL
        if value > family.most:
            return TOO_LARGE
        if family.whole is not None and value > found.get((family.whole, key), math.inf):
            return ABOVE_WHOLE
        slipped = before * _RESET <= value < before and self.behind.get(one, 0) < _PATIENCE
        return BACKWARDS if slipped else None


def _counts(family: Family) -> bool:
    return family.type == "counter" and not family.guarded


def _is_bounded(family: Family) -> bool:
    return family.least > -math.inf and not _counts(family)


def _parts(series: Sequence[Series]) -> Iterator[tuple[int, int]]:
    """Places of a part and of its whole."""
    places = {one: place for place, one in enumerate(series)}
    for place, (family, key) in enumerate(series):
        if family.whole is not None and (family.whole, key) in places:
            yield place, places[family.whole, key]


def _picker(places: Sequence[int]) -> Callable[[Values], tuple[float, ...]]:
    """What stands at these places, always as a tuple."""
    if len(places) > 1:
        picked: Any = itemgetter(*places)
        return picked  # type: ignore[no-any-return]
    return lambda values: tuple(values[place] for place in places)


def _all_but(places: set[int]) -> Callable[[Values], Values]:
    if not places:
        return lambda values: values
    return lambda values: [value for place, value in enumerate(values) if place not in places]


def _refuse_doubled(shape: Shape) -> None:
    names = [family.name for family in shape.families()]
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"told twice: {', '.join(twice)}")
