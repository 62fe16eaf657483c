"""Families that several files tell, put together so that they can stand on a page."""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache

from exporter.families import INF, MINUS_INF, NAN, Family, Found, Rows, Type
from exporter.sources.promfile import Pairs, Told
from fleetpulse.openmetrics import number_text, read_value

_BOUNDS = {"histogram": "le", "summary": "quantile"}
_MOST_FAMILIES = 4096
_LARGEST_EXACT = 2.0**53

# Of one label set: suffix of the name and bound → value. A plain family has one, at ("", "").
Group = dict[tuple[str, str], float]
Groups = dict[Pairs, Group]


def merge(
    files: Iterable[tuple[str, Sequence[Told]]], reserved: Collection[str] = ()
) -> tuple[list[Found], list[str]]:
    """Families by their first mention, and what was wrong: the first one told is the one kept.

    reserved: names that no family may have.
    """
    faults: list[str] = []
    merged: dict[str, Merged] = {}
    for path, families in files:
        for told in families:
            one = merged.setdefault(told.name, Merged(told.name, told.type))
            faults += (f"{path}: {fault}" for fault in one.take(path, told))
    found: list[Found] = []
    names = set(reserved)
    for one in merged.values():
        for family, rows in one.found():
            if names.isdisjoint(family.names):
                names.update(family.names)
                found.append((family, rows))
            else:
                faults.append(f"{', '.join(one.paths)}: the name {family.name} is taken")
    return found, faults


class Merged:
    """One family, from all files that tell it."""

    def __init__(self, name: str, kind: Type) -> None:
        self.name, self.type = name, kind
        self.help: str | None = None
        self.paths: list[str] = []
        self._groups: Groups = {}

    def take(self, path: str, told: Told) -> Iterator[str]:
        """Adds what a file tells; gives what speaks against it."""
        if told.type != self.type:
            yield f"{self.name} is a {told.type}, but a {self.type} in {self.paths[0]}"
            return
        if told.help is not None and self.help is not None and told.help != self.help:
            yield f"{self.name} has another HELP in {self.paths[0]}"
            return
        self.help = self.help if told.help is None else told.help
        self.paths.append(path)
        doubled = sum([not self._add(*sample) for sample in told.samples])
        if doubled:
            yield f"{self.name}: {doubled} samples are there twice"

    def _add(self, suffix: str, pairs: Pairs, value: float) -> bool:
        bound = ""
        if (self.type, suffix) in (("histogram", "_bucket"), ("summary", "")):
            label = _BOUNDS[self.type]
            bound = "".join(number for name, number in pairs if name == label)
            # As node_exporter writes it: `1` for what a file may have as `1.0`.
            bound = number_text(bound).removesuffix(".0")
            pairs = tuple(pair for pair in pairs if pair[0] != label)
        group = self._groups.setdefault(pairs, {})
        if (suffix, bound) in group:
            return False
        group[suffix, bound] = value
        return True

    def found(self) -> Iterator[Found]:
        help_text = self.help
        if help_text is None:
            help_text = f"Metric read from {', '.join(self.paths)}"
        groups = _completed(self.type, self._groups)
        if groups is not None:
            yield _compound(self.name, help_text, self.type, groups)
            return
        for suffix, plain in _taken_apart(self.type, self._groups).items():
            kind = "untyped" if self.type in _BOUNDS else self.type
            yield _plain(self.name + suffix, help_text, kind, plain)


def _plain(name: str, help_text: str, kind: Type, samples: Mapping[Pairs, float]) -> Found:
    """A label that only some samples have is empty in the others."""
    labels = tuple(sorted({label for pairs in samples for label, _ in pairs}))
    family = _family(name, help_text, kind, labels)
    rows = {_key(labels, pairs): _exact(value) for pairs, value in samples.items()}
    return family, rows if labels else rows[()]


