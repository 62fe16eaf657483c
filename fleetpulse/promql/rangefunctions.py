"""The table of functions that take a range vector."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from fleetpulse.promql import overtime, rates, regression
from fleetpulse.promql.context import EvalContext
from fleetpulse.promql.frames import Floats, Mask
from fleetpulse.promql.windows import Windows

# (windows, scalar arguments at each step, context) → values and presence, (rows, steps).
Reduce = Callable[[Windows, Sequence[Floats], EvalContext], tuple[Floats, Mask]]


@dataclass(frozen=True, slots=True)
class RangeFunction:
    """keeps_name: the result is still the metric itself. counter: meant for counters only."""

    reduce: Reduce
    keeps_name: bool = False
    counter: bool = False


RANGE_FUNCTIONS: Mapping[str, RangeFunction] = {
    "avg_over_time": RangeFunction(overtime.avg_over_time),
    "changes": RangeFunction(rates.changes),
    "count_over_time": RangeFunction(overtime.count_over_time),
    "delta": RangeFunction(rates.delta),
    "deriv": RangeFunction(regression.deriv),
    "double_exponential_smoothing": RangeFunction(overtime.double_exponential_smoothing),
    "first_over_time": RangeFunction(overtime.first_over_time, keeps_name=True),
    "idelta": RangeFunction(rates.idelta),
    "increase": RangeFunction(rates.increase, counter=True),
    "irate": RangeFunction(rates.irate),
    "last_over_time": RangeFunction(overtime.last_over_time, keeps_name=True),
    "mad_over_time": RangeFunction(overtime.mad_over_time),
    "max_over_time": RangeFunction(overtime.max_over_time),
    "min_over_time": RangeFunction(overtime.min_over_time),
    "predict_linear": RangeFunction(regression.predict_linear),
    "present_over_time": RangeFunction(overtime.present_over_time),
    "quantile_over_time": RangeFunction(overtime.quantile_over_time),
    "rate": RangeFunction(rates.rate, counter=True),
    "resets": RangeFunction(rates.resets),
    "stddev_over_time": RangeFunction(overtime.stddev_over_time),
    "stdvar_over_time": RangeFunction(overtime.stdvar_over_time),
    "sum_over_time": RangeFunction(overtime.sum_over_time),
    "ts_of_first_over_time": RangeFunction(overtime.ts_of_first),
    "ts_of_last_over_time": RangeFunction(overtime.ts_of_last),
    "ts_of_max_over_time": RangeFunction(overtime.ts_of_max),
    "ts_of_min_over_time": RangeFunction(overtime.ts_of_min),
}
