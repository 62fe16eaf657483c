"""Functions of time: time(), timestamp(), the parts of a date in UTC, the query's own times."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from fleetpulse.model import Labels
from fleetpulse.promql.arguments import Function, vector
from fleetpulse.promql.context import EvalContext
from fleetpulse.promql.frames import Floats, Frame, ScalarFrame, Value
from fleetpulse.promql.syntax import Call

Seconds = NDArray[np.int64]

_DAY = 86_400
# Some 30 million years either way. Further off, a date is no more than an overflow.
_FURTHEST = 1e15


def _time(ctx: EvalContext, _: Sequence[Value], __: Call) -> Value:
    return ScalarFrame(ctx.steps_ms / 1000)


def _timestamp(ctx: EvalContext, args: Sequence[Value], call: Call) -> Value:
    """Of anything but a selector, which has samples with times of their own: the step's time."""
    frame = vector(args, 0, call)
    values = np.broadcast_to(ctx.steps_ms / 1000, frame.values.shape)
    return frame.with_values(values, drop_name=True)


def _days(seconds: Seconds) -> NDArray[np.datetime64]:
    return np.floor_divide(seconds, _DAY).astype("datetime64[D]")


def _since(days: NDArray[np.datetime64], unit: str) -> Seconds:
    """Whole days since the start of the month (M) or year (Y)."""
    start = days.astype(f"datetime64[{unit}]").astype("datetime64[D]")
    since: Seconds = (days - start).astype(np.int64)
    return since


def _days_in_month(seconds: Seconds) -> Seconds:
    month = _days(seconds).astype("datetime64[M]")
    after = (month + np.timedelta64(1, "M")).astype("datetime64[D]")
    length: Seconds = (after - month.astype("datetime64[D]")).astype(np.int64)
    return length


_DATE_PARTS: Mapping[str, Callable[[Seconds], Seconds]] = {
    "day_of_month": lambda seconds: _since(_days(seconds), "M") + 1,
    # The epoch's first day was a Thursday; weeks begin with Sunday as 0.
    "day_of_week": lambda seconds: (np.floor_divide(seconds, _DAY) + 4) % 7,
    "day_of_year": lambda seconds: _since(_days(seconds), "Y") + 1,
    "days_in_month": _days_in_month,
    "hour": lambda seconds: seconds % _DAY // 3600,
    "minute": lambda seconds: seconds % 3600 // 60,
    "month": lambda seconds: _days(seconds).astype("datetime64[M]").astype(np.int64) % 12 + 1,
    "year": lambda seconds: _days(seconds).astype("datetime64[Y]").astype(np.int64) + 1970,
}


def _date_part(part: Callable[[Seconds], Seconds]) -> Function:
    def apply(ctx: EvalContext, args: Sequence[Value], call: Call) -> Value:
        frame = vector(args, 0, call) if args else _now(ctx)
        return frame.with_values(_of_dates(part, frame.values), drop_name=True)

    return apply


def _now(ctx: EvalContext) -> Frame:
    """vector(time()), in whole seconds."""
    seconds = (ctx.steps_ms // 1000).astype(np.float64)[None, :]
    return Frame([Labels()], seconds, np.ones((1, ctx.steps), dtype=bool), np.ones(1, dtype=bool))


def _of_dates(part: Callable[[Seconds], Seconds], values: Floats) -> Floats:
    """NaN for what is no date."""
    dates = np.abs(values) < _FURTHEST
    seconds = np.where(dates, values, 0.0).astype(np.int64)
    return np.where(dates, part(seconds).astype(np.float64), np.nan)


def _constant(milliseconds: Callable[[EvalContext], int]) -> Function:
    def apply(ctx: EvalContext, _: Sequence[Value], __: Call) -> Value:
        return ScalarFrame(np.full(ctx.steps, milliseconds(ctx) / 1000))

    return apply


TIME: Mapping[str, Function] = {
    **{name: _date_part(part) for name, part in _DATE_PARTS.items()},
    "end": _constant(lambda ctx: ctx.end_ms),
    "range": _constant(lambda ctx: ctx.end_ms - ctx.start_ms),
    "start": _constant(lambda ctx: ctx.start_ms),
    "time": _time,
    "timestamp": _timestamp,
}
