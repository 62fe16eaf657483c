"""Walks an expression's tree: each node takes and gives whole frames, all steps at once."""

from collections.abc import Sequence

import numpy as np

from fleetpulse.errors import QueryError
from fleetpulse.model import METRIC_NAME
from fleetpulse.promql import aggregate, info, operators
from fleetpulse.promql.absent import absent
from fleetpulse.promql.context import EvalContext
from fleetpulse.promql.frames import Floats, Frame, Mask, ScalarFrame, StringFrame, Value
from fleetpulse.promql.functions import FUNCTIONS
from fleetpulse.promql.groups import check_distinct, unite
from fleetpulse.promql.past import Stretch
from fleetpulse.promql.rangefunctions import RANGE_FUNCTIONS, RangeFunction
from fleetpulse.promql.repeats import Repeats
from fleetpulse.promql.selectors import RangeVector, Selectors, all_windows
from fleetpulse.promql.subquery import as_range, inner_context
from fleetpulse.promql.syntax import (
    Aggregate,
    Binary,
    Call,
    Expr,
    MatrixSelector,
    Number,
    Paren,
    Selector,
    Subquery,
    Text,
    Unary,
    children,
    unwrap,
    value_type,
)

# What these answer depends on the time of the evaluation, whatever their arguments say.
_DATE_PARTS = ("days_in_month", "day_of_month", "day_of_week", "day_of_year", "hour", "minute")
_DEPEND_ON_STEP = frozenset(
    (*_DATE_PARTS, "month", "year", "end", "predict_linear", "range", "start", "step")
) | {"time", "timestamp"}
# Rows × steps or samples that one call reduces: they stay in the processor's cache, what is made
# on the way takes little memory, and time is checked between.
_AT_ONCE = 1 << 17
_COUNTER_SUFFIXES = ("_total", "_sum", "_count", "_bucket")


