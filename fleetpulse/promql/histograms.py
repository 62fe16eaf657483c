"""histogram_quantile and histogram_fraction over classic histograms (promql/quantile.go).

The buckets of a histogram are a frame's rows; a histogram is what is left of their labels
without `le`. Steps at which the same buckets are present are worked out together.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from fleetpulse.model import Labels
from fleetpulse.promql.arguments import Function, at_argument, scalar, text, vector
from fleetpulse.promql.buckets import Repairs, bucket_fraction, bucket_quantile
from fleetpulse.promql.context import EvalContext
from fleetpulse.promql.frames import Floats, Frame, Mask, Value
from fleetpulse.promql.gofloat import format_g, format_openmetrics
from fleetpulse.promql.groups import Groups, Index, ensure_room, number_keys, stack, unite
from fleetpulse.promql.syntax import Call

_BOUND = "le"

# By metric name.
_Repaired = dict[str, Repairs]


@dataclass(frozen=True, slots=True)
class _Block:
    """Buckets of one histogram and the steps at which just these are present.

    bounds: float64 (buckets,), rising and distinct. counts: (buckets, steps).
    """

    steps: Index
    bounds: Floats
    counts: Floats


def _histogram_quantile(ctx: EvalContext, args: Sequence[Value], call: Call) -> Value:
    wanted, frame = scalar(args, 0, call), vector(args, 1, call)
    _warn_of_quantiles(at_argument(ctx, 0, call), wanted)
    place = at_argument(ctx, 1, call)
    repairs: _Repaired = {}
    result = _quantiles(ctx, wanted, _Histograms.of(place, frame), repairs)
    _tell_of_repairs(place, repairs)
    return result


def _histogram_quantiles(ctx: EvalContext, args: Sequence[Value], call: Call) -> Value:
    """One row for each quantile; the label named by the second argument says which."""
    label, place = text(args, 1, call), at_argument(ctx, 0, call)
    histograms = _Histograms.of(place, vector(args, 0, call))
    result = Frame.empty(ctx.steps)
    repairs: _Repaired = {}
    for number in range(2, len(args)):
        wanted = scalar(args, number, call)
        _warn_of_quantiles(at_argument(ctx, number, call), wanted)
        found = _quantiles(ctx, wanted, histograms, repairs)
        # A quantile that changes from step to step makes rows for each of its values.
        for value in np.unique(wanted).tolist():
            ensure_room(ctx, result.rows + found.rows, ctx.steps)
            at = (wanted == value) | (np.isnan(wanted) & np.isnan(value))
            result = stack(result, _labelled(found, label, format_openmetrics(value), at))
    _tell_of_repairs(place, repairs)
    return unite(result.compact())


def _labelled(frame: Frame, label: str, value: str, at: Mask) -> Frame:
    """frame at some of its steps (steps,), with a label set in all rows."""
    labels = [Labels.of({**dict(row), label: value}) for row in frame.labels]
    return Frame(labels, frame.values, frame.present & at, frame.drop_name)


def _quantiles(
    ctx: EvalContext, wanted: Floats, histograms: "_Histograms", repairs: _Repaired
) -> Frame:
    def reckon(labels: Labels, block: _Block) -> Floats:
        repaired = repairs.setdefault(_told_name(ctx, labels), Repairs())
        times = ctx.steps_ms[block.steps]
        return bucket_quantile(wanted[block.steps], block.bounds, block.counts, times, repaired)

    return histograms.each(reckon)


def _tell_of_repairs(ctx: EvalContext, repairs: _Repaired) -> None:
    for name, repaired in repairs.items():
        if repaired.samples:
            ctx.info(
                "input to histogram_quantile needed to be fixed for monotonicity (see "
                "https://prometheus.io/docs/prometheus/latest/querying/functions/"
                f"#histogram_quantile){_of_metric(name)}, {repaired.text()}"
            )


def _histogram_fraction(ctx: EvalContext, args: Sequence[Value], call: Call) -> Value:
    lower, upper = scalar(args, 0, call), scalar(args, 1, call)

    def reckon(_: Labels, block: _Block) -> Floats:
        return bucket_fraction(lower[block.steps], upper[block.steps], block.bounds, block.counts)

    return _Histograms.of(at_argument(ctx, 2, call), vector(args, 2, call)).each(reckon)


class _Histograms:
    """The classic histograms among a frame's rows."""

    def __init__(self, ctx: EvalContext, buckets: Frame, bounds: Floats) -> None:
        self._ctx, self._buckets, self._bounds = ctx, buckets, bounds
        ids, self._labels = number_keys(labels.without(_BOUND) for labels in buckets.labels)
        self._groups = Groups.of(ids, len(self._labels))

    @classmethod
    def of(cls, ctx: EvalContext, frame: Frame) -> Self:
        """Warns of rows that are no buckets."""
        frame = frame.compact()
        bounds = np.array([_bound(ctx, labels) for labels in frame.labels], dtype=np.float64)
        is_bucket = ~np.isnan(bounds)
        return cls(ctx, frame.take(is_bucket), bounds[is_bucket])

    def each(self, reckon: Callable[[Labels, _Block], Floats]) -> Frame:
        """One row for each histogram; reckon gives its values at a block's steps."""
        groups, buckets = self._groups, self._buckets
        values = np.zeros((groups.count, buckets.steps))
        for group, rows in zip(groups.filled.tolist(), groups.members(), strict=True):
            self._ctx.check_deadline()
            ordered = rows[np.argsort(self._bounds[rows], kind="stable")]
            cells = buckets.values[ordered], buckets.present[ordered]
            for block in _blocks(self._bounds[ordered], *cells):
                values[group, block.steps] = reckon(self._labels[group], block)
        dropped = np.ones(groups.count, dtype=bool)
        return Frame(self._labels, values, groups.any(buckets.present), dropped)


