"""What a function of PromQL is here, and its arguments taken as what they have to be."""

from collections.abc import Sequence
from typing import Protocol

from fleetpulse.errors import QueryError
from fleetpulse.promql.context import EvalContext
from fleetpulse.promql.frames import Floats, Frame, ScalarFrame, StringFrame, Value
from fleetpulse.promql.syntax import Call, unwrap


class Function(Protocol):
    """One function, over all steps at once. Raises QueryError."""

    def __call__(self, ctx: EvalContext, args: Sequence[Value], call: Call, /) -> Value: ...


def vector(args: Sequence[Value], place: int, call: Call) -> Frame:
    value = _argument(args, place, call)
    if not isinstance(value, Frame):
        raise _wrong_type(place, call, "an instant vector")
    return value


def scalar(args: Sequence[Value], place: int, call: Call) -> Floats:
    """float64 (steps,)."""
    value = _argument(args, place, call)
    if not isinstance(value, ScalarFrame):
        raise _wrong_type(place, call, "a scalar")
    return value.values


def text(args: Sequence[Value], place: int, call: Call) -> str:
    value = _argument(args, place, call)
    if not isinstance(value, StringFrame):
        raise _wrong_type(place, call, "a string")
    return value.text


def at_argument(ctx: EvalContext, place: int, call: Call) -> EvalContext:
    """The same evaluation; its annotations name the argument's place in the query."""
    return ctx.at_node(unwrap(call.args[place]).pos) if place < len(call.args) else ctx


def _argument(args: Sequence[Value], place: int, call: Call) -> Value:
    if place >= len(args):
        raise QueryError("bad_data", f"{call.func}: argument {place + 1} is missing")
    return args[place]


def _wrong_type(place: int, call: Call, wanted: str) -> QueryError:
    return QueryError("bad_data", f"{call.func}: argument {place + 1} has to be {wanted}")