def _compound(name: str, help_text: str, kind: Type, groups: Groups) -> Found:
    labels = tuple(sorted({label for pairs in groups for label, _ in pairs}))
    rows: Rows = {
        (suffix, *_key(labels, pairs), bound): _exact(value)
        for pairs, group in groups.items()
        for (suffix, bound), value in group.items()
    }
    return _family(name, help_text, kind, (*labels, _BOUNDS[kind])), rows


@lru_cache(maxsize=_MOST_FAMILIES)
def _family(name: str, help_text: str, kind: Type, labels: tuple[str, ...]) -> Family:
    """A counter is what its file says, also where it falls; but never less than nothing."""
    counts = kind == "counter"
    least = 0.0 if counts else -math.inf
    return Family(name, help_text, kind, labels, least, guarded=counts, raw=not counts)


def _key(labels: Sequence[str], pairs: Pairs) -> tuple[str, ...]:
    values = dict(pairs)
    return tuple([values.get(label, "") for label in labels])


def _exact(value: float) -> float:
    """As a page has it: whole numbers without `.0`."""
    if math.isfinite(value):
        return int(value) if abs(value) < _LARGEST_EXACT and value.is_integer() else value
    return NAN if math.isnan(value) else INF if value > 0 else MINUS_INF


def _taken_apart(kind: Type, groups: Groups) -> dict[str, dict[Pairs, float]]:
    """By suffix, the samples with all their labels."""
    plain: dict[str, dict[Pairs, float]] = {}
    for pairs, group in groups.items():
        for (suffix, bound), value in group.items():
            labels = (*pairs, (_BOUNDS[kind], bound)) if bound else pairs
            plain.setdefault(suffix, {})[labels] = value
    return plain


def _completed(kind: Type, groups: Groups) -> Groups | None:
    """A histogram or summary with all it needs, in order. None for what cannot be one.

    Then its samples are told without a type: OpenMetrics has rules for what a histogram and a
    summary may say, and who breaks them spoils the page.
    """
    complete = {"histogram": _histogram, "summary": _summary}.get(kind)
    if complete is None:
        return None
    label = _BOUNDS[kind]
    if any(name == label for pairs in groups for name, _ in pairs):
        return None
    try:
        return {pairs: complete(group) for pairs, group in groups.items()}
    except ValueError:
        return None


def _histogram(group: Group) -> Group:
    buckets = {bound: value for (suffix, bound), value in group.items() if suffix == "_bucket"}
    count = group.get(("_count", ""), buckets.get("+Inf", 0.0))
    buckets.setdefault("+Inf", count)
    rising = sorted(buckets, key=_number)
    counts = [buckets[bound] for bound in rising]
    if not all(_number(bound) >= 0 for bound in rising):
        raise ValueError("a bound that is negative or none")
    if counts != sorted(counts) or counts[-1] != count or not all(map(_is_count, counts)):
        raise ValueError("counts that do not add up")
    complete: Group = {("_bucket", bound): buckets[bound] for bound in rising}
    return complete | _total(group, count)


def _summary(group: Group) -> Group:
    quantiles = {bound: value for (suffix, bound), value in group.items() if not suffix}
    rising = sorted(quantiles, key=_number)
    if not all(0 <= _number(bound) <= 1 for bound in rising):
        raise ValueError("a quantile that is none")
    if any(value < 0 for value in quantiles.values()):
        raise ValueError("a negative value of a quantile")
    count = group.get(("_count", ""), 0.0)
    if not _is_count(count):
        raise ValueError("a count that is none")
    return {("", bound): quantiles[bound] for bound in rising} | _total(group, count)


def _total(group: Group, count: float) -> Group:
    total = group.get(("_sum", ""), 0.0)
    if not total >= 0:
        raise ValueError("a sum that is negative or none")
    return {("_sum", ""): total, ("_count", ""): count}


def _number(bound: str) -> float:
    return read_value(bound.encode())


def _is_count(value: float) -> bool:
    return value >= 0 and value.is_integer()
