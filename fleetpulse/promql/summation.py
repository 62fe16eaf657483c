"""Sums and means of groups of rows, compensated so that cancellation loses nothing.

Prometheus adds a group's values one by one with Neumaier's compensation. Here the second half of
the rows is added to the first, then half of those, each addition with its exact rounding error
(Knuth's TwoSum): as exact, and a handful of array operations instead of one for each row. Groups
of the same size are added together. Where such a sum is not finite the order of additions shows
in the result; those few cells are added one by one.
"""

from collections.abc import Callable

import numpy as np

from fleetpulse.promql import kahan
from fleetpulse.promql.frames import Floats, Mask
from fleetpulse.promql.groups import Groups

Counts = Floats

# Values added at once: with what is made of them they stay in the processor's cache. But never
# fewer steps than a few of its lines hold.
_AT_ONCE, _STEPS = 1 << 15, 32
_HALF_OF_ALL = 2.0**1022  # no sum of smaller sizes gets infinite on the way, whatever the order


def group_sums(groups: Groups, values: Floats, present: Mask) -> Floats:
    """(groups, steps): the sum of what is present, 0 where nothing is."""
    total, error = _tree_sum(groups, _only_present(values, present))
    return _mend(groups, values, present, total + error, _sum_in_order)


def group_means(groups: Groups, values: Floats, present: Mask, counts: Counts) -> Floats:
    """(groups, steps): the mean of what is present; counts: how many rows are, at least 1."""
    total, error = _tree_sum(groups, _only_present(values, present))
    return _mend(groups, values, present, total / counts + error / counts, _mean_in_order)


def group_variances(groups: Groups, values: Floats, present: Mask, counts: Counts) -> Floats:
    """(groups, steps): the population variance; NaN where any value is NaN or infinite.

    In two passes over the distances from one value of the group: exactly 0 for equal values.
    """
    some = groups.reduce(np.fmax, np.where(present & np.isfinite(values), values, np.nan))
    distance = np.where(present, values - some[groups.ids], 0.0)
    mean = np.add(*_tree_sum(groups, distance)) / counts
    squares = np.where(present, (distance - mean[groups.ids]) ** 2, 0.0)
    return np.add(*_tree_sum(groups, squares)) / counts


def _only_present(values: Floats, present: Mask) -> Floats:
    return values if present.all() else np.where(present, values, 0.0)


def _tree_sum(groups: Groups, values: Floats) -> tuple[Floats, Floats]:
    """(groups, steps): each group's sum as rounded, and the rounding errors to add to it.

    The two together are NaN where anything on the way was not finite, or would not be if added
    in another order.
    """
    sums = np.zeros((groups.count, values.shape[1]))
    errors = np.zeros_like(sums)
    # fmax: of what is not finite, the sum tells itself.
    if np.fmax.reduce(np.abs(values), axis=None, initial=0.0) * len(values) > _HALF_OF_ALL:
        sizes = groups.reduce(np.add, np.abs(values))
        errors[~(sizes < _HALF_OF_ALL) & (groups.sizes > 1)[:, None]] = np.nan
    for which, rows in groups.by_size():
        width = max(_STEPS, _AT_ONCE // rows.size)
        for begin in range(0, values.shape[1], width):
            part = slice(begin, begin + width)
            sums[which, part], error = _halved(values[rows, part])
            errors[which, part] += error
    return sums, errors


def _halved(total: Floats) -> tuple[Floats, Floats]:
    """(groups, rows, steps) → the sums over the rows, and their errors."""
    error = np.zeros((len(total), 1, 1))
    while total.shape[1] > 1:
        rows = total.shape[1]
        half = (rows + 1) // 2
        left, right = total[:, : rows - half], total[:, half:]
        added = np.empty((len(total), half, total.shape[2]))
        # The middle one of an odd number goes on as it is.
        added[:, -1], paired = total[:, half - 1], added[:, : rows - half]
        np.add(left, right, out=paired)
        lost = np.zeros_like(added)
        lost[:, : rows - half] = _rounding_error(left, right, paired)
        if error.shape == total.shape:
            lost += error[:, :half]
            lost[:, : rows - half] += error[:, half:]
        total, error = added, lost
    return total[:, 0], error[:, 0]


def _rounding_error(left: Floats, right: Floats, added: Floats) -> Floats:
    """What left + right has lost in becoming added; NaN where that is not finite."""
    virtual = added - left
    error = added - virtual
    np.subtract(left, error, out=error)
    np.subtract(right, virtual, out=virtual)
    error += virtual
    return error


def _mend(
    groups: Groups,
    values: Floats,
    present: Mask,
    result: Floats,
    in_order: Callable[[Floats, Mask], Floats],
) -> Floats:
    """result, with what is not finite worked out anew in the rows' own order."""
    broken = ~np.isfinite(result)
    if broken.any():
        for group, rows in zip(groups.filled.tolist(), groups.members(), strict=True):
            steps = np.flatnonzero(broken[group])
            if len(steps):
                cells = np.ix_(rows, steps)
                result[group, steps] = in_order(values[cells], present[cells])
    return result


def _sum_in_order(values: Floats, present: Mask) -> Floats:
    """(steps,): the sum over the rows, one after the other."""
    total = np.zeros(values.shape[1])
    error = np.zeros_like(total)
    for row, here in zip(values, present, strict=True):
        total, error = kahan.add_where(here, total, error, row)
    return total + error


def _mean_in_order(values: Floats, present: Mask) -> Floats:
    """(steps,): the mean; once the sum would overflow, it goes on with the running mean."""
    total, error, mean, count = np.zeros((4, values.shape[1]))
    running = np.zeros(values.shape[1], dtype=bool)
    for row, here in zip(values, present, strict=True):
        count = count + here
        divisor = np.maximum(count, 1)
        new_total, new_error = kahan.add(total, error, row)
        first = here & (count == 1)
        overflows = here & ~running & ~first & np.isinf(new_total)
        mean = np.where(overflows, total / np.maximum(count - 1, 1), mean)
        error = np.where(overflows, error / np.maximum(count - 1, 1), error)
        running |= overflows
        share = (count - 1) / divisor
        new_mean, mean_error = kahan.add(share * mean, share * error, row / divisor)
        adds = here & ~running
        mean = np.where(here & running, new_mean, mean)
        total = np.where(adds, new_total, total)
        error = np.where(adds, new_error, np.where(here & running, mean_error, error))
    divisor = np.maximum(count, 1)
    return np.where(running, mean + error, total / divisor + error / divisor)
