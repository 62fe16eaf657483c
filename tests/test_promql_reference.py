"""Operators and aggregations against a plain evaluation, step by step and sample by sample."""

import math
import statistics
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetpulse.errors import QueryError
from fleetpulse.model import Labels
from fleetpulse.promql import aggregate, operators
from fleetpulse.promql.frames import Frame, ScalarFrame
from fleetpulse.promql.syntax import Aggregate, Binary, Matching, Number
from tests.frames_fakes import context, of_rows

STEPS = 3
# A sample is its labels and its value; the answer at a step is a list of them.
Samples = list[tuple[Labels, float]]

values = st.none() | st.sampled_from([-1.0, 0.0, 1.0, 2.0, 3.0])


@st.composite
def frames(draw: st.DrawFn, name: str) -> Frame:
    sets = st.builds(
        lambda a, b: Labels.of(__name__=name, a=a, b=b),
        st.sampled_from(["", "1", "2"]),
        st.sampled_from(["", "1", "2"]),
    )
    labels = draw(st.lists(sets, unique=True, max_size=5))
    if not labels:
        return Frame.empty(STEPS)
    cells = st.lists(values, min_size=STEPS, max_size=STEPS)
    return of_rows(labels, [draw(cells) for _ in labels])


subsets = st.sets(st.sampled_from(["a", "b"])).map(lambda names: tuple(sorted(names)))


def at_step(frame: Frame, step: int) -> Samples:
    return [
        (frame.labels[row], float(frame.values[row, step]))
        for row in range(frame.rows)
        if frame.present[row, step]
    ]


def shown(frame: Frame, step: int) -> Counter[tuple[Labels, float]]:
    kept = [
        (frame.shown_labels(row), float(frame.values[row, step]))
        for row in range(frame.rows)
        if frame.present[row, step]
    ]
    return Counter(kept)


def signature(matching: Matching, labels: Labels) -> Labels:
    if matching.on:
        return labels.only(*matching.labels)
    return labels.without("__name__", *matching.labels)


ARITHMETIC = {"+": float.__add__, "-": float.__sub__}
COMPARES = {">": float.__gt__, "==": float.__eq__, "<=": float.__le__}


def plain_binary(node: Binary, left: Samples, right: Samples) -> Samples:
    """One step of an arithmetic or comparison operator, as PromQL's documentation has it."""
    matching = node.matching
    swapped = matching.card == "one-to-many"
    many, one = (right, left) if swapped else (left, right)
    if not many or not one:
        return []
    partners: dict[Labels, tuple[Labels, float]] = {}
    for labels, value in one:
        if partners.setdefault(signature(matching, labels), (labels, value))[0] != labels:
            raise QueryError("execution", "found duplicate series")
    results: Samples = []
    seen: set[tuple[Labels, Labels]] = set()
    for labels, value in many:
        key = signature(matching, labels)
        if key not in partners:
            continue
        result = plain_labels(node, labels, partners[key][0])
        alike = (key, Labels() if matching.card == "one-to-one" else result)
        if alike in seen:
            raise QueryError("execution", "multiple matches for labels")
        seen.add(alike)
        pair = (partners[key][1], value) if swapped else (value, partners[key][1])
        results += plain_value(node, result, *pair)
    return results


def plain_labels(node: Binary, many: Labels, one: Labels) -> Labels:
    matching = node.matching
    if node.op in ARITHMETIC:
        many = many.without("__name__")
    if matching.card == "one-to-one":
        on = matching.labels
        return many.only(*on) if matching.on else many.without(*on)
    return many.with_(**{name: one.get(name) for name in matching.include})


def plain_value(node: Binary, labels: Labels, left: float, right: float) -> Samples:
    if node.op in ARITHMETIC:
        return [(labels, ARITHMETIC[node.op](left, right))]
    holds = COMPARES[node.op](left, right)
    if node.return_bool:
        return [(labels.without("__name__"), float(holds))]
    return [(labels, left)] if holds else []


@st.composite
def operations(draw: st.DrawFn) -> Binary:
    on, labels = draw(st.booleans()), draw(subsets)
    card = draw(st.sampled_from(["one-to-one", "many-to-one", "one-to-many"]))
    # The parser refuses a label both in on() and in group_left().
    free = [name for name in ("a", "b") if not (on and name in labels)]
    include = draw(st.sets(st.sampled_from(free))) if free and card != "one-to-one" else set()
    op = draw(st.sampled_from([*ARITHMETIC, *COMPARES]))
    return_bool = op in COMPARES and draw(st.booleans())
    matching = Matching(card, on, labels, tuple(sorted(include)))
    return Binary(op, Number(0), Number(0), matching, return_bool)


