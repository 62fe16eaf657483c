"""What a tree that reads well may still have wrong: types, and how vectors are matched."""

from collections.abc import Iterator
from typing import assert_never

from fleetpulse.errors import QueryError
from fleetpulse.model import METRIC_NAME
from fleetpulse.promql.literals import is_utf8, shown
from fleetpulse.promql.signatures import (
    AGGREGATIONS,
    EXPERIMENTAL_AGGREGATIONS,
    SIGNATURES,
    UNSUPPORTED,
    documented,
)
from fleetpulse.promql.tokens import parse_error, position
from fleetpulse.promql.tree import (
    Aggregate,
    Binary,
    Call,
    Expr,
    MatrixSelector,
    Node,
    Number,
    Paren,
    Selector,
    Subquery,
    Text,
    Unary,
    ValueType,
    unwrap,
    value_type,
    walk,
)

_COMPARISONS = frozenset(["==", "!=", "<", ">", "<=", ">="])
_SET_OPERATORS = frozenset(["and", "or", "unless"])
_OPERAND = "binary expression must contain only scalar and instant vector types"
_UNARY = "unary expression only allowed on expressions of type scalar or instant vector"

# Where the fault is, as an index into the text, and what it is.
Fault = tuple[int, str]


def check(text: str, tree: Expr, *, experimental: bool) -> None:
    """QueryError("bad_data") with the first fault of the tree that text was read as.

    experimental: whether what Prometheus has behind promql-experimental-functions is allowed.
    """
    nodes = list(walk(tree))
    nodes.reverse()  # operands before their operators, from left to right
    _check_known(text, nodes)
    if not experimental:
        _check_experiments(text, nodes)
    selections = {id(arg) for node in nodes if _is_info(node) for arg in _info_selection(node)}
    for node in nodes:
        for at, message in _faults(node, of_info=id(node) in selections):
            raise parse_error(text, at, message)
    _check_strings(text, nodes)


def _check_known(text: str, nodes: list[Expr]) -> None:
    """Functions that no setting enables, before anything says that one does."""
    for node in nodes:
        if isinstance(node, Call) and node.func in UNSUPPORTED:
            where = position(text, node.pos)
            raise QueryError("bad_data", f"{where}: not supported: function {node.func}()")


def _check_experiments(text: str, nodes: list[Expr]) -> None:
    for node in nodes:
        if isinstance(node, Call) and SIGNATURES[node.func].experimental:
            message = f'function "{node.func}" is not enabled'
        elif isinstance(node, Aggregate) and node.op in EXPERIMENTAL_AGGREGATIONS:
            message = f"{node.op}() is experimental and not enabled"
        elif isinstance(node, Binary) and node.matching.fills:
            message = "binop fill modifiers are experimental and not enabled"
        else:
            continue
        raise parse_error(text, node.pos, f"{message}; set promql.experimental: true for it")


def _faults(node: Expr, *, of_info: bool) -> Iterator[Fault]:
    match node:
        case Aggregate():
            yield from _aggregate_faults(node)
        case Binary():
            yield from _binary_faults(node)
        case Call():
            yield from _call_faults(node)
        case Selector():
            yield from _selector_faults(node, of_info=of_info)
        case Subquery():
            if (kind := value_type(node.expr)) != "vector":
                found = f"subquery is only allowed on instant vector, got {kind} instead"
                yield node.pos, found
        case Unary():
            if (kind := value_type(node.expr)) not in ("scalar", "vector"):
                yield node.pos, f'{_UNARY}, got "{documented(kind)}"'
        case MatrixSelector() | Number() | Paren() | Text():
            pass
        case _:
            assert_never(node)


def _aggregate_faults(node: Aggregate) -> Iterator[Fault]:
    yield from _type_fault(node.expr, "vector", "aggregation expression")
    wanted = AGGREGATIONS[node.op]
    if node.param is not None and wanted is not None:
        yield from _type_fault(node.param, wanted, "aggregation parameter")


