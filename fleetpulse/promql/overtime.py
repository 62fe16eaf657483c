"""The *_over_time functions. Results equal Prometheus' sample-by-sample ones to 1e-9."""

import math
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
# So few windows are better added up one by one.
_FEW = 64
# Windows are long when they hold so many samples for each step.
_LONG = 8


def sum_over_time(windows: Windows, _scalars: Sequence[Floats], ctx: EvalContext) -> Reduced:
    total, exact = _plain_sum(windows)
    rows = np.flatnonzero(~np.all(exact, axis=1))
    if len(rows):
        total[rows] = _compensated_sum(windows.only(rows), total[rows], exact[rows], ctx)
    return total, windows.having(1)


def avg_over_time(windows: Windows, _scalars: Sequence[Floats], ctx: EvalContext) -> Reduced:
    total, exact = _plain_sum(windows)
    mean = total / np.maximum(windows.counts, 1)
    rows = np.flatnonzero(~np.all(exact, axis=1))
    if len(rows):
        mean[rows] = _compensated_mean(windows.only(rows), ctx)
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
    at = windows.times_at(windows.first_index()) / 1000
    return _same_for_all(windows, at), windows.having(1)


def ts_of_last(windows: Windows, _scalars: Sequence[Floats], _ctx: EvalContext) -> Reduced:
    at = windows.times_at(windows.last_index()) / 1000
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
        for part, values in spread(windows, row):
            ctx.check_deadline()
            out[row, part] = quantiles(wanted[part], values, windows.counts[part])
    return out, windows.having(1)


def mad_over_time(windows: Windows, _scalars: Sequence[Floats], ctx: EvalContext) -> Reduced:
    """The median of the distances from the median; NaN where any sample is."""
    out = np.full((windows.rows, len(windows.lo)), np.nan)
    for row in range(windows.rows):
        for part, values in spread(windows, row):
            ctx.check_deadline()
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
            following = np.minimum(index + 1, windows.samples - 1)
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
    return np.broadcast_to(values, (windows.rows, values.shape[-1]))


def _plain_sum(windows: Windows) -> tuple[Floats, Mask]:
    """Sums and where they are exact enough; empty windows count as exact.

    A NaN or Inf among the samples makes the sum what it is, however it is added up.
    """
    values, lo, hi = windows.values, windows.lo, windows.hi
    total = reduce_windows(np.add, values, lo, hi)
    size = reduce_windows(np.add, np.abs(values), lo, hi)
    exact: Mask = np.isfinite(total) & (np.abs(total) >= size * windows.counts * _CANCELS)
    odd = ~np.isfinite(values)
    if odd.any():
        exact |= reduce_windows(np.add, odd.astype(float), lo, hi) > 0
    return total, exact | (windows.counts <= 1)


def _compensated_sum(windows: Windows, plain: Floats, exact: Mask, ctx: EvalContext) -> Floats:
    """The plain sums, with those that are not exact put right."""
    places = np.argwhere(~exact).tolist()
    if len(places) <= _FEW:
        for row, step in places:
            ctx.check_deadline()
            samples = windows.values[row, windows.lo[step] : windows.hi[step]].tolist()
            total, lost = kahan.of_list(samples)
            plain[row, step] = total if math.isinf(total) else total + lost
        return plain
    sums = np.zeros(plain.shape)
    losses = sums
    for _, live, _, values in scan(windows, ctx.check_deadline):
        sums, losses = kahan.add_where(live, sums, losses, values)
    return np.where(np.isinf(sums), sums, sums + losses)


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
    """The population's variance: in two passes where that is exact, else as Prometheus runs."""
    if windows.longest < _LONG * len(windows.lo):
        return _running_variance(windows, ctx)
    out, exact = _two_pass_variance(windows, ctx)
    rows = np.flatnonzero(~np.all(exact, axis=1))
    if len(rows):
        out[rows] = _running_variance(windows.only(rows), ctx)
    return out


def _two_pass_variance(windows: Windows, ctx: EvalContext) -> tuple[Floats, Mask]:
    """For few but long windows. Exact: unless the mean dwarfs the deviation, or is no number."""
    shape = (windows.rows, len(windows.lo))
    out, exact = np.zeros(shape), np.ones(shape, dtype=bool)
    for step in np.flatnonzero(windows.counts).tolist():
        ctx.check_deadline()
        samples = windows.values[:, windows.lo[step] : windows.hi[step]]
        mean = samples.mean(axis=1)
        off = samples - mean[:, None]
        out[:, step] = np.mean(off * off, axis=1) - np.mean(off, axis=1) ** 2
        same = np.all(samples == samples[:, :1], axis=1) & np.isfinite(samples[:, 0])
        out[same, step] = 0.0
        exact[:, step] = same | (mean * mean <= out[:, step] * 1e10)
    return out, exact


def _running_variance(windows: Windows, ctx: EvalContext) -> Floats:
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
    at = np.broadcast_to(windows.times_at(windows.first_index()), best.shape)
    for _, live, index, values in scan(windows, ctx.check_deadline):
        wins = live & (better(values, best) | np.isnan(best))
        best = np.where(wins, values, best)
        at = np.where(wins, windows.times_at(index), at)
    return at / 1000, windows.having(1)
