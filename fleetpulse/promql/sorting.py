"""sort and sort_desc: the order of an instant query's rows by their values."""

from collections.abc import Mapping, Sequence

import numpy as np

from fleetpulse.promql.arguments import Function, vector
from fleetpulse.promql.context import EvalContext
from fleetpulse.promql.frames import Value
from fleetpulse.promql.syntax import Call


def warn_of_range(ctx: EvalContext) -> bool:
    """Whether this is a range query, whose answer is in the order of the labels anyway."""
    if ctx.is_range or ctx.steps != 1:
        ctx.warn("sort is ineffective for range queries since results are always ordered by labels")
        return True
    return False


def _sorted(*, descending: bool) -> Function:
    def apply(ctx: EvalContext, args: Sequence[Value], call: Call) -> Value:
        frame = vector(args, 0, call).compact()
        if warn_of_range(ctx):
            return frame
        keys = frame.values[:, 0]
        # NaN comes last either way, where numpy puts it.
        return frame.take(np.argsort(-keys if descending else keys, kind="stable"))

    return apply


SORT: Mapping[str, Function] = {
    "sort": _sorted(descending=False),
    "sort_desc": _sorted(descending=True),
}
