"""absent() and absent_over_time(): what a selector's matchers say of the series that is missing."""

import numpy as np

from fleetpulse.model import METRIC_NAME, Labels
from fleetpulse.promql.frames import Frame, Mask
from fleetpulse.promql.syntax import Expr, MatrixSelector, Selector, unwrap


def absent(argument: Expr, present: Mask) -> Frame:
    """1 at each step where none of the argument's rows (rows, steps) is present."""
    missing: Mask = ~np.any(present, axis=0)
    if not missing.any():
        return Frame.empty(len(missing))
    ones = np.ones((1, len(missing)))
    return Frame([_expected_labels(argument)], ones, missing[None, :], np.zeros(1, dtype=bool))


def _expected_labels(argument: Expr) -> Labels:
    """The labels with exactly one matcher, an `=`; a name matched twice is left out."""
    argument = unwrap(argument)
    selector = argument.selector if isinstance(argument, MatrixSelector) else argument
    if not isinstance(selector, Selector):
        return Labels()
    found: dict[str, str] = {}
    seen: set[str] = set()
    for matcher in selector.matchers:
        if matcher.op == "=" and matcher.name not in seen:
            found[matcher.name] = matcher.value
            seen.add(matcher.name)
        else:
            found.pop(matcher.name, None)
    found.pop(METRIC_NAME, None)
    return Labels.of(found)
