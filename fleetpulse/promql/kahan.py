"""Compensated sums, as Prometheus adds (Neumaier's variant of Kahan's summation)."""

import math

import numpy as np

from fleetpulse.promql.frames import Floats, Mask


def add(total: Floats, lost: Floats, value: Floats) -> tuple[Floats, Floats]:
    """(total, lost) with value added; total + lost is the sum. Arrays of one shape.

    An infinite total forgets what was lost, so that the sum stays infinite.
    """
    new = total + value
    bigger = np.abs(total) >= np.abs(value)
    error = np.where(bigger, (total - new) + value, (value - new) + total)
    return new, np.where(np.isinf(new), 0.0, lost + error)


def add_where(live: Mask, total: Floats, lost: Floats, value: Floats) -> tuple[Floats, Floats]:
    """add() where live, unchanged elsewhere."""
    new_total, new_lost = add(total, lost, value)
    return np.where(live, new_total, total), np.where(live, new_lost, lost)


def total(values: Floats) -> Floats:
    """(rows, samples) finite → (rows,): exact to the last bit or so, by pairwise halving."""
    high, low = values, np.zeros_like(values)
    while high.shape[1] > 1:
        if high.shape[1] % 2:
            high, low = (np.pad(part, ((0, 0), (0, 1))) for part in (high, low))
        half = high.shape[1] // 2
        left, right = high[:, :half], high[:, half:]
        high = left + right
        shift = high - left
        low = low[:, :half] + low[:, half:] + ((left - (high - shift)) + (right - shift))
    totals: Floats = np.sum(high + low, axis=1)
    return totals


def of_list(values: list[float]) -> tuple[float, float]:
    """(total, lost) of a few thousand floats, in plain Python: the best way for one window."""
    sum_so_far = lost = 0.0
    for value in values:
        new = sum_so_far + value
        if math.isinf(new):
            lost = 0.0
        elif abs(sum_so_far) >= abs(value):
            lost += (sum_so_far - new) + value
        else:
            lost += (value - new) + sum_so_far
        sum_so_far = new
    return sum_so_far, lost
