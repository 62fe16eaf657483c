"""info(): data labels of info metrics, such as target_info, put on other series.

An info series belongs to a series when both have the same values of `instance` and `job`
(Prometheus' promql/info.go).
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fleetpulse.errors import QueryError
from fleetpulse.matchers import Matcher, all_match
from fleetpulse.model import METRIC_NAME, Labels
from fleetpulse.promql.context import EvalContext
from fleetpulse.promql.frames import Frame, Mask
from fleetpulse.promql.groups import Index, ensure_room, unite
from fleetpulse.promql.tree import Aggregate, At, Call, Expr, Selector, Subquery, children

_IDENTIFYING = ("instance", "job")
_DEFAULT = (Matcher(METRIC_NAME, "=", "target_info"),)
_ANY_INFO = Matcher(METRIC_NAME, "=~", ".+_info")

# The name of an info metric and the identifying labels of its series.
_Signature = tuple[str, Labels]
# By signature, the row of the info frame that holds at each step, -1 for none; intp (steps,).
_Holding = Mapping[_Signature, Index]


@dataclass(frozen=True, slots=True)
class Selection:
    """What the second argument selects: info metrics by name, and of them data labels."""

    names: tuple[Matcher, ...]
    data: tuple[Matcher, ...]

    @classmethod
    def of(cls, call: Call) -> "Selection":
        given = call.args[1] if len(call.args) > 1 else None
        matchers = given.matchers if isinstance(given, Selector) else ()
        names = tuple(one for one in matchers if one.name == METRIC_NAME)
        data = tuple(one for one in matchers if one.name != METRIC_NAME)
        if not names:
            names = _DEFAULT
        elif all(one.op in ("!=", "!~") for one in names):
            names = (_ANY_INFO, *names)
        return cls(names, data)

    def takes(self, label: str) -> bool:
        return not self.data or any(one.name == label for one in self.data)

    @property
    def needs_match(self) -> bool:
        """Whether a series without any info series is left out."""
        return any(not one.matches_empty for one in self.data)


def info_selector(call: Call, selection: Selection, base: Frame) -> Selector | None:
    """Selects the info series for base; None where nothing identifies any of its rows."""
    rows = [labels for labels in base.labels if not is_info(selection, labels)]
    matchers = []
    for name in _IDENTIFYING:
        values = sorted({labels.get(name) for labels in rows} - {""})
        if values:
            matchers.append(Matcher(name, "=~", "|".join(map(_quoted, values))))
    if not matchers:
        return None
    at, offset_ms = _time_of(call.args[0])
    wanted = (*matchers, *selection.data, *selection.names)
    return Selector(None, wanted, offset_ms, at, pos=call.pos)


def is_info(selection: Selection, labels: Labels) -> bool:
    """Whether a series is an info series itself; nothing is put on those."""
    return all_match(selection.names, Labels.of({METRIC_NAME: labels.name}))


def enriched(ctx: EvalContext, selection: Selection, base: Frame, infos: Frame) -> Frame:
    """base with the data labels. infos: the info series, their values the times of the samples."""
    busy: Mask = np.any(base.present, axis=0)
    holding = _holding(infos, busy)
    names = sorted({name for name, _ in holding})
    rows: list[int] = []
    labels: list[Labels] = []
    masks: list[Mask] = []
    for row, plain in enumerate(base.labels):
        ctx.check_deadline()
        of_row = () if is_info(selection, plain) else _of_row(holding, names, plain)
        for chosen, mask in _variants(of_row, base.present[row]):
            found = [infos.labels[one] for one in chosen]
            if not found and selection.needs_match and not is_info(selection, plain):
                continue
            rows.append(row)
            labels.append(_with_data(selection, plain, found))
            masks.append(mask)
        ensure_room(ctx, len(rows), base.steps)
    taken = np.array(rows, dtype=np.intp)
    present = np.array(masks, dtype=bool).reshape(len(rows), base.steps)
    return unite(Frame(labels, base.values[taken], present, base.drop_name[taken]).compact())


def _holding(infos: Frame, busy: Mask) -> _Holding:
    """Of info series of one signature the one with the newest sample holds.

    QueryError where two are of the same time, at a step at which there is anything to enrich.
    """
    rows: dict[_Signature, list[int]] = {}
    for row, labels in enumerate(infos.labels):
        rows.setdefault((labels.name, labels.only(*_IDENTIFYING)), []).append(row)
    return {signature: _newest(infos, members, busy) for signature, members in rows.items()}


def _newest(infos: Frame, members: Sequence[int], busy: Mask) -> Index:
    times = np.where(infos.present[members], infos.values[members], -np.inf)
    best = times.max(axis=0)
    alike = ((times == best) & infos.present[members]).sum(axis=0) > 1
    if (alike & busy).any():
        step = int(np.flatnonzero(alike & busy)[0])
        raise _duplicate(infos, [m for m in members if infos.values[m, step] == best[step]], step)
    found = np.asarray(members, dtype=np.intp)[times.argmax(axis=0)]
    return np.where(np.isneginf(best), -1, found)


def _duplicate(infos: Frame, members: Sequence[int], step: int) -> QueryError:
    shown = [f"{infos.labels[one]} @ {round(infos.values[one, step] * 1000)}" for one in members]
    return QueryError(
        "execution",
        f"found duplicate series for info metric: existing {shown[0]}, new {shown[1]}",
    )


def _of_row(holding: _Holding, names: Iterable[str], labels: Labels) -> tuple[Index, ...]:
    identity = labels.only(*_IDENTIFYING)
    found = (holding.get((name, identity)) for name in names)
    return tuple(one for one in found if one is not None)


def _variants(of_row: Sequence[Index], present: Mask) -> Iterator[tuple[tuple[int, ...], Mask]]:
    """The info rows that hold together, and the steps at which they do and present is set."""
    if not of_row:
        yield (), present
        return
    combinations, which = np.unique(np.stack(of_row), axis=1, return_inverse=True)
    for number, combination in enumerate(combinations.T.tolist()):
        mask = present & (which.ravel() == number)
        if mask.any():
            yield tuple(one for one in combination if one >= 0), mask


def _with_data(selection: Selection, plain: Labels, found: Iterable[Labels]) -> Labels:
    """A label of the series itself stays; QueryError where two info series disagree."""
    own, added = dict(plain), dict[str, str]()
    for labels in found:
        for name, value in labels:
            if name == METRIC_NAME or not selection.takes(name):
                continue
            if added.get(name, value) != value:
                raise QueryError("execution", f"conflicting label: {name}")
            if name not in own:
                added[name] = value
    return Labels.of({**own, **added}) if added else plain


def _time_of(expr: Expr) -> tuple[At, int]:
    """When the info series are looked at: as the first selector's @ and offset say.

    Offsets of subqueries around it are added, up to the first @.
    """
    if isinstance(expr, Selector):
        return expr.at, expr.offset_ms
    at, offset_ms = _time_of_first(expr)
    if isinstance(expr, Subquery) and at is None:
        return expr.at, offset_ms + expr.offset_ms
    return at, offset_ms


def _time_of_first(expr: Expr) -> tuple[At, int]:
    inner = (expr.expr, expr.param) if isinstance(expr, Aggregate) else children(expr)
    for child in inner:
        if child is not None and _has_selector(child):
            return _time_of(child)
    return None, 0


def _has_selector(expr: Expr) -> bool:
    return isinstance(expr, Selector) or any(_has_selector(child) for child in children(expr))


def _quoted(value: str) -> str:
    """As RE2 takes it; Python would also escape what RE2 does not know as escaped."""
    return re.sub(r"([\\.+*?()|\[\]{}^$])", r"\\\1", value)