def _binary_faults(node: Binary) -> Iterator[Fault]:
    left, right = value_type(node.lhs), value_type(node.rhs)
    compares, matching = node.op in _COMPARISONS, node.matching
    if node.return_bool and not compares:
        yield node.op_pos, "bool modifier can only be used on comparison operators"
    if compares and not node.return_bool and left == right == "scalar":
        yield node.op_pos, "comparisons between scalars must use BOOL modifier"
    for label in matching.labels:
        if matching.on and label in matching.include:
            message = f'label "{label}" must not occur in ON and GROUP clause at once'
            yield node.op_pos, message
    for operand, kind in (node.lhs, left), (node.rhs, right):
        if kind not in ("scalar", "vector"):
            yield operand.pos, _OPERAND
    yield from _matching_faults(node, vectors=left == right == "vector")


def _matching_faults(node: Binary, *, vectors: bool) -> Iterator[Fault]:
    # A lone on() beside a scalar is passed over, as in Prometheus.
    if not vectors and node.matching.labels:
        yield node.pos, "vector matching only allowed between instant vectors"
    if not vectors and node.matching.fills:
        yield node.pos, "filling in missing series only allowed between instant vectors"
    if node.op in _SET_OPERATORS:
        if not vectors:
            message = f'set operator "{node.op}" not allowed in binary scalar expression'
            yield node.pos, message
        elif node.matching.card != "many-to-many":
            yield node.pos, f'no grouping allowed for "{node.op}" operation'
        elif node.matching.fills:
            yield node.pos, "filling in missing series not allowed for set operators"


def _call_faults(node: Call) -> Iterator[Fault]:
    signature, given = SIGNATURES[node.func], len(node.args)
    if not signature.least <= given <= signature.most:
        wanted = str(signature.least)
        if signature.least < signature.most:
            low = given < signature.least
            wanted = f"at least {wanted}" if low else f"at most {signature.most}"
        yield node.pos, f'expected {wanted} argument(s) in call to "{node.func}", got {given}'
    if _is_info(node):
        for selection in _info_selection(node):
            if not isinstance(selection, Selector):
                yield selection.pos, "expected label selectors only"
            elif selection.name is not None:
                message = "expected label selectors only, got vector selector instead"
                yield selection.pos, message
    for place, arg in enumerate(node.args):
        wanted_type = signature.args[min(place, len(signature.args) - 1)]
        yield from _type_fault(arg, wanted_type, f'call to function "{node.func}"')


def _selector_faults(node: Selector, *, of_info: bool) -> Iterator[Fault]:
    if node.name is not None:
        for matcher in node.matchers[1:]:
            if matcher.name == METRIC_NAME:
                message = f'metric name must not be set twice: "{node.name}" or "{matcher.value}"'
                yield node.pos, message
    elif not of_info and all(matcher.matches_empty for matcher in node.matchers):
        yield node.pos, "vector selector must contain at least one non-empty matcher"


def _type_fault(node: Expr, wanted: ValueType, where: str) -> Iterator[Fault]:
    kind = value_type(node)
    if kind != wanted:
        message = f"expected type {documented(wanted)} in {where}, got {documented(kind)}"
        yield node.pos, message


def _is_info(node: Node) -> bool:
    return isinstance(node, Call) and node.func == "info"


def _info_selection(node: Node) -> tuple[Expr, ...]:
    return node.args[1:2] if isinstance(node, Call) else ()


def _check_strings(text: str, nodes: list[Expr]) -> None:
    """Bytes that are not UTF-8 are taken where they name a label, which they then cannot."""
    named = {id(unwrap(arg)) for node in nodes for arg in _label_names(node)}
    for node in nodes:
        if isinstance(node, Text) and not is_utf8(node.value) and id(node) not in named:
            where = position(text, node.pos)
            message = f'not supported: "{shown(node.value)}" is not UTF-8'
            raise QueryError("bad_data", f"{where}: {message}")


def _label_names(node: Expr) -> tuple[Expr, ...]:
    if isinstance(node, Aggregate) and node.op == "count_values" and node.param is not None:
        return (node.param,)
    if isinstance(node, Call) and node.func in ("label_replace", "label_join"):
        return node.args[1:2]
    return ()
