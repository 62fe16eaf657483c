"""The table of functions that take a range vector."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from fleetpulse.promql import overtime, past, rates, regression
from fleetpulse.promql.context import EvalContext
from fleetpulse.promql.frames import Floats, Mask
from fleetpulse.promql.past import PastReduce
from fleetpulse.promql.windows import Windows

# (windows, scalar arguments at each step, context) → values and presence, (rows, steps).
Reduce = Callable[[Windows, Sequence[Floats], EvalContext], tuple[Floats, Mask]]


@dataclass(frozen=True, slots=True)
class RangeFunction:
    """keeps_name: the result is still the metric itself. counter: meant for counters only.

    past: the same of windows instead of samples; None where a store never gives windows.
    """

    reduce: Reduce
    keeps_name: bool = False
    counter: bool = False
    past: PastReduce | None = None


RANGE_FUNCTIONS: Mapping[str, RangeFunction] = {
    "avg_over_time": RangeFunction(overtime.avg_over_time, past=past.average),
    "changes": RangeFunction(rates.changes),
    "count_over_time": RangeFunction(overtime.count_over_time, past=past.count),
    "delta": RangeFunction(rates.delta),
    "deriv": RangeFunction(regression.deriv),
    "double_exponential_smoothing": RangeFunction(overtime.double_exponential_smoothing),
    "first_over_time": RangeFunction(overtime.first_over_time, keeps_name=True),
    "idelta": RangeFunction(rates.idelta),
    "increase": RangeFunction(rates.increase, counter=True, past=past.increase),
    "irate": RangeFunction(rates.irate),
    "last_over_time": RangeFunction(overtime.last_over_time, keeps_name=True, past=past.last),
    "mad_over_time": RangeFunction(overtime.mad_over_time),
    "max_over_time": RangeFunction(overtime.max_over_time, past=past.greatest),
    "min_over_time": RangeFunction(overtime.min_over_time, past=past.least),
    "predict_linear": RangeFunction(regression.predict_linear),
    "present_over_time": RangeFunction(overtime.present_over_time, past=past.present),
    "quantile_over_time": RangeFunction(overtime.quantile_over_time),
    "rate": RangeFunction(rates.rate, counter=True, past=past.rate),
    "resets": RangeFunction(rates.resets),
    "stddev_over_time": RangeFunction(overtime.stddev_over_time),
    "stdvar_over_time": RangeFunction(overtime.stdvar_over_time),
    "sum_over_time": RangeFunction(overtime.sum_over_time, past=past.total),
    "ts_of_first_over_time": RangeFunction(overtime.ts_of_first),
    "ts_of_last_over_time": RangeFunction(overtime.ts_of_last),
    "ts_of_max_over_time": RangeFunction(overtime.ts_of_max),
    "ts_of_min_over_time": RangeFunction(overtime.ts_of_min),
}
