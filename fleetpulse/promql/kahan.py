"""Compensated sums, as Prometheus adds (Neumaier's variant of Kahan's summation)."""

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
