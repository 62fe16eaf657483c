"""Expressions that stand in a query more than once, each worked out once.

As in `sum(rate(a[5m])) / (sum(rate(a[5m])) + sum(rate(b[5m])))`. Where working one out told a
warning or an info, it is worked out again, for these name the place.
"""

from collections import Counter
from collections.abc import Callable

from fleetpulse.promql.context import EvalContext
from fleetpulse.promql.frames import Value
from fleetpulse.promql.stats import Seen
from fleetpulse.promql.syntax import Aggregate, Call, Expr, Selector, walk

# Nodes of a query that is looked through; in a larger one it would take its time.
_MAX_NODES = 200


class Repeats:
    """The values known so far of one query's repeated expressions."""

    def __init__(self) -> None:
        self._twice: frozenset[Expr] | None = None
        self._known: dict[object, tuple[Value, Seen]] = {}

    def once(self, expr: Expr, ctx: EvalContext, func: str, work: Callable[[], Value]) -> Value:
        """What work() gives for expr at ctx's steps, or gave before. The first expr is the query.

        func: the call or aggregation right around, by which a store may answer otherwise.
        """
        if self._twice is None:
            self._twice = repeated(expr)
        if not self._twice or not isinstance(expr, Call | Aggregate) or expr not in self._twice:
            return work()
        key = (expr, func, ctx.steps, ctx.step_ms, int(ctx.steps_ms[0]) if ctx.steps else 0)
        if key in self._known:
            ctx.check_deadline()
            value, seen = self._known[key]
            ctx.seen.add_all(seen)
            return value
        told, before = _told(ctx), ctx.seen.copy()
        value = work()
        if _told(ctx) == told:
            ctx.budget.keep(value.weight, 0)  # held to the end of the query
            self._known[key] = value, ctx.seen.since(before)
        return value


def repeated(tree: Expr) -> frozenset[Expr]:
    """The calls and aggregations that stand in the tree more than once."""
    nodes = list(walk(tree))
    if len(nodes) > _MAX_NODES or sum(isinstance(node, Selector) for node in nodes) < 2:
        return frozenset()
    counts = Counter(node for node in nodes if isinstance(node, Call | Aggregate))
    return frozenset(node for node, count in counts.items() if count > 1)


def _told(ctx: EvalContext) -> int:
    return len(ctx.annotations.warnings) + len(ctx.annotations.infos)
