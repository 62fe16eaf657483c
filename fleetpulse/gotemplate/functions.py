"""Go's own template functions, and those on text that Prometheus and Alertmanager both add."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote_plus

from fleetpulse.gotemplate import texts
from fleetpulse.gotemplate.printing import sprint, sprintf, sprintln
from fleetpulse.gotemplate.values import (
    AnyMap,
    GoFunction,
    SafeHtml,
    anything,
    go_type,
    string,
    table,
    truth,
)


def _length(value: Any) -> int:
    if isinstance(value, str):
        return len(value.encode())
    if isinstance(value, Mapping | Sequence):
        return len(value)
    raise ValueError(f"len of type {go_type(value)}")


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        value = _item(value, key)
    return value


def _item(value: Any, key: Any) -> Any:
    if isinstance(value, Mapping) and isinstance(key, str):
        return value.get(key, None if isinstance(value, AnyMap) else "")
    if isinstance(value, Sequence) and type(key) is int:
        # A text's items are its bytes.
        items = value.encode() if isinstance(value, str) else value
        if not 0 <= key < len(items):
            raise ValueError(f"index out of range: {key}")
        return items[key]
    raise ValueError(f"can't index item of type {go_type(value)} with {go_type(key)}")


def _slice(value: Any, *bounds: Any) -> Any:
    if not isinstance(value, Sequence) or not all(type(bound) is int for bound in bounds):
        raise ValueError(f"can't slice item of type {go_type(value)}")
    items = value.encode() if isinstance(value, str) else value
    start, end = (*bounds, 0)[0], bounds[1] if len(bounds) > 1 else len(items)
    if len(bounds) > 2 or not 0 <= start <= end <= len(items):
        raise ValueError(f"index out of range: {start}, {end}")
    part = items[start:end]
    if isinstance(part, bytes):
        return part.decode(errors="replace")
    # A list with methods keeps them.
    return type(value)(part) if isinstance(value, list) else part


_BASIC = (bool, int, float, str)


def _basic(value: Any) -> type | None:
    return next((kind for kind in _BASIC if isinstance(value, kind)), None)


def _check_comparable(first: Any, second: Any) -> None:
    left, right = _basic(first), _basic(second)
    if left is right and left is not None:
        return
    message = f"incompatible types for comparison: {go_type(first)} and {go_type(second)}"
    if {left, right} == {int, float}:
        # Go does not compare an int with a float: `gt $value 80.0`, not `gt $value 80`.
        message += "; write 80.0 against a value"
    raise ValueError(message)


def _equal(first: Any, *others: Any) -> bool:
    if not others:
        raise ValueError("missing argument for comparison")
    return any(_same(first, other) for other in others)


def _same(first: Any, second: Any) -> bool:
    if first is None or second is None:
        return first is second
    _check_comparable(first, second)
    return bool(first == second)


def _less(first: Any, second: Any) -> bool:
    _check_comparable(first, second)
    if isinstance(first, bool):
        raise ValueError("invalid type for comparison")
    return bool(first < second)


def _at_most(first: Any, second: Any) -> bool:
    return _less(first, second) or bool(first == second)


def _never(*_values: Any) -> None:
    """The evaluation itself does `and` and `or`, which look at no more than they need."""


_TWO = (anything, anything)

# What text/template brings along.
GO_FUNCTIONS = table(
    GoFunction("and", (anything,), _never, anything),
    GoFunction("or", (anything,), _never, anything),
    GoFunction("not", (anything,), lambda value: not truth(value)),
    GoFunction("len", (anything,), _length),
    GoFunction("index", (anything,), _index, anything),
    GoFunction("slice", (anything,), _slice, anything),
    GoFunction("print", (), lambda *values: sprint(values), anything),
    GoFunction("println", (), lambda *values: sprintln(values), anything),
    GoFunction("printf", (string,), lambda form, *rest: sprintf(form, rest), anything),
    GoFunction("html", (), lambda *values: SafeHtml(texts.html(sprint(values))), anything),
    GoFunction("js", (), lambda *values: texts.js(sprint(values)), anything),
    GoFunction("urlquery", (), lambda *values: quote_plus(sprint(values)), anything),
    GoFunction("eq", (anything,), _equal, anything),
    GoFunction("ne", _TWO, lambda first, second: not _same(first, second)),
    GoFunction("lt", _TWO, _less),
    # In this way, as Go has it, NaN is greater than every number.
    GoFunction("le", _TWO, _at_most),
    GoFunction("gt", _TWO, lambda first, second: not _at_most(first, second)),
    GoFunction("ge", _TWO, lambda first, second: not _less(first, second)),
)

# What Prometheus and Alertmanager add alike.
TEXT_FUNCTIONS = table(
    GoFunction("toUpper", (string,), texts.upper),
    GoFunction("toLower", (string,), texts.lower),
    GoFunction("match", (string, string), texts.match),
    GoFunction("reReplaceAll", (string, string, string), texts.replace_all),
    GoFunction("safeHtml", (string,), SafeHtml),
)