def _blocks(bounds: Floats, counts: Floats, present: Mask) -> Iterator[_Block]:
    """Blocks of steps with the same buckets present; none for steps without any."""
    for pattern, steps in _patterns(present):
        if pattern.any():
            distinct, starts = np.unique(bounds[pattern], return_index=True)
            chosen = counts[np.ix_(pattern, steps)]
            # Bounds written in two ways, as 1 and 1.0, are one bucket.
            yield _Block(steps, distinct, np.add.reduceat(chosen, starts, axis=0))


def _patterns(present: Mask) -> Iterator[tuple[Mask, Index]]:
    """The distinct columns of (buckets, steps), and the steps of each."""
    if not present.size or (present == present[:, :1]).all():
        always: Mask = np.any(present, axis=1)
        yield always, np.arange(present.shape[1])
        return
    patterns, which = np.unique(present, axis=1, return_inverse=True)
    for number, pattern in enumerate(patterns.T):
        yield pattern, np.flatnonzero(which.ravel() == number)


def _bound(ctx: EvalContext, labels: Labels) -> float:
    """The bucket's upper bound; NaN, with a warning, where the label does not say any."""
    written = labels.get(_BOUND)
    bound = _parsed(written)
    if np.isnan(bound):
        fault = f'is missing or has a malformed value of "{written}"'
        ctx.warn(f'bucket label "{_BOUND}" {fault}{_of_metric(_told_name(ctx, labels))}')
    return bound


def _told_name(ctx: EvalContext, labels: Labels) -> str:
    """Prometheus tells a bucket's name only where names last to the end of the query."""
    return labels.name if ctx.delayed_names else ""


def _of_metric(name: str) -> str:
    return f' for metric name "{name}"' if name else ""


def _parsed(written: str) -> float:
    """As Go's ParseFloat: no blanks, no number beyond float64."""
    if not written.isascii() or written != written.strip():
        return np.nan
    try:
        value = float(written)
    except ValueError:
        return np.nan
    beyond = np.isinf(value) and "inf" not in written.lower()
    return np.nan if beyond else value


def _warn_of_quantiles(ctx: EvalContext, wanted: Floats) -> None:
    for value in np.unique(wanted[~((wanted >= 0) & (wanted <= 1))]).tolist():
        ctx.warn(f"quantile value should be between 0 and 1, got {format_g(value)}")


def _of_native(_: EvalContext, args: Sequence[Value], call: Call) -> Value:
    """Functions of native histograms: samples that are floats have no part in their answer."""
    return Frame.empty(vector(args, 0, call).steps)


HISTOGRAM: Mapping[str, Function] = {
    "histogram_avg": _of_native,
    "histogram_count": _of_native,
    "histogram_fraction": _histogram_fraction,
    "histogram_quantile": _histogram_quantile,
    "histogram_quantiles": _histogram_quantiles,
    "histogram_stddev": _of_native,
    "histogram_stdvar": _of_native,
    "histogram_sum": _of_native,
}
