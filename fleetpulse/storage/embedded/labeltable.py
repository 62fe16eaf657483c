"""Interned label sets with, by label name, the value each of them has: what matchers work on."""

import json
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fleetpulse.matchers import Matcher
from fleetpulse.model import Labels

SILENT, FAIL, PASS = -1, 0, 1

Ids = NDArray[np.int64]


@dataclass(slots=True)
class _Column:
    """The values of one label: (ids[i], codes[i]) says who has values[code]."""

    values: list[str] = field(default_factory=list)
    code_of: dict[str, int] = field(default_factory=dict)
    ids: "array[int]" = field(default_factory=lambda: array("i"))
    codes: "array[int]" = field(default_factory=lambda: array("i"))
    dense: NDArray[np.int32] | None = None

    def add(self, entry: int, value: str) -> None:
        code = self.code_of.get(value)
        if code is None:
            code = self.code_of[value] = len(self.values)
            self.values.append(value)
        self.ids.append(entry)
        self.codes.append(code)

    def without(self, gone: Ids) -> "_Column":
        ids, codes = np.array(self.ids), np.array(self.codes)
        kept = ~np.isin(ids, gone)
        used, fresh = np.unique(codes[kept], return_inverse=True)
        values = [self.values[code] for code in used.tolist()]
        code_of = {value: code for code, value in enumerate(values)}
        return _Column(values, code_of, array("i", ids[kept].tolist()), array("i", fresh.tolist()))


class LabelTable:
    """Label sets by id; ids rise but may have gaps. Not locked: its owner does that."""

    def __init__(self) -> None:
        self.by_id: list[Labels | None] = [None]
        self.ids: dict[Labels, int] = {}
        self.lost: list[int] = []
        self._columns: dict[str, _Column] = {}

    @property
    def last_id(self) -> int:
        return len(self.by_id) - 1

    def add(self, entry: int, labels: Labels) -> None:
        self.by_id.extend([None] * (entry - self.last_id))
        self.by_id[entry] = labels
        self.ids[labels] = entry
        for name, value in labels:
            column = self._columns.get(name)
            if column is None:
                column = self._columns[name] = _Column()
            column.add(entry, value)

    def extend(self, rows: Sequence[tuple[int, bytes]], lost: Sequence[int]) -> None:
        """Label sets as dump_labels() wrote them, and ids whose labels cannot be read."""
        for (entry, _), labels in zip(rows, load_all([text for _, text in rows]), strict=True):
            self.add(entry, labels)
        for entry in lost:
            self.lose(entry)

    def without(self, gone: Ids) -> "LabelTable":
        """A copy that does not have some of the ids; far cheaper than to read the others anew."""
        copy = LabelTable()
        copy.by_id, without = list(self.by_id), set(gone.tolist())
        for entry in without:
            copy.by_id[entry] = None
        # In the order of the ids: of two with the same labels the later one counts.
        named = enumerate(copy.by_id)
        copy.ids = {labels: entry for entry, labels in named if labels is not None}
        copy.lost = [entry for entry in self.lost if entry not in without]
        columns = ((name, column.without(gone)) for name, column in self._columns.items())
        copy._columns = {name: column for name, column in columns if column.values}
        return copy

    def known(self) -> Ids:
        """All ids, of those that are lost too."""
        found = [entry for entry, labels in enumerate(self.by_id) if labels is not None]
        return np.array(sorted({*found, *self.lost}), np.int64)

    def lose(self, entry: int) -> None:
        """An id whose labels cannot be read: it matches nothing."""
        self.by_id.extend([None] * (entry - self.last_id))
        self.lost.append(entry)

    def knows(self, entry: int) -> bool:
        """Whether there is such an id, lost or not."""
        if not 0 < entry < len(self.by_id):
            return False
        return self.by_id[entry] is not None or entry in self.lost

    def is_lost(self) -> NDArray[np.bool_]:
        """By id."""
        mask = np.zeros(len(self.by_id), bool)
        mask[self.lost] = True
        return mask

    def get(self, entry: int) -> Labels:
        labels = self.by_id[entry]
        assert labels is not None, f"id {entry} is in use but has no labels"
        return labels

    def names(self) -> list[str]:
        return list(self._columns)

    def all_values(self, name: str) -> set[str]:
        """The non-empty values of label name."""
        column = self._columns.get(name)
        return set(column.values) - {""} if column is not None else set()

    def codes(self, name: str) -> NDArray[np.int32]:
        """By id, a code of the value of label name, or SILENT where the set does not name it."""
        column = self._columns.get(name)
        size = len(self.by_id)
        if column is None:
            return np.full(size, SILENT, np.int32)
        if column.dense is None or len(column.dense) != size:
            dense = np.full(size, SILENT, np.int32)
            dense[np.array(column.ids)] = np.array(column.codes)
            column.dense = dense
        return column.dense

    def values(self, name: str, entries: Ids) -> set[str]:
        """The non-empty values of label name among some of the sets."""
        column = self._columns.get(name)
        if column is None:
            return set()
        found = np.unique(self.codes(name)[entries])
        return {column.values[code] for code in found.tolist() if code >= 0} - {""}

    def weighed(self, name: str, weights: NDArray[np.int64]) -> dict[str, int]:
        """By non-empty value of label name, the sum of the weights of the ids that have it."""
        column = self._columns.get(name)
        if column is None:
            return {}
        codes = self.codes(name)
        named = codes >= 0
        sums = np.bincount(codes[named], weights[named], len(column.values)).astype(np.int64)
        found = zip(column.values, sums.tolist(), strict=True)
        return {value: total for value, total in found if value and total}

    def verdict(self, matcher: Matcher) -> NDArray[np.int8]:
        """By id: PASS, FAIL, or SILENT where the set does not name the matcher's label."""
        codes = self.codes(matcher.name)
        column = self._columns.get(matcher.name)
        if column is None:
            return codes.astype(np.int8)
        if matcher.op == "=":
            wanted = column.code_of.get(matcher.value, -2)
            verdict: NDArray[np.int8] = np.where(codes < 0, SILENT, codes == wanted).astype(np.int8)
            return verdict
        passes = matcher.predicate()
        # The last place is what the code SILENT (-1) picks.
        by_code = np.array([*map(passes, column.values), SILENT], np.int8)
        return by_code[codes]


def dump_labels(labels: Labels) -> str:
    return json.dumps([text for pair in labels for text in pair], ensure_ascii=False)


def load_all(texts: Sequence[bytes]) -> list[Labels]:
    """What dump_labels() wrote; ValueError where it is not."""
    # In one go: half of the time that it takes one by one.
    flat = json.loads(b"[%s]" % b",".join(texts))
    return [Labels(zip(one[::2], one[1::2], strict=True)) for one in flat]
