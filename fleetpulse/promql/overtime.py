"""The *_over_time functions. Results equal Prometheus' sample-by-sample ones to 1e-9."""

from collections.abc import Callable, Sequence

import numpy as np

from fleetpulse.errors import QueryError
from fleetpulse.promql import kahan
from fleetpulse.promql.context import EvalContext
from fleetpulse.promql.frames import Floats, Mask
from fleetpulse.promql.windows import Windows, reduce_windows, scan, spread

Reduced = tuple[Floats, Mask]

# A plain sum of n floats is off by at most n·2⁻⁵³·Σ|x|; where |Σx| is above this share of
# n·Σ|x| that is less than 1e-10 of the sum, and no compensation is needed.
_CANCELS = 2.0**-53 / 1e-10


def sum_over_time(windows: Windows, _scalars: Sequence[Floats], ctx: EvalContext) -> Reduced:
    total, exact = _plain_sum(windows)
    if not exact.all():
        for row in np.flatnonzero(~exact.all(axis=1)).tolist():
            total[row] = _compensated_sum(windows.row(row), ctx)[0]
    return total, windows.having(1)


def avg_over_time(windows: Windows, _scalars: Sequence[Floats], ctx: EvalContext) -> Reduced:
    total, exact = _plain_sum(windows)
    mean = total / np.maximum(windows.counts, 1)
    if not exact.all():
        for row in np.flatnonzero(~exact.all(axis=1)).tolist():
            mean[row] = _compensated_mean(windows.row(row), ctx)[0]
    return mean, windows.having(1)


def count_over_time(windows: Windows, _scalars: Sequence[Floats], _ctx: EvalContext) -> Reduced:
    return _same_for_all(windows, windows.counts.astype(float)), windows.having(1)


def present_over_time(windows: Windows, _scalars: Sequence[Floats], _ctx: EvalContext) -> Reduced:
    return _same_for_all(windows, np.ones(len(windows.lo))), windows.having(1)


def min_over_time(windows: Windows, _scalars: Sequence[Floats], _ctx: EvalContext) -> Reduced:
    return reduce_windows(np.fmin, windows.values, windows.lo, windows.hi), windows.having(1)


def max_over_time(windows: Windows, _scalars: Sequence[Floats], _ctx: EvalContext) -> Reduced:
    return reduce_windows(np.fmax, windows.values, windows.lo, windows.hi), windows.having(1)


def first_over_time(windows: Windows, _scalars: Sequence[Floats], _ctx: EvalContext) -> Reduced:
    return windows.values[:, windows.first_index()], windows.having(1)


def last_over_time(windows: Windows, _scalars: Sequence[Floats], _ctx: EvalContext) -> Reduced:
    return windows.values[:, windows.last_index()], windows.having(1)


def ts_of_first(windows: Windows, _scalars: Sequence[Floats], _ctx: EvalContext) -> Reduced:
    at = windows.times[windows.first_index()] / 1000
    return _same_for_all(windows, at), windows.having(1)


def ts_of_last(windows: Windows, _scalars: Sequence[Floats], _ctx: EvalContext) -> Reduced:
    at = windows.times[windows.last_index()] / 1000
    return _same_for_all(windows, at), windows.having(1)


def ts_of_min(windows: Windows, _scalars: Sequence[Floats], ctx: EvalContext) -> Reduced:
    return _time_of_best(windows, ctx, np.less_equal)


def ts_of_max(windows: Windows, _scalars: Sequence[Floats], ctx: EvalContext) -> Reduced:
    return _time_of_best(windows, ctx, np.greater_equal)


def stdvar_over_time(windows: Windows, _scalars: Sequence[Floats], ctx: EvalContext) -> Reduced:
    return _variance(windows, ctx), windows.having(1)


def stddev_over_time(windows: Windows, _scalars: Sequence[Floats], ctx: EvalContext) -> Reduced:
    return np.sqrt(_variance(windows, ctx)), windows.having(1)


def quantile_over_time(windows: Windows, scalars: Sequence[Floats], ctx: EvalContext) -> Reduced:
    """scalars[0]: the quantile at each step."""
    wanted = scalars[0]
    for bad in np.unique(wanted[(windows.counts > 0) & ~((wanted >= 0) & (wanted <= 1))]):
        text = "NaN" if np.isnan(bad) else f"{bad:+g}" if np.isinf(bad) else f"{bad:g}"
        ctx.warn(f"quantile value should be between 0 and 1, got {text.replace('inf', 'Inf')}")
    out = np.full((windows.rows, len(windows.lo)), np.nan)
    for row in range(windows.rows):
        ctx.check_deadline()
        for part, values in spread(windows, row):
            out[row, part] = quantiles(wanted[part], values, windows.counts[part])
    return out, windows.having(1)


def mad_over_time(windows: Windows, _scalars: Sequence[Floats], ctx: EvalContext) -> Reduced:
    """The median of the distances from the median; NaN where any sample is."""
    out = np.full((windows.rows, len(windows.lo)), np.nan)
    for row in range(windows.rows):
        ctx.check_deadline()
        for part, values in spread(windows, row):
            counts = windows.counts[part]
            half = np.full(len(counts), 0.5)
            median = quantiles(half, values, counts)
            off = quantiles(half, np.abs(values - median[:, None]), counts)
            broken = np.isnan(values).sum(axis=1) > values.shape[1] - counts
            out[row, part] = np.where(broken, np.nan, off)
    return out, windows.having(1)


