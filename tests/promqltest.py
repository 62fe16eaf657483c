"""Runs scripts in Prometheus' PromQL test language against an engine over series in memory."""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from fleetpulse.errors import QueryError
from fleetpulse.matchers import Matcher, all_match
from fleetpulse.model import Labels, Series
from fleetpulse.promql.result import Matrix, QueryEngine, Result, Scalar, String, Vector
from fleetpulse.storage.base import Hints, SeriesReader
from tests.promql_fakes import FakeReader, series
from tests.promqlscript import Clear, Eval, Load, Point, parse_script

# What depends on the query's own bounds differs between an instant and a range query.
_CONTEXT = re.compile(r"\b(start|end|range|step)\(\)")


class MismatchError(AssertionError):
    """An answer that is not the expected one."""


class ScriptStore(SeriesReader, Protocol):
    """What a script needs of a store. met_native: whether native histograms were selected."""

    met_native: bool

    def load(self, command: Load) -> None: ...
    def clear(self) -> "ScriptStore":
        """An empty store of the kind."""


class ScriptReader(FakeReader):
    """Series in memory; met_native: whether a selection meets one of native histograms."""

    def __init__(self) -> None:
        super().__init__()
        self.native: list[Labels] = []
        self.met_native = False

    def load(self, command: Load) -> None:
        for labels, points in command.rows:
            taken = [
                (place * command.step_ms, point)
                for place, point in enumerate(points)
                if point is not None
            ]
            self.add(labels, taken)
        self.native += command.native

    def clear(self) -> "ScriptReader":
        return ScriptReader()

    def add(self, labels: Labels, taken: list[tuple[int, float]]) -> None:
        known = [one for one in self.held if one.labels == labels]
        for one in known:
            old = zip(one.times_ms.tolist(), one.values.tolist(), strict=True)
            taken = list({**dict(old), **dict(taken)}.items())
            self.held.remove(one)
        self.held = sorted([*self.held, series(labels, taken)], key=lambda one: one.labels)

    def select(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, hints: Hints
    ) -> Sequence[Series]:
        self.met_native |= any(all_match(matchers, labels) for labels in self.native)
        return super().select(matchers, start_ms, end_ms, hints)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one eval: passed, native (histograms, not run) or failed, with the reason."""

    case: Eval
    verdict: Literal["passed", "native", "failed"]
    reason: str = ""


def run_script(
    text: str,
    make_engine: Callable[[SeriesReader], QueryEngine],
    tolerances: Mapping[str, float] | None = None,
    reader: "ScriptStore | None" = None,
) -> Iterator[Outcome]:
    """The outcome of each eval of the script, in its order.

    tolerances: by expression, the relative error allowed where it is not 1e-9. reader: an empty
    store; without it, series are in memory.
    """
    reader = reader or ScriptReader()
    for command in parse_script(text):
        match command:
            case Load():
                reader.load(command)
            case Clear():
                reader = reader.clear()
            case Eval():
                command.tolerance = (tolerances or {}).get(command.expr, command.tolerance)
                yield _run_eval(command, reader, make_engine(reader))


def _run_eval(case: Eval, reader: ScriptStore, engine: QueryEngine) -> Outcome:
    reader.met_native = False
    try:
        _check(case, engine)
    except (MismatchError, QueryError) as err:
        if not (case.native or reader.met_native):
            return Outcome(case, "failed", str(err))
    met = case.native or reader.met_native
    return Outcome(case, "native" if met else "passed")


def _check(case: Eval, engine: QueryEngine) -> None:
    """Asks and compares; an instant question is also asked as the middle of a range."""
    if "fail" in case.notes:
        _check_failure(case, engine)
        return
    result = _ask(case, engine)
    _check_notes(case, result)
    _check_data(case, result.data)
    one_value = isinstance(result.data, (Vector, Scalar))
    if case.step_ms == 0 and one_value and not _CONTEXT.search(case.expr):
        around = engine.range(case.expr, case.start_ms - 60_000, case.start_ms + 60_000, 60_000)
        _check_middle(case, around.data)


def _ask(case: Eval, engine: QueryEngine) -> Result:
    if case.step_ms:
        return engine.range(case.expr, case.start_ms, case.end_ms, case.step_ms)
    at_ms = case.window[1] if case.window else case.start_ms
    return engine.instant(case.expr, at_ms)


def _check_failure(case: Eval, engine: QueryEngine) -> None:
    try:
        _ask(case, engine)
    except QueryError as err:
        if "not supported" in str(err):
            raise
        for note in case.notes["fail"]:
            if not note.fits(str(err)):
                raise MismatchError(f"failed with {err}, expected {note}") from err
        return
    raise MismatchError("did not fail")


def _check_notes(case: Eval, result: Result) -> None:
    for kind, messages in (("warn", result.warnings), ("info", result.infos)):
        if f"no_{kind}" in case.notes and messages:
            raise MismatchError(f"unexpected {kind}: {messages}")
        for note in case.notes.get(kind, ()):
            if not any(note.fits(message) for message in messages):
                raise MismatchError(f"expected {kind} {note}, got {messages}")


def _check_data(case: Eval, data: Scalar | String | Vector | Matrix) -> None:
    match data:
        case Scalar():
            _check_value(case, "scalar", case.scalar, data.value)
        case String():
            if data.text != case.string:
                raise MismatchError(f"got {data.text!r}, expected {case.string!r}")
        case Vector():
            got = dict(zip(data.labels, ([value] for value in data.values.tolist()), strict=True))
            _check_rows(case, case.expected, got)
            if "ordered" in case.notes and list(data.labels) != [row for row, _ in case.expected]:
                raise MismatchError(f"order is {data.labels}")
        case Matrix():
            _check_matrix(case, data)


def _check_matrix(case: Eval, data: Matrix) -> None:
    start, end, step = case.window or (case.start_ms, case.end_ms, case.step_ms)
    times = list(range(start, end + 1, step))
    got = {}
    for one in data.series:
        found = dict(zip(one.times_ms.tolist(), one.values.tolist(), strict=True))
        if odd := [at for at in found if at not in times]:
            raise MismatchError(f"{one.labels}: samples at unexpected times {odd}")
        got[one.labels] = [found.get(at) for at in times]
    if len(got) != len(data.series):
        raise MismatchError("the same label set more than once")
    wanted = case.expected
    if case.scalar is not None:
        wanted = [(Labels(), [case.scalar] * len(times))]
    _check_rows(case, wanted, got)


def _check_rows(
    case: Eval, wanted: Sequence[tuple[Labels, list[Point]]], got: Mapping[Labels, list[Point]]
) -> None:
    expected = dict(wanted)
    if expected.keys() != got.keys():
        missing, extra = expected.keys() - got.keys(), got.keys() - expected.keys()
        raise MismatchError(
            f"missing {list(map(str, missing))}, unexpected {list(map(str, extra))}"
        )
    for labels, points in got.items():
        theirs = expected[labels]
        theirs = theirs + [None] * (len(points) - len(theirs))
        if len(theirs) > len(points):
            raise MismatchError(f"{labels}: {len(points)} steps, expected {len(theirs)}")
        for value, point in zip(points, theirs, strict=True):
            _check_value(case, str(labels), point, value)


def _check_value(case: Eval, what: str, wanted: Point, got: Point) -> None:
    same = wanted is None and got is None
    if wanted is not None and got is not None:
        same = _close(wanted, got, case.tolerance)
    if not same:
        raise MismatchError(f"{what}: got {got!r}, expected {wanted!r}")


def _close(wanted: float, got: float, tolerance: float) -> bool:
    if math.isnan(wanted) or math.isnan(got):
        return math.isnan(wanted) and math.isnan(got)
    return wanted == got or abs(wanted - got) <= tolerance * max(abs(wanted), abs(got))


def _check_middle(case: Eval, data: Scalar | String | Vector | Matrix) -> None:
    """The instant's answer again, taken from the step of a range that has the same time."""
    assert isinstance(data, Matrix)
    got: dict[Labels, list[Point]] = {}
    for one in data.series:
        at = one.times_ms == case.start_ms
        if at.any():
            got[one.labels] = one.values[at].tolist()
    wanted = case.expected
    if case.scalar is not None:
        wanted = [(Labels(), [case.scalar])]
    try:
        _check_rows(case, wanted, got)
    except MismatchError as err:
        raise MismatchError(f"as a range query: {err}") from err
