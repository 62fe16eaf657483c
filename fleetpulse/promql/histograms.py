"""histogram_quantile and histogram_fraction over classic histograms (promql/quantile.go).

The buckets of a histogram are a frame's rows; a histogram is what is left of their labels
without `le`. Steps at which the same buckets are present are worked out together.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fleetpulse.model import METRIC_NAME, Labels
from fleetpulse.promql.arguments import Function, at_argument, scalar, vector
from fleetpulse.promql.buckets import Repairs, bucket_fraction, bucket_quantile
from fleetpulse.promql.context import EvalContext
from fleetpulse.promql.frames import Floats, Frame, Mask, Value
from fleetpulse.promql.gofloat import format_g
from fleetpulse.promql.groups import Groups, Index, number_keys
from fleetpulse.promql.syntax import Call

_BOUND = "le"


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
    repairs: dict[str, Repairs] = {}

    def reckon(labels: Labels, block: _Block) -> Floats:
        repaired = repairs.setdefault(labels.name, Repairs())
        times = ctx.steps_ms[block.steps]
        return bucket_quantile(wanted[block.steps], block.bounds, block.counts, times, repaired)

    result = _of_histograms(place, frame, reckon)
    for name, repaired in repairs.items():
        if repaired.samples:
            of_metric = f' for metric name "{name}"' if name else ""
            place.info(
                "input to histogram_quantile needed to be fixed for monotonicity (see "
                "https://prometheus.io/docs/prometheus/latest/querying/functions/"
                f"#histogram_quantile){of_metric}, {repaired.text()}"
            )
    return result


def _histogram_fraction(ctx: EvalContext, args: Sequence[Value], call: Call) -> Value:
    lower, upper = scalar(args, 0, call), scalar(args, 1, call)

    def reckon(_: Labels, block: _Block) -> Floats:
        return bucket_fraction(lower[block.steps], upper[block.steps], block.bounds, block.counts)

    return _of_histograms(at_argument(ctx, 2, call), vector(args, 2, call), reckon)


def _of_histograms(
    ctx: EvalContext, frame: Frame, reckon: Callable[[Labels, _Block], Floats]
) -> Frame:
    """One row for each classic histogram; reckon gives its values at a block's steps."""
    frame = frame.compact()
    bounds = np.array([_bound(ctx, labels) for labels in frame.labels], dtype=np.float64)
    buckets = frame.take(~np.isnan(bounds))
    bounds = bounds[~np.isnan(bounds)]
    ids, histograms = number_keys(labels.without(_BOUND) for labels in buckets.labels)
    groups = Groups.of(ids, len(histograms))
    values = np.zeros((len(histograms), frame.steps))
    present = groups.any(buckets.present)
    for group, rows in zip(groups.filled.tolist(), groups.members(), strict=True):
        ctx.check_deadline()
        ordered = rows[np.argsort(bounds[rows], kind="stable")]
        for block in _blocks(bounds[ordered], buckets.values[ordered], buckets.present[ordered]):
            values[group, block.steps] = reckon(histograms[group], block)
    return Frame(histograms, values, present, np.ones(len(histograms), dtype=bool))


def _blocks(bounds: Floats, counts: Floats, present: Mask) -> Iterator[_Block]:
    """Blocks of steps with the same buckets present; none for steps without any."""
    patterns, which = np.unique(present, axis=1, return_inverse=True)
    for number, pattern in enumerate(patterns.T):
        if pattern.any():
            steps = np.flatnonzero(which.ravel() == number)
            distinct, starts = np.unique(bounds[pattern], return_index=True)
            chosen = counts[np.ix_(pattern, steps)]
            # Bounds written in two ways, as 1 and 1.0, are one bucket.
            yield _Block(steps, distinct, np.add.reduceat(chosen, starts, axis=0))


def _bound(ctx: EvalContext, labels: Labels) -> float:
    """The bucket's upper bound; NaN, with a warning, where the label does not say any."""
    text = labels.get(_BOUND)
    bound = _parsed(text)
    if np.isnan(bound):
        name = labels.get(METRIC_NAME)
        of_metric = f' for metric name "{name}"' if name else ""
        ctx.warn(
            f'bucket label "{_BOUND}" is missing or has a malformed value of "{text}"{of_metric}'
        )
    return bound


def _parsed(text: str) -> float:
    """As Go's ParseFloat: no blanks, no number beyond float64."""
    if not text.isascii() or text != text.strip():
        return np.nan
    try:
        value = float(text)
    except ValueError:
        return np.nan
    beyond = np.isinf(value) and "inf" not in text.lower()
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
    "histogram_stddev": _of_native,
    "histogram_stdvar": _of_native,
    "histogram_sum": _of_native,
}