class Evaluator:
    """Evaluates one query's expressions; not to be shared between queries."""

    def __init__(self, selectors: Selectors) -> None:
        self._selectors = selectors
        self._repeats = Repeats()

    def evaluate(self, expr: Expr, ctx: EvalContext, func: str = "") -> Value:
        """The value at ctx's steps. func: the call or aggregation right around, a hint only."""
        return self._repeats.once(expr, ctx, func, lambda: self._worked_out(expr, ctx, func))

    def _worked_out(self, expr: Expr, ctx: EvalContext, func: str) -> Value:
        before = ctx.budget.held
        value = _settled(self._evaluate(expr, ctx, func), ctx)
        ctx.budget.settle(before, value.weight)
        return value

    def _evaluate(self, expr: Expr, ctx: EvalContext, func: str) -> Value:
        ctx.check_deadline()
        if ctx.steps > 1 and _is_step_invariant(expr):
            first = ctx.at_steps(ctx.steps_ms[:1], ctx.step_ms)
            once = self.evaluate(expr, first, func)
            ctx.seen.add_at_each(first.seen, ctx.steps)
            return _repeat(once, ctx.steps)
        match expr:
            case Number():
                return ScalarFrame(np.full(ctx.steps, expr.value))
            case Text():
                return StringFrame(expr.value)
            case Paren():
                return self.evaluate(expr.expr, ctx, func)
            case Selector():
                return self._selectors.instant(expr, ctx, func)
            case Unary():
                return operators.unary(ctx, expr, self.evaluate(expr.expr, ctx))
            case Binary():
                return self._binary(expr, ctx)
            case Aggregate():
                return self._aggregate(expr, ctx)
            case Call():
                return self._call(expr, ctx)
            case MatrixSelector() | Subquery():
                raise QueryError("bad_data", "a range vector can only be a function's argument")

    def frame(self, expr: Expr, ctx: EvalContext, func: str = "") -> Frame:
        value = self.evaluate(expr, ctx, func)
        if not isinstance(value, Frame):
            raise QueryError("bad_data", f"expected an instant vector, got {value_type(expr)}")
        return value

    def _binary(self, expr: Binary, ctx: EvalContext) -> Value:
        """Down a chain of left operands in a loop, so that a long one needs no deep stack."""
        chain = [expr]
        while isinstance(chain[-1].lhs, Binary) and not (
            ctx.steps > 1 and _is_step_invariant(chain[-1].lhs)
        ):
            chain.append(chain[-1].lhs)
        before = ctx.budget.held
        value = self.evaluate(chain[-1].lhs, ctx)
        for link in reversed(chain):
            right = self.evaluate(link.rhs, ctx)
            value = operators.binary(ctx.at_node(link.pos), link, value, right)
            value = _settled(value, ctx)
            ctx.budget.settle(before, value.weight)
        return value

    def _aggregate(self, expr: Aggregate, ctx: EvalContext) -> Frame:
        param = None if expr.param is None else self.evaluate(expr.param, ctx)
        frame = self.frame(expr.expr, ctx, expr.op)
        at = expr.expr.pos if expr.param is None else expr.param.pos
        return aggregate.aggregate(ctx.at_node(at), expr, frame, param)

    def _call(self, call: Call, ctx: EvalContext) -> Value:
        argument = unwrap(call.args[0]) if call.args else None
        if call.func == "timestamp" and isinstance(argument, Selector):
            return self._selectors.instant_times(argument, ctx)
        if call.func == "step":
            return ScalarFrame(np.full(ctx.steps, ctx.query_step_ms / 1000))
        if call.func == "absent":
            return absent(call.args[0], self.frame(call.args[0], ctx, call.func).present)
        if call.func == "absent_over_time":
            return self._absent_over_time(call, ctx)
        if call.func == "info":
            return self._info(call, ctx)
        if call.func in RANGE_FUNCTIONS:
            return self._range_call(call, RANGE_FUNCTIONS[call.func], ctx)
        function = FUNCTIONS.get(call.func)
        if function is None:
            raise QueryError("bad_data", f"not supported: function {call.func}()")
        args = [self.evaluate(arg, ctx, call.func) for arg in call.args]
        return function(ctx.at_node(_place(call)), args, call)

    def _info(self, call: Call, ctx: EvalContext) -> Frame:
        base = self.frame(call.args[0], ctx, call.func)
        selection = info.Selection.of(call)
        selector = info.info_selector(call, selection, base)
        infos = Frame.empty(ctx.steps)
        if selector is not None:
            infos = self._selectors.instant_times(selector, ctx)
        return info.enriched(ctx, selection, base, infos)

    def _absent_over_time(self, call: Call, ctx: EvalContext) -> Frame:
        found = self._over_windows(call, RANGE_FUNCTIONS["present_over_time"], ctx)
        return absent(call.args[0], found.present)

    def _range_call(self, call: Call, function: RangeFunction, ctx: EvalContext) -> Frame:
        frame = self._over_windows(call, function, ctx).compact()
        if function.counter:
            at = ctx.at_node(call.args[0].pos)
            for name in dict.fromkeys(labels.get(METRIC_NAME) for labels in frame.labels):
                _check_counter_name(name, at)
        if not (ctx.delayed_names or function.keeps_name):
            frame = frame.without_names()
            check_distinct(frame)
        return frame

    def _over_windows(self, call: Call, function: RangeFunction, ctx: EvalContext) -> Frame:
        source: RangeVector | None = None
        scalars: list[Floats] = []
        for arg in call.args:
            if value_type(arg) == "matrix":
                source = self._range_vector(arg, ctx, call.func)
            else:
                value = self.evaluate(arg, ctx)
                assert isinstance(value, ScalarFrame)
                scalars.append(value.values)
        if source is None:
            raise QueryError("bad_data", f"{call.func}() needs a range vector")
        return _reduce(source, function, scalars, ctx.at_node(call.args[0].pos))

    def _range_vector(self, arg: Expr, ctx: EvalContext, func: str) -> RangeVector:
        arg = unwrap(arg)
        if isinstance(arg, MatrixSelector):
            return self._selectors.windows(arg, ctx, func)
        assert isinstance(arg, Subquery)
        inner = inner_context(arg, ctx)
        frame = self.frame(arg.expr, inner) if inner.steps else Frame.empty(0)
        return as_range(arg, frame, inner, ctx)


