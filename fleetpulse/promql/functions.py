"""All functions over instant vectors, scalars and strings, by name.

Those over range vectors are in windows.py; absent() and timestamp() of a selector need to see the
expression and are the engine's.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from fleetpulse.model import Labels
from fleetpulse.promql.arguments import Function, scalar, vector
from fleetpulse.promql.context import EvalContext
from fleetpulse.promql.frames import Frame, ScalarFrame, Value
from fleetpulse.promql.histograms import HISTOGRAM
from fleetpulse.promql.labelfunctions import LABEL
from fleetpulse.promql.mathfunctions import MATH
from fleetpulse.promql.sorting import SORT
from fleetpulse.promql.syntax import Call
from fleetpulse.promql.timefunctions import TIME


def _scalar(_: EvalContext, args: Sequence[Value], call: Call) -> Value:
    """The value of the only row present; NaN where there is none or more than one."""
    frame = vector(args, 0, call)
    only = frame.present.sum(axis=0) == 1
    values = np.where(frame.present, frame.values, 0.0)
    return ScalarFrame(np.where(only, values.sum(axis=0), np.nan))


def _vector(_: EvalContext, args: Sequence[Value], call: Call) -> Value:
    values = scalar(args, 0, call)[None, :]
    return Frame([Labels()], values, np.ones(values.shape, dtype=bool), np.zeros(1, dtype=bool))


def _quiet(function: Function) -> Function:
    """The function without numpy's warnings: NaN and Inf are values like any other here."""

    def apply(ctx: EvalContext, args: Sequence[Value], call: Call) -> Value:
        with np.errstate(all="ignore"):
            return function(ctx, args, call)

    return apply


FUNCTIONS: Mapping[str, Function] = {
    name: _quiet(function)
    for name, function in {
        **HISTOGRAM,
        **LABEL,
        **MATH,
        **SORT,
        **TIME,
        "scalar": _scalar,
        "vector": _vector,
    }.items()
}
