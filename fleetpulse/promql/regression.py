"""deriv and predict_linear: simple linear regression over a window (least squares)."""

from collections.abc import Sequence

import numpy as np

from fleetpulse.promql import kahan
from fleetpulse.promql.context import EvalContext
from fleetpulse.promql.frames import Floats, Mask
from fleetpulse.promql.windows import Ints, Windows, scan

Reduced = tuple[Floats, Mask]


def deriv(windows: Windows, _scalars: Sequence[Floats], ctx: EvalContext) -> Reduced:
    # Times near the values in use keep the sums small, and so exact.
    origin = windows.times[windows.first_index()]
    return _regression(windows, origin, ctx)[0], windows.having(2)


def predict_linear(windows: Windows, scalars: Sequence[Floats], ctx: EvalContext) -> Reduced:
    """scalars[0]: how many seconds after the evaluation's time the value is wanted."""
    slope, intercept = _regression(windows, windows.steps_ms, ctx)
    return slope * scalars[0] + intercept, windows.having(2)


def _regression(windows: Windows, origin: Ints, ctx: EvalContext) -> tuple[Floats, Floats]:
    """Slope per second, and the value at origin (steps,), ms."""
    zero = np.zeros((windows.rows, len(windows.lo)))
    x_sum = y_sum = xy_sum = xx_sum = zero
    x_lost = y_lost = xy_lost = xx_lost = zero
    constant = np.ones(zero.shape, dtype=bool)
    start = windows.values[:, windows.first_index()]
    for k, live, index, y in scan(windows, ctx.check_deadline):
        x = np.broadcast_to((windows.times[index] - origin) / 1000, y.shape)
        x_sum, x_lost = kahan.add_where(live, x_sum, x_lost, x)
        y_sum, y_lost = kahan.add_where(live, y_sum, y_lost, y)
        xy_sum, xy_lost = kahan.add_where(live, xy_sum, xy_lost, x * y)
        xx_sum, xx_lost = kahan.add_where(live, xx_sum, xx_lost, x * x)
        if k:
            constant = constant & (~live | (y == start))
    n = np.maximum(windows.counts, 1)
    x_sum, y_sum = x_sum + x_lost, y_sum + y_lost
    covariance = (xy_sum + xy_lost) - x_sum * y_sum / n
    variance = (xx_sum + xx_lost) - x_sum * x_sum / n
    slope = covariance / variance
    intercept = y_sum / n - slope * x_sum / n
    flat = np.where(np.isinf(start), np.nan, 0.0)
    return np.where(constant, flat, slope), np.where(constant, start + flat, intercept)
