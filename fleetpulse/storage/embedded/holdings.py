"""Which target had which layout when, in memory."""

from array import array

import numpy as np

from fleetpulse.storage.embedded.labeltable import Ids

# Gaps up to this long are bridged, so that a host that reboots daily does not fill the table.
GAP_MS = 3_600_000


class Holdings:
    """Intervals by (target, layout). Not locked: its owner does that."""

    def __init__(self) -> None:
        self.last_id = 0
        self._targets, self._layouts = array("q"), array("q")
        self._from, self._until = array("q"), array("q")
        self._places: dict[tuple[int, int], list[int]] = {}

    def __len__(self) -> int:
        return len(self._places)

    def add(self, entry: int, target: int, layout: int, from_ms: int, until_ms: int) -> None:
        """A row of the table; what it overlaps with grows instead of being kept twice."""
        self.last_id = max(self.last_id, entry)
        places = self._places.setdefault((target, layout), [])
        for at in places:
            if self._from[at] <= until_ms + GAP_MS and from_ms <= self._until[at] + GAP_MS:
                self._from[at] = min(self._from[at], from_ms)
                self._until[at] = max(self._until[at], until_ms)
                return
        places.append(len(self._targets))
        self._targets.append(target)
        self._layouts.append(layout)
        self._from.append(from_ms)
        self._until.append(until_ms)

    def covers(self, target: int, layout: int, from_ms: int, until_ms: int) -> bool:
        return any(
            self._from[at] <= from_ms and until_ms <= self._until[at]
            for at in self._places.get((target, layout), ())
        )

    def between(self, start_ms: int, end_ms: int) -> tuple[Ids, Ids]:
        """Pairs of a target and a layout it held in the time given; each once, by layout."""
        if not self._targets:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        alive = (np.array(self._from) <= end_ms) & (np.array(self._until) >= start_ms)
        # One number a pair, in the order of the layouts: far cheaper to sort than rows.
        pairs = np.unique(np.array(self._layouts)[alive] << 32 | np.array(self._targets)[alive])
        return pairs & 0xFFFFFFFF, pairs >> 32