@settings(max_examples=300, deadline=None)
@given(operations(), frames("l"), frames("r"))
def test_binary_operators(node: Binary, left: Frame, right: Frame) -> None:
    expected: list[Samples] = []
    fault = None
    for step in range(STEPS):
        try:
            expected.append(plain_binary(node, at_step(left, step), at_step(right, step)))
        except QueryError as err:
            fault = str(err)
            break
    if fault is not None:
        with pytest.raises(QueryError, match=fault):
            operators.binary(context(STEPS), node, left, right)
        return
    found = operators.binary(context(STEPS), node, left, right)
    assert isinstance(found, Frame)
    assert [shown(found, step) for step in range(STEPS)] == [Counter(one) for one in expected]
    assert found.present.any(axis=1).all()


def plain_set(op: str, matching: Matching, left: Samples, right: Samples) -> Samples:
    ours = {signature(matching, labels) for labels, _ in left}
    theirs = {signature(matching, labels) for labels, _ in right}
    if op == "or":
        return left + [one for one in right if signature(matching, one[0]) not in ours]
    return [one for one in left if (signature(matching, one[0]) in theirs) == (op == "and")]


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["and", "or", "unless"]),
    st.booleans(),
    subsets,
    frames("l"),
    frames("r") | frames("l"),
)
def test_set_operators(
    op: str, on: bool, labels: tuple[str, ...], left: Frame, right: Frame
) -> None:
    matching = Matching("many-to-many", on, labels)
    node = Binary(op, Number(0), Number(0), matching)
    found = operators.binary(context(STEPS), node, left, right)
    assert isinstance(found, Frame)
    for step in range(STEPS):
        expected = plain_set(op, matching, at_step(left, step), at_step(right, step))
        assert shown(found, step) == Counter(expected)


def plain_quantile(wanted: float, numbers: Sequence[float]) -> float:
    ordered = sorted(numbers)
    rank = wanted * (len(ordered) - 1)
    low, weight = math.floor(rank), rank - math.floor(rank)
    return ordered[low] * (1 - weight) + ordered[min(low + 1, len(ordered) - 1)] * weight


REDUCTIONS = {
    "sum": math.fsum,
    "avg": statistics.fmean,
    "min": min,
    "max": max,
    "count": len,
    "group": lambda _: 1.0,
    "stdvar": statistics.pvariance,
    "stddev": statistics.pstdev,
    "quantile": lambda numbers: plain_quantile(0.3, numbers),
}
numbers = st.none() | st.floats(-1e6, 1e6) | st.sampled_from([1e100, -1e100, 0.1])


def group_of(node: Aggregate, labels: Labels) -> Labels:
    if node.without:
        return labels.without("__name__", *node.grouping)
    return labels.only(*node.grouping)


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(sorted(REDUCTIONS)),
    st.booleans(),
    subsets,
    st.lists(st.lists(numbers, min_size=STEPS, max_size=STEPS), min_size=1, max_size=9),
)
def test_aggregations(
    op: str, without: bool, grouping: tuple[str, ...], cells: list[list[float | None]]
) -> None:
    labels = [Labels.of(__name__="x", a=str(i % 2), b=str(i)) for i in range(len(cells))]
    frame = of_rows(labels, cells)
    node = Aggregate(op, Number(0), Number(0), grouping, without)
    param = ScalarFrame(np.full(STEPS, 0.3))
    found = aggregate.aggregate(context(STEPS), node, frame, param)
    for step in range(STEPS):
        groups: dict[Labels, list[float]] = {}
        for row, value in at_step(frame, step):
            groups.setdefault(group_of(node, row), []).append(value)
        answer = dict(at_step(found, step))
        assert answer.keys() == groups.keys()
        for group, members in groups.items():
            # Beside 1e100, what is left after it cancels out is what is compared.
            scale = max(abs(value) for value in members) * 1e-24
            wanted = float(REDUCTIONS[op](members))
            assert answer[group] == pytest.approx(wanted, rel=1e-9, abs=scale)


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["topk", "bottomk", "limitk"]),
    subsets,
    st.integers(-1, 4),
    st.lists(
        st.lists(values | st.just(math.nan), min_size=STEPS, max_size=STEPS),
        min_size=1,
        max_size=9,
    ),
)
def test_picking_rows(
    op: str, grouping: tuple[str, ...], k: int, cells: list[list[float | None]]
) -> None:
    labels = [
        Labels.of(__name__="x", a=str(i % 2), b=str(i % 3), i=str(i)) for i in range(len(cells))
    ]
    frame = of_rows(labels, cells)
    node = Aggregate(op, Number(0), Number(0), grouping)
    found = aggregate.aggregate(context(STEPS), node, frame, ScalarFrame(np.full(STEPS, float(k))))
    sign = {"topk": -1, "bottomk": 1, "limitk": 0}[op]
    for step in range(STEPS):
        groups: dict[Labels, Samples] = {}
        for one in at_step(frame, step):
            groups.setdefault(group_of(node, one[0]), []).append(one)
        expected = set()
        for members in groups.values():
            if sign:
                members.sort(key=lambda one: (math.isnan(one[1]), sign * one[1]))
            expected |= {row for row, _ in members[: max(0, k)]}
        assert {row for row, _ in at_step(found, step)} == expected
