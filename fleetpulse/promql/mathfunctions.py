"""Functions of one value at a time: rounding, powers and logarithms, trigonometry, clamping."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from fleetpulse.promql.arguments import Function, scalar, vector
from fleetpulse.promql.context import EvalContext
from fleetpulse.promql.frames import Floats, Frame, ScalarFrame, Value
from fleetpulse.promql.gofloat import go_max, go_min
from fleetpulse.promql.syntax import Call


def _sgn(values: Floats) -> Floats:
    # 0 and NaN stay what they are.
    return np.where(values > 0, 1.0, np.where(values < 0, -1.0, values))


# Multiplied and divided in Prometheus' order, so that the last digit is the same.
def _rad(values: Floats) -> Floats:
    return values * (math.pi / 180)


def _deg(values: Floats) -> Floats:
    return values * (180 / math.pi)


_PLAIN: Mapping[str, Callable[[Floats], Floats]] = {
    "abs": np.abs,
    "acos": np.arccos,
    "acosh": np.arccosh,
    "asin": np.arcsin,
    "asinh": np.arcsinh,
    "atan": np.arctan,
    "atanh": np.arctanh,
    "ceil": np.ceil,
    "cos": np.cos,
    "cosh": np.cosh,
    "deg": _deg,
    "exp": np.exp,
    "floor": np.floor,
    "ln": np.log,
    "log10": np.log10,
    "log2": np.log2,
    "rad": _rad,
    "sgn": _sgn,
    "sin": np.sin,
    "sinh": np.sinh,
    "sqrt": np.sqrt,
    "tan": np.tan,
    "tanh": np.tanh,
}


def _plain(function: Callable[[Floats], Floats]) -> Function:
    def apply(_: EvalContext, args: Sequence[Value], call: Call) -> Value:
        frame = vector(args, 0, call)
        return frame.with_values(function(frame.values), drop_name=True)

    return apply


def _round(_: EvalContext, args: Sequence[Value], call: Call) -> Value:
    """To the nearest multiple of the second argument (1); what is half way between goes up."""
    frame = vector(args, 0, call)
    # Prometheus multiplies by the inverse: it finds that to be more exact.
    inverse = 1.0 / (scalar(args, 1, call) if len(args) > 1 else np.ones(frame.steps))
    return frame.with_values(np.floor(frame.values * inverse + 0.5) / inverse, drop_name=True)


def _clamp(_: EvalContext, args: Sequence[Value], call: Call) -> Value:
    return _clamped(vector(args, 0, call), scalar(args, 1, call), scalar(args, 2, call))


def _clamp_min(_: EvalContext, args: Sequence[Value], call: Call) -> Value:
    frame = vector(args, 0, call)
    return _clamped(frame, scalar(args, 1, call), np.full(frame.steps, np.inf))


def _clamp_max(_: EvalContext, args: Sequence[Value], call: Call) -> Value:
    frame = vector(args, 0, call)
    return _clamped(frame, np.full(frame.steps, -np.inf), scalar(args, 1, call))


def _clamped(frame: Frame, lowest: Floats, highest: Floats) -> Frame:
    """Nothing at a step where the bounds leave nothing between them."""
    values = go_max(lowest, go_min(highest, frame.values))
    present = frame.present & ~(highest < lowest)
    return Frame(frame.labels, values, present, np.ones(frame.rows, dtype=bool)).compact()


def _pi(ctx: EvalContext, _: Sequence[Value], __: Call) -> Value:
    return ScalarFrame(np.full(ctx.steps, math.pi))


def _max_of(_: EvalContext, args: Sequence[Value], call: Call) -> Value:
    return ScalarFrame(go_max(scalar(args, 0, call), scalar(args, 1, call)))


def _min_of(_: EvalContext, args: Sequence[Value], call: Call) -> Value:
    return ScalarFrame(go_min(scalar(args, 0, call), scalar(args, 1, call)))


MATH: Mapping[str, Function] = {
    **{name: _plain(function) for name, function in _PLAIN.items()},
    "clamp": _clamp,
    "clamp_max": _clamp_max,
    "clamp_min": _clamp_min,
    "max_of": _max_of,
    "min_of": _min_of,
    "pi": _pi,
    "round": _round,
}