def _reduce(
    source: RangeVector, function: RangeFunction, scalars: Sequence[Floats], ctx: EvalContext
) -> Frame:
    shape = len(source.labels), ctx.steps
    ctx.budget.take(shape[0] * shape[1])
    values, present = np.zeros(shape), np.zeros(shape, dtype=bool)
    steps = _reduce_past(source, function, ctx, values, present)
    looked = np.zeros(ctx.steps, dtype=np.int64)
    bounds = source.start_ms[steps], source.end_ms[steps], ctx.steps_ms[steps]
    for of_windows, windows in all_windows(source.blocks, *bounds):
        looked[steps] += windows.counts * len(of_windows)
        at_once = max(1, _AT_ONCE // max(ctx.steps, windows.samples))
        for begin in range(0, len(of_windows), at_once):
            ctx.check_deadline()
            part = slice(begin, begin + at_once)
            rows = of_windows[part]
            reduced = function.reduce(windows.only(part), scalars, ctx)
            values[rows, steps], present[rows, steps] = reduced
    ctx.seen.add(looked)
    dropped: Mask = source.drop_name if function.keeps_name else np.ones(shape[0], dtype=bool)
    return Frame(source.labels, values, present, dropped)


def _reduce_past(
    source: RangeVector, function: RangeFunction, ctx: EvalContext, values: Floats, present: Mask
) -> slice:
    """Fills in the steps whose windows begin where there are no samples; which are left."""
    past = source.past
    if past is None or function.past is None:
        return slice(None)
    # The windows' starts rise, so these steps are the first ones.
    count = int(np.searchsorted(source.start_ms, past.until_ms))
    starts, ends = source.start_ms[:count], source.end_ms[:count]
    for block, samples, crossing in past.blocks:
        ctx.check_deadline()
        stretch = Stretch.of(block, samples, crossing, starts, ends, past)
        values[block.rows, :count], present[block.rows, :count] = function.past(stretch)
    return slice(count, None)


def _check_counter_name(name: str, ctx: EvalContext) -> None:
    if name and not name.endswith(_COUNTER_SUFFIXES):
        ctx.info(
            "metric might not be a counter, name does not end in _total/_sum/_count/_bucket:"
            f' "{name}"'
        )


def _settled(value: Value, ctx: EvalContext) -> Value:
    """The value with its names dropped now, unless that waits for the end of the query."""
    if ctx.delayed_names or not isinstance(value, Frame) or not value.drop_name.any():
        return value
    return unite(value.compact().without_names())


def _place(call: Call) -> int:
    """Where annotations of a function point: at its first argument of type vector, or itself."""
    if call.func.startswith("sort"):
        return call.pos
    vectors = (arg.pos for arg in call.args if value_type(arg) == "vector")
    return next(vectors, call.pos)


def _is_step_invariant(expr: Expr) -> bool:
    """Whether the value is the same at every step: all that is selected is fixed by @."""
    waiting, selects = [expr], False
    while waiting:
        node = waiting.pop()
        match node:
            case Selector() | Subquery():
                if node.at is None:
                    return False
                selects = True
            case Call() if node.func in _DEPEND_ON_STEP:
                bare = isinstance(unwrap(node.args[0]), Selector) if node.args else False
                if node.func != "timestamp" or not bare:
                    return False
                waiting += node.args
            case _:
                waiting += children(node)
    return selects


def _repeat(value: Value, steps: int) -> Value:
    match value:
        case Frame():
            shape = value.rows, steps
            values = np.broadcast_to(value.values, shape)
            present = np.broadcast_to(value.present, shape)
            return Frame(value.labels, values, present, value.drop_name)
        case ScalarFrame():
            return ScalarFrame(np.broadcast_to(value.values, (steps,)))
        case _:
            return value
