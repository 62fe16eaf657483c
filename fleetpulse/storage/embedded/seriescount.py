"""How many series there are of what, from the index alone: no sample is read."""

from collections import Counter
from collections.abc import Mapping, Sequence
from heapq import nlargest

import numpy as np
from numpy.typing import NDArray

from fleetpulse.model import METRIC_NAME
from fleetpulse.storage.base import Cardinality, Counts
from fleetpulse.storage.embedded.labeltable import SILENT, Ids, LabelTable
from fleetpulse.storage.embedded.stats import Stats

# Every one of lines on every one of targets; no target is in two.
Block = tuple[Ids, Ids]


def blocks(
    targets: LabelTable,
    lines: LabelTable,
    layouts: Mapping[int, NDArray[np.int32]],
    held: tuple[Ids, Ids],
) -> list[Block]:
    """All series, each once. held: pairs of a target and a layout that it has had.

    Targets that have had the same layouts are taken together: series are never looked at one by
    one, of which there are hundreds a target.
    """
    layouts_of: dict[int, list[int]] = {}
    for target, layout in zip(held[0].tolist(), held[1].tolist(), strict=True):
        if layout in layouts:  # not damaged
            layouts_of.setdefault(target, []).append(layout)
    alike: dict[tuple[int, ...], list[int]] = {}
    lost = set(targets.lost)
    for target, found in layouts_of.items():
        if target not in lost:
            alike.setdefault(tuple(found), []).append(target)
    made = []
    for had, those in alike.items():
        union = np.unique(np.concatenate([layouts[one] for one in had])).astype(np.int64)
        made.append((union[~lines.is_lost()[union]], np.array(those, np.int64)))
    return made


def count_series(
    targets: LabelTable, lines: LabelTable, held: Sequence[Block], limit: int, stats: Stats
) -> Cardinality:
    found = _Series(targets, lines, held)
    by_label = {name: found.by_value(name) for name in {*targets.names(), *lines.names()}}
    by_label = {name: values for name, values in by_label.items() if values}
    sizes = {name: _bytes(values) for name, values in by_label.items()}
    return Cardinality(
        series=sum(len(one) * len(those) for one, those in held),
        label_pairs=sum(map(len, by_label.values())),
        recent=stats.pages,
        oldest_ms=stats.oldest_ms,
        newest_ms=stats.newest_ms,
        series_by_name=_greatest(by_label.get(METRIC_NAME, {}), limit),
        values_by_label=_greatest({name: len(one) for name, one in by_label.items()}, limit),
        bytes_by_label=_greatest(sizes, limit),
        series_by_pair=_greatest(
            {
                f"{name}={value}": count
                for name, values in by_label.items()
                for value, count in _greatest(values, limit)
            },
            limit,
        ),
    )


class _Series:
    """All series of a store."""

    def __init__(self, targets: LabelTable, lines: LabelTable, held: Sequence[Block]) -> None:
        self._targets, self._lines, self._held = targets, lines, held
        self._a_line = np.zeros(lines.last_id + 1, np.int64)
        for ids, those in held:
            self._a_line[ids] += len(those)

    def by_value(self, name: str) -> Mapping[str, int]:
        """How many series have each value of a label. A line's label overrides the target's."""
        silent = self._lines.codes(name) == SILENT
        a_target = np.zeros(self._targets.last_id + 1, np.int64)
        for ids, those in self._held:
            a_target[those] = np.count_nonzero(silent[ids])
        found = Counter(self._lines.weighed(name, self._a_line))
        found.update(self._targets.weighed(name, a_target))
        return found


def _bytes(values: Mapping[str, int]) -> int:
    return sum(len(value.encode(errors="surrogatepass")) * count for value, count in values.items())


def _greatest(counts: Mapping[str, int], limit: int) -> Counts:
    return nlargest(limit, sorted(counts.items()), key=lambda one: one[1])
