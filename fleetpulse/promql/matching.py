"""Vector matching: which rows of two frames an operator puts together, and under which labels.

Rows are sorted into match groups once, by their labels; what Prometheus checks at each step (no
two rows of a group on the "one" side, no two results alike) is then one array operation for all
steps. Rows of a group that are never present at the same step are no fault.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fleetpulse.errors import QueryError
from fleetpulse.model import METRIC_NAME, Labels
from fleetpulse.promql.context import EvalContext
from fleetpulse.promql.frames import METADATA, Floats, Frame, Mask
from fleetpulse.promql.groups import (
    Groups,
    Index,
    Pairs,
    drop_labels,
    ensure_room,
    keep_labels,
    labels_text,
    number_keys,
)
from fleetpulse.promql.syntax import Matching


@dataclass(frozen=True, slots=True)
class Match:
    """Rows that belong together, one for each result row.

    many, one: the values of the two sides, (results, steps). many is the left-hand side except
    under group_right. present: where both are.
    """

    labels: Sequence[Labels]
    many: Floats
    one: Floats
    present: Mask
    drop_name: Mask


@dataclass(frozen=True, slots=True)
class Signatures:
    """The match group of each row, on both sides, numbered alike."""

    left: Index
    right: Index
    count: int

    @classmethod
    def of(cls, matching: Matching, left: Frame, right: Frame) -> "Signatures":
        keys = [*signatures(matching, left.labels), *signatures(matching, right.labels)]
        ids, distinct = number_keys(keys)
        return cls(ids[: left.rows], ids[left.rows :], len(distinct))


def signatures(matching: Matching, rows: Sequence[Labels]) -> list[Pairs]:
    """Of each row the labels that decide about a match."""
    if matching.on:
        return keep_labels(rows, matching.labels)
    return drop_labels(rows, (METRIC_NAME, *matching.labels))


def match(
    ctx: EvalContext, matching: Matching, left: Frame, right: Frame, *, keep_name: bool
) -> Match:
    """Pairs of rows for an arithmetic or comparison operator.

    QueryError where the match is ambiguous at any step. keep_name: results keep the metric name
    of the many side (a comparison that filters) until drop_name says otherwise.
    """
    swapped = matching.card == "one-to-many"
    many, one = (right, left) if swapped else (left, right)
    ids = Signatures.of(matching, many, one)
    pairing = _Pairing(ctx, matching, many, one, ids)
    pairing.check_one_side("left" if swapped else "right", keep_name=keep_name)
    return pairing.results(keep_name=keep_name)


class _Pairing:
    """One match under way: "many" and "one" are the sides, also in one-to-one matching."""

    def __init__(
        self, ctx: EvalContext, matching: Matching, many: Frame, one: Frame, ids: Signatures
    ) -> None:
        self._ctx, self._matching, self._many, self._one, self._ids = ctx, matching, many, one, ids
        self._one_groups = Groups.of(ids.right, ids.count)
        self._duplicates_from = many.steps

    def check_one_side(self, side: str, *, keep_name: bool) -> None:
        """Finds the first step at which a match group has two rows on the "one" side.

        A fault on the other side at an earlier step comes first, as an evaluation step by step
        would have met it first.
        """
        if self._one_groups.sizes.max(initial=0) < 2:
            return
        # Prometheus looks no further at a step where either side is empty.
        busy = self._many.present.any(axis=0) & self._one.present.any(axis=0)
        twice = (self._one_groups.tally(self._one.present) > 1) & busy
        step = _first(np.logical_or.reduce(twice))
        if step == self._many.steps:
            return
        self._duplicates_from = step
        self.results(keep_name=keep_name)
        raise QueryError("execution", self._duplicate_text(step, side))

    def results(self, *, keep_name: bool) -> Match:
        """The result rows, for steps before the first duplicate on the "one" side."""
        keys = (
            (group, self._included(labels))
            for group, labels in zip(self._ids.right.tolist(), self._one.labels, strict=True)
        )
        variant_of_row, variants = number_keys(keys)
        by_variant = Groups.of(variant_of_row, len(variants))
        one_present = by_variant.any(self._one.present)
        one_present[:, self._duplicates_from :] = False
        many_rows, chosen = self._pairs([group for group, _ in variants], one_present)
        bare = self._bare_labels(keep_name=keep_name)
        labels = [
            self._with_included(bare[row], variants[variant][1])
            for row, variant in zip(many_rows.tolist(), chosen.tolist(), strict=True)
        ]
        present = self._many.present[many_rows] & one_present[chosen]
        self._check_results(many_rows, labels, present)
        one_values = by_variant.only_present(self._one.values, self._one.present)
        return Match(
            labels,
            self._many.values[many_rows],
            one_values[chosen],
            present,
            self._many.drop_name[many_rows],
        )

    def _included(self, labels: Labels) -> tuple[str, ...]:
        return tuple(labels.get(name) for name in self._matching.include)

    def _pairs(self, groups: Sequence[int], one_present: Mask) -> tuple[Index, Index]:
        """All (row of the many side, variant of the one side) that are ever present together.

        groups: the match group of each variant.
        """
        variants = Groups.of(np.array(groups, dtype=np.intp), self._ids.count)
        if variants.sizes.max(initial=0) > 1:
            return self._changing_pairs(variants, one_present)
        partner = np.full(self._ids.count, -1)
        partner[variants.ids] = np.arange(len(groups))
        chosen = partner[self._ids.left]
        rows = np.flatnonzero(chosen >= 0)
        alive = (self._many.present[rows] & one_present[chosen[rows]]).any(axis=1)
        return rows[alive], chosen[rows[alive]]

    def _changing_pairs(self, variants: Groups, one_present: Mask) -> tuple[Index, Index]:
        """As _pairs(), where groups have several variants, of which one is present at a step."""
        count = len(variants.ids)
        numbers = np.arange(count, dtype=np.float64)[:, None]
        variant = variants.only_present(np.broadcast_to(numbers, one_present.shape), one_present)
        both = self._many.present & variants.any(one_present)[self._ids.left]
        rows, steps = np.nonzero(both)
        chosen = variant[self._ids.left[rows], steps].astype(np.intp)
        # Row by row; no product of all rows with all variants is ever made.
        codes = np.unique(rows * count + chosen)
        ensure_room(self._ctx, len(codes), self._many.steps)
        return codes // count, codes % count

    def _bare_labels(self, *, keep_name: bool) -> list[Pairs]:
        """What a result keeps of each of the many side's rows."""
        matching, rows = self._matching, self._many.labels
        dropped = () if keep_name else METADATA
        if matching.card != "one-to-one":
            return drop_labels(rows, dropped)
        if not matching.on:
            return drop_labels(rows, (*matching.labels, *dropped))
        return keep_labels(rows, set(matching.labels).difference(dropped))

    def _with_included(self, bare: Pairs, included: tuple[str, ...]) -> Labels:
        if not included:
            return Labels(bare)
        added = zip(self._matching.include, included, strict=True)
        return Labels.of({**dict(bare), **dict(added)})

    def _check_results(self, rows: Index, labels: Sequence[Labels], present: Mask) -> None:
        """QueryError where two rows of the many side make one result at the same step."""
        groups = self._ids.left[rows]
        if self._matching.card == "one-to-one":
            clashing = Groups.of(groups, self._ids.count)
            message = (
                "multiple matches for labels: many-to-one matching must be explicit "
                "(group_left/group_right)"
            )
        else:
            ids, distinct = number_keys(zip(groups.tolist(), labels, strict=True))
            clashing = Groups.of(ids, len(distinct))
            message = "multiple matches for labels: grouping labels must ensure unique matches"
        if clashing.sizes.max(initial=0) > 1 and (clashing.tally(present) > 1).any():
            raise QueryError("execution", message)

    def _duplicate_text(self, step: int, side: str) -> str:
        seen: dict[int, int] = {}
        for row in np.flatnonzero(self._one.present[:, step]).tolist():
            group = int(self._ids.right[row])
            if group in seen:
                return self._two_rows_text(seen[group], row, side)
            seen[group] = row
        raise AssertionError("no duplicate where one was counted")

    def _two_rows_text(self, first: int, second: int, side: str) -> str:
        (key,) = signatures(self._matching, [self._one.labels[second]])
        group = labels_text(key)
        # In the order of their text, so that the message is the same each time.
        rows = ", ".join(sorted(labels_text(self._one.labels[row]) for row in (first, second)))
        return (
            f"found duplicate series for the match group {group} on the {side} hand-side of the "
            f"operation: [{rows}];many-to-many matching not allowed: matching labels must be "
            "unique on one side"
        )


def _first(steps: Mask) -> int:
    """The first step that is set; how many there are where none is."""
    found = np.flatnonzero(steps)
    return int(found[0]) if len(found) else len(steps)
