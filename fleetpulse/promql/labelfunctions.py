"""Functions of a frame's labels: label_replace, label_join, sort_by_label."""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cmp_to_key, partial

import numpy as np

from fleetpulse.errors import QueryError
from fleetpulse.model import METRIC_NAME, Labels
from fleetpulse.promql.arguments import Function, text, vector
from fleetpulse.promql.context import EvalContext
from fleetpulse.promql.frames import Frame, Value
from fleetpulse.promql.groups import unite
from fleetpulse.promql.literals import is_utf8, shown
from fleetpulse.promql.sorting import warn_of_range
from fleetpulse.promql.syntax import Call
from fleetpulse.regex import Pattern, compile_pattern, expand

_CHARACTERS = 8  # of a made label's value weigh as much as a sample
_CHUNK = re.compile(r"\d+|\D+", re.ASCII)


def _label_replace(ctx: EvalContext, args: Sequence[Value], call: Call) -> Value:
    """Sets a label to what a regular expression finds in another, where it matches all of it."""
    target, replacement, source, regex = (text(args, place, call) for place in range(1, 5))
    pattern, references = _compiled(regex), replacement.count("$")
    _check_name(target, "destination", call)

    def replaced(labels: Labels) -> str | None:
        text = labels.get(source)
        found = pattern.fullmatch(text)
        if found is None:
            return None
        _ensure_room(ctx, len(replacement) + references * len(text))
        return expand(found, replacement)

    return _relabelled(ctx, vector(args, 0, call), target, replaced)


def _label_join(ctx: EvalContext, args: Sequence[Value], call: Call) -> Value:
    """Sets a label to the values of others, joined by a separator."""
    target, separator = text(args, 1, call), text(args, 2, call)
    sources = [text(args, place, call) for place in range(3, len(args))]
    for source in sources:
        _check_name(source, "source", call)
    _check_name(target, "destination", call)

    def joined(labels: Labels) -> str:
        parts = [labels.get(source) for source in sources]
        _ensure_room(ctx, len(separator) * len(parts) + sum(map(len, parts)))
        return separator.join(parts)

    return _relabelled(ctx, vector(args, 0, call), target, joined)


def _ensure_room(ctx: EvalContext, characters: int) -> None:
    """QueryError where a text would take more memory than the query has left: joined again and
    again, labels grow by the power of it.
    """
    samples = characters // _CHARACTERS
    if samples > ctx.budget.left():
        ctx.budget.take(samples)


def _relabelled(
    ctx: EvalContext, frame: Frame, target: str, value: Callable[[Labels], str | None]
) -> Frame:
    """frame with label target set to value(labels) where that is not None.

    A metric name that is set stays, though one before it was to be dropped.
    """
    rows = list(frame.labels)
    drop_name = frame.drop_name.copy()
    for row, labels in enumerate(rows):
        ctx.check_deadline()
        new = value(labels)
        if new is not None:
            ctx.budget.keep(len(new) // _CHARACTERS, 0)
            rows[row] = Labels.of({**dict(labels), target: new})
            drop_name[row] &= target != METRIC_NAME
    return unite(Frame(rows, frame.values, frame.present, drop_name))


def _compiled(regex: str) -> Pattern:
    try:
        return compile_pattern(regex)
    except ValueError:
        message = f"invalid regular expression in label_replace(): {regex}"
        raise QueryError("execution", message) from None


def _check_name(name: str, role: str, call: Call) -> None:
    """Any text that is not empty can be a label's name, if it is UTF-8."""
    if not name or not is_utf8(name):
        raise QueryError("execution", f"invalid {role} label name in {call.func}(): {shown(name)}")


def _sorted_by_label(*, descending: bool) -> Function:
    def apply(ctx: EvalContext, args: Sequence[Value], call: Call) -> Value:
        frame = vector(args, 0, call)
        names = [text(args, place, call) for place in range(1, len(args))]
        if warn_of_range(ctx):
            return frame
        key = cmp_to_key(partial(_compare, ctx, names))
        rows = range(frame.rows)
        order = sorted(rows, key=lambda row: key(frame.labels[row]), reverse=descending)
        return frame.take(np.array(order, dtype=np.intp))

    return apply


def _compare(ctx: EvalContext, names: Sequence[str], left: Labels, right: Labels) -> int:
    """By the labels named, numbers in them as numbers; where these are equal, by all labels."""
    ctx.check_deadline()
    for name in names:
        order = natural_order(left.get(name), right.get(name))
        if order:
            return order
    return (left > right) - (left < right)


def natural_order(left: str, right: str) -> int:
    """-1, 0 or 1: `cpu9` comes before `cpu10`."""
    ours, theirs = _CHUNK.findall(left), _CHUNK.findall(right)
    for mine, other in zip(ours, theirs, strict=False):
        if mine[0].isdecimal() and other[0].isdecimal() and int(mine) != int(other):
            return -1 if int(mine) < int(other) else 1
        if not (mine[0].isdecimal() and other[0].isdecimal()) and mine != other:
            return -1 if mine < other else 1
    return (len(ours) > len(theirs)) - (len(ours) < len(theirs))


LABEL: Mapping[str, Function] = {
    "label_join": _label_join,
    "label_replace": _label_replace,
    "sort_by_label": _sorted_by_label(descending=False),
    "sort_by_label_desc": _sorted_by_label(descending=True),
}
