"""Frames written as text, and expressions evaluated over them without a store or an engine."""

import math
import re
import time
from collections.abc import Sequence

import numpy as np

from api.jsonvalues import value_text
from fleetpulse.matchers import all_match
from fleetpulse.model import METRIC_NAME, Labels
from fleetpulse.promql import aggregate, operators
from fleetpulse.promql.context import Annotations, Budget, EvalContext
from fleetpulse.promql.frames import Frame, ScalarFrame, StringFrame, Value
from fleetpulse.promql.functions import FUNCTIONS
from fleetpulse.promql.syntax import (
    Aggregate,
    Binary,
    Call,
    Expr,
    Number,
    Paren,
    Selector,
    Text,
    Unary,
    parse,
)

_ROW = re.compile(r"(?P<name>[\w:]*)(?:\{(?P<labels>.*)\})?\s+(?P<values>[^}]*)")
_LABEL = re.compile(r'(\w+)="([^"]*)"')


def context(steps: int = 1, *, max_samples: int = 10**9) -> EvalContext:
    """An evaluation from time 0 on, a minute a step. With one step it is an instant query."""
    return EvalContext(
        steps_ms=np.arange(steps, dtype=np.int64) * 60_000,
        step_ms=60_000,
        lookback_ms=300_000,
        start_ms=0,
        end_ms=(steps - 1) * 60_000,
        is_range=steps > 1,
        budget=Budget(time.monotonic() + 3600, max_samples),
        annotations=Annotations(),
        delayed_names=True,
    )


def frame(rows: str) -> Frame:
    """A line for each row: `name{label="value"} 1 2 _ NaN`, an underscore where it is absent."""
    lines = [_parse_row(line.strip()) for line in rows.splitlines() if line.strip()]
    if not lines:
        return Frame.empty(1)
    return of_rows([labels for labels, _ in lines], [cells for _, cells in lines])


def of_rows(labels: Sequence[Labels], cells: Sequence[Sequence[float | None]]) -> Frame:
    """A frame of cells, None where a row is absent."""
    return Frame(
        labels,
        np.array([[0.0 if cell is None else cell for cell in row] for row in cells]),
        np.array([[cell is not None for cell in row] for row in cells]),
        np.zeros(len(labels), dtype=bool),
    )


def _parse_row(line: str) -> tuple[Labels, list[float | None]]:
    match = _ROW.fullmatch(line)
    assert match is not None, f"{line!r} is no row"
    labels = dict(_LABEL.findall(match["labels"] or "")) | {METRIC_NAME: match["name"]}
    cells = [None if cell == "_" else float(cell) for cell in match["values"].split()]
    return Labels.of(labels), cells


def show(value: Value) -> list[str]:
    """The rows as frame() reads them, names dropped as an answer drops them."""
    if isinstance(value, StringFrame):
        return [value.text]
    if isinstance(value, ScalarFrame):
        return [" ".join(_cell(number) for number in value.values)]
    return [
        " ".join([_labels(value.shown_labels(row)), *_cells(value, row)])
        for row in range(value.rows)
    ]


def _cells(value: Frame, row: int) -> list[str]:
    cells = zip(value.values[row].tolist(), value.present[row].tolist(), strict=True)
    return [_cell(number) if here else "_" for number, here in cells]


def _cell(number: float) -> str:
    if math.isfinite(number) and number != 0:
        number = float(f"{number:.12g}")
    return value_text(float(number))


def _labels(labels: Labels) -> str:
    return str(labels) if labels else "{}"


def evaluate(query: str, rows: str = "", ctx: EvalContext | None = None) -> Value:
    """The expression over a frame of rows, from which its selectors choose."""
    data = frame(rows)
    ctx = context(data.steps) if ctx is None else ctx
    return _evaluate(parse(query), data, ctx)


def _evaluate(expr: Expr, data: Frame, ctx: EvalContext) -> Value:
    match expr:
        case Number():
            return ScalarFrame(np.full(ctx.steps, expr.value))
        case Text():
            return StringFrame(expr.value)
        case Paren():
            return _evaluate(expr.expr, data, ctx)
        case Selector():
            rows = np.array([all_match(expr.matchers, labels) for labels in data.labels], bool)
            return data.take(rows).compact()
        case Unary():
            return operators.unary(ctx, expr, _evaluate(expr.expr, data, ctx))
        case Binary():
            sides = (_evaluate(side, data, ctx) for side in (expr.lhs, expr.rhs))
            return operators.binary(ctx, expr, *sides)
        case Aggregate():
            param = None if expr.param is None else _evaluate(expr.param, data, ctx)
            frame = _evaluate(expr.expr, data, ctx)
            assert isinstance(frame, Frame)
            return aggregate.aggregate(ctx, expr, frame, param)
        case Call():
            args = [_evaluate(arg, data, ctx) for arg in expr.args]
            return FUNCTIONS[expr.func](ctx, args, expr)
        case _:
            raise AssertionError(f"not for these tests: {expr}")