def quantiles(
    wanted: Floats, values: Floats, counts: "np.ndarray[tuple[int], np.dtype[np.int64]]"
) -> Floats:
    """The wanted (windows,) quantile of each row of values (windows, longest).

    counts: how many of a row's values are real; the others are NaN. Real NaNs sort lowest.
    """
    ordered = np.sort(values, axis=1)  # all NaNs last
    nans = np.isnan(ordered).sum(axis=1) - (ordered.shape[1] - counts)
    rank = np.clip(np.nan_to_num(wanted), 0.0, 1.0) * np.maximum(counts - 1, 0)
    lower = np.floor(rank).astype(np.int64)
    upper = np.minimum(np.maximum(counts - 1, 0), lower + 1)
    weight = rank - lower
    with np.errstate(invalid="ignore"):
        found = _pick(ordered, lower - nans) * (1 - weight) + _pick(ordered, upper - nans) * weight
    found = np.where(wanted < 0, -np.inf, np.where(wanted > 1, np.inf, found))
    return np.where(np.isnan(wanted), np.nan, found)


def _pick(ordered: Floats, index: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> Floats:
    picked = ordered[np.arange(len(index)), np.maximum(index, 0)]
    return np.where(index < 0, np.nan, picked)


def double_exponential_smoothing(
    windows: Windows, scalars: Sequence[Floats], ctx: EvalContext
) -> Reduced:
    """Holt's linear method. scalars: smoothing and trend factor at each step."""
    smoothing, trend = scalars
    _check_factor("smoothing", "sf", smoothing)
    _check_factor("trend", "tf", trend)
    shape = (windows.rows, len(windows.lo))
    earlier, level, slope = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    for k, live, index, values in scan(windows, ctx.check_deadline):
        if k == 0:
            level = values
            following = np.minimum(index + 1, len(windows.times) - 1)
            slope = windows.values[:, following] - values
            continue
        if k > 1:
            slope = np.where(live, trend * (level - earlier) + (1 - trend) * slope, slope)
        smoothed = smoothing * values + (1 - smoothing) * (level + slope)
        earlier, level = np.where(live, level, earlier), np.where(live, smoothed, level)
    return level, windows.having(2)


def _check_factor(name: str, symbol: str, factor: Floats) -> None:
    for bad in factor[~((factor > 0) & (factor < 1))]:
        raise QueryError(
            "execution",
            f"invalid {name} factor. Expected: 0 < {symbol} < 1, got: {bad:f}",
        )


def _same_for_all(windows: Windows, values: Floats) -> Floats:
    return np.broadcast_to(values, (windows.rows, len(values)))


def _plain_sum(windows: Windows) -> tuple[Floats, Mask]:
    """Sums and where they are exact enough; empty windows count as exact."""
    total = reduce_windows(np.add, windows.values, windows.lo, windows.hi)
    size = reduce_windows(np.add, np.abs(windows.values), windows.lo, windows.hi)
    exact = np.isfinite(total) & (np.abs(total) >= size * windows.counts * _CANCELS)
    return total, exact | (windows.counts <= 1)


def _compensated_sum(windows: Windows, ctx: EvalContext) -> Floats:
    total = np.zeros((windows.rows, len(windows.lo)))
    lost = total
    for _, live, _, values in scan(windows, ctx.check_deadline):
        total, lost = kahan.add_where(live, total, lost, values)
    return np.where(np.isinf(total), total, total + lost)


def _compensated_mean(windows: Windows, ctx: EvalContext) -> Floats:
    """The mean by the sum, and from where that would overflow, by steps of the mean itself."""
    shape = (windows.rows, len(windows.lo))
    total, lost, mean = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    stepping = np.zeros(shape, dtype=bool)
    for k, live, _, values in scan(windows, ctx.check_deadline):
        new_total, new_lost = kahan.add(total, lost, values)
        if k == 0:
            total = values
            continue
        turns = live & ~stepping & np.isinf(new_total)
        mean = np.where(turns, total / k, mean)
        lost = np.where(turns, lost / k, lost)
        stepping = stepping | turns
        q = k / (k + 1)
        new_mean, mean_lost = kahan.add(q * mean, q * lost, values / (k + 1))
        summing = live & ~stepping
        total = np.where(summing, new_total, total)
        mean = np.where(live & stepping, new_mean, mean)
        lost = np.where(summing, new_lost, np.where(live & stepping, mean_lost, lost))
    counts = np.maximum(windows.counts, 1)
    return np.where(stepping, mean + lost, total / counts + lost / counts)


def _variance(windows: Windows, ctx: EvalContext) -> Floats:
    """Welford's running variance of the population, compensated."""
    zero = np.zeros((windows.rows, len(windows.lo)))
    mean, mean_lost, squares, squares_lost = zero, zero, zero, zero
    for k, live, _, values in scan(windows, ctx.check_deadline):
        off = values - (mean + mean_lost)
        mean, mean_lost = kahan.add_where(live, mean, mean_lost, off / (k + 1))
        more = off * (values - (mean + mean_lost))
        squares, squares_lost = kahan.add_where(live, squares, squares_lost, more)
    return (squares + squares_lost) / np.maximum(windows.counts, 1)


def _time_of_best(
    windows: Windows, ctx: EvalContext, better: Callable[[Floats, Floats], Mask]
) -> Reduced:
    """When, in seconds, the best value was last there; a NaN gives way to anything."""
    best = windows.values[:, windows.first_index()]
    at = np.broadcast_to(windows.times[windows.first_index()], best.shape)
    for _, live, index, values in scan(windows, ctx.check_deadline):
        wins = live & (better(values, best) | np.isnan(best))
        best = np.where(wins, values, best)
        at = np.where(wins, windows.times[index], at)
    return at / 1000, windows.having(1)
