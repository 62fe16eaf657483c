"""deriv and predict_linear: simple linear regression over a window (least squares)."""

from collections.abc import Sequence

import numpy as np

from fleetpulse.promql import kahan
from fleetpulse.promql.context import EvalContext
from fleetpulse.promql.frames import Floats, Mask
from fleetpulse.promql.windows import Ints, Windows, scan

Reduced = tuple[Floats, Mask]
Sums = tuple[Floats, Floats, Floats, Floats]

# Windows are long when they hold so many samples for each step.
_LONG = 8


def deriv(windows: Windows, _scalars: Sequence[Floats], ctx: EvalContext) -> Reduced:
    # Times near the values in use keep the sums small, and so exact.
    origin = windows.times_at(windows.first_index())
    return _regression(windows, origin, ctx)[0], windows.having(2)


def predict_linear(windows: Windows, scalars: Sequence[Floats], ctx: EvalContext) -> Reduced:
    """scalars[0]: how many seconds after the evaluation's time the value is wanted."""
    slope, intercept = _regression(windows, windows.steps_ms, ctx)
    return slope * scalars[0] + intercept, windows.having(2)


def _regression(windows: Windows, origin: Ints, ctx: EvalContext) -> tuple[Floats, Floats]:
    """Slope per second, and the value at origin (steps,), ms."""
    long = windows.longest >= _LONG * len(windows.lo) and bool(np.isfinite(windows.values).all())
    sums = _sums_by_window(windows, origin, ctx) if long else _sums_by_scan(windows, origin, ctx)
    x_sum, y_sum, xy_sum, xx_sum = sums
    n = np.maximum(windows.counts, 1)
    slope = (xy_sum - x_sum * y_sum / n) / (xx_sum - x_sum * x_sum / n)
    intercept = y_sum / n - slope * x_sum / n
    start = windows.values[:, windows.first_index()]
    flat = np.where(np.isinf(start), np.nan, 0.0)
    constant = _constant(windows)
    return np.where(constant, flat, slope), np.where(constant, start + flat, intercept)


def _constant(windows: Windows) -> Mask:
    """(rows, steps): whether all samples of the window are equal."""
    changed = windows.values[:, 1:] != windows.values[:, :-1]
    marks = np.zeros(windows.values.shape, dtype=np.int64)
    np.cumsum(changed, axis=1, out=marks[:, 1:])
    equal: Mask = marks[:, windows.last_index()] == marks[:, windows.first_index()]
    return equal


def _sums_by_scan(windows: Windows, origin: Ints, ctx: EvalContext) -> Sums:
    """Σx, Σy, Σxy and Σx², sample by sample for all windows at once."""
    zero = np.zeros((windows.rows, len(windows.lo)))
    sums, losses = [zero] * 4, [zero] * 4
    for _, live, index, y in scan(windows, ctx.check_deadline):
        x = np.broadcast_to((windows.times_at(index) - origin) / 1000, y.shape)
        for i, term in enumerate((x, y, x * y, x * x)):
            sums[i], losses[i] = kahan.add_where(live, sums[i], losses[i], term)
    x_sum, y_sum, xy_sum, xx_sum = (total + lost for total, lost in zip(sums, losses, strict=True))
    return x_sum, y_sum, xy_sum, xx_sum


def _sums_by_window(windows: Windows, origin: Ints, ctx: EvalContext) -> Sums:
    """The same, window by window: for few but long ones, of finite values."""
    shape = (windows.rows, len(windows.lo))
    x_sum, y_sum, xy_sum, xx_sum = (np.zeros(shape) for _ in range(4))
    for step in np.flatnonzero(windows.counts).tolist():
        ctx.check_deadline()
        inside = slice(windows.lo[step], windows.hi[step])
        x = (windows.by_row(windows.times[..., inside]) - origin[..., step, None]) / 1000
        y = windows.values[:, inside]
        x = np.atleast_2d(x)
        x_sum[:, step], xx_sum[:, step] = kahan.total(x), kahan.total(x * x)
        y_sum[:, step], xy_sum[:, step] = kahan.total(y), kahan.total(x * y)
    return x_sum, y_sum, xy_sum, xx_sum
