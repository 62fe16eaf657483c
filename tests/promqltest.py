"""Runs scripts in Prometheus' PromQL test language against an engine over series in memory.

`load STEP` adds series, `clear` drops them, `eval instant at T EXPR` and `eval range from A to B
step S EXPR` ask, and the lines below say what is expected. Each command ends at an empty line.
"""

import ast
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from fleetpulse.errors import QueryError
from fleetpulse.matchers import Matcher, all_match
from fleetpulse.model import STALE_NAN, Labels, Series
from fleetpulse.promql.result import Matrix, QueryEngine, Result, Scalar, String, Vector
from fleetpulse.promql.tokens import Token, tokenize
from fleetpulse.storage.base import Hints, SeriesReader
from fleetpulse.values import parse_duration
from tests.promql_fakes import FakeReader, series

_LOAD = re.compile(r"load(_with_nhcb)?\s+(\S+)")
_INSTANT = re.compile(r"eval(?:_(fail|warn|ordered|info))?\s+instant\s+(?:at\s+(\S+)\s+)?(.+)")
_RANGE = re.compile(
    r"eval(?:_(fail|warn|info))?\s+range\s+from\s+(\S+)\s+to\s+(\S+)\s+step\s+(\S+)\s+(.+)"
)
_EXPECT = re.compile(r"expect\s+(ordered|fail|warn|no_warn|info|no_info)(?:\s+(regex|msg):(.+))?")
_EXPECT_RANGE = re.compile(r"expect range vector\s+from\s+(\S+)\s+to\s+(\S+)\s+step\s+(\S+)")
_REPEATED = re.compile(
    r"(?P<start>[+-]?(?:inf|nan|[\d.]+(?:e[+-]?\d+)?))"
    r"(?:(?P<step>[+-](?:inf|[\d.]+(?:e[+-]?\d+)?)))?(?:x(?P<times>\d+))?",
    re.IGNORECASE,
)
_BLANKS = re.compile(r"(?P<what>_|stale)(?:x(?P<times>\d+))?")

# What depends on the query's own bounds differs between an instant and a range query.
_CONTEXT = re.compile(r"\b(start|end|range|step)\(\)")

# A series' value at a step; None: no sample there.
Point = float | None


class ScriptError(ValueError):
    """A line that is no script; it names the line."""


@dataclass(frozen=True, slots=True)
class Load:
    """step_ms apart from 0 on; native: series that have native histograms, which are left out."""

    step_ms: int
    rows: list[tuple[Labels, list[Point]]]
    native: list[Labels]


@dataclass(frozen=True, slots=True)
class Clear:
    pass


@dataclass(slots=True)
class Note:
    """An expected message: with either text, an exact one, or regex; with none, any."""

    text: str | None = None
    regex: str | None = None

    def fits(self, message: str) -> bool:
        if self.text is not None:
            return message == self.text
        return re.search(self.regex or "", message) is not None


@dataclass(slots=True)
class Eval:
    """One question. step_ms is 0 for an instant one; then start_ms is its time."""

    line: int
    expr: str
    start_ms: int
    end_ms: int
    step_ms: int
    expected: list[tuple[Labels, list[Point]]] = field(default_factory=list)
    scalar: float | None = None
    string: str | None = None
    window: tuple[int, int, int] | None = None
    notes: dict[str, list[Note]] = field(default_factory=dict)
    native: bool = False
    tolerance: float = 1e-9


Command = Load | Clear | Eval


def parse_script(text: str) -> list[Command]:
    """The commands of a script. ScriptError names the line that is none."""
    lines = [_bare(line) for line in text.splitlines()]
    commands: list[Command] = []
    at = 0
    while at < len(lines):
        line = lines[at]
        end = at + 1
        if line and line != "clear":
            while end < len(lines) and lines[end]:
                end += 1
        if line:
            commands.append(_command(line, lines[at + 1 : end], at + 1))
        at = end
    return commands


def _bare(line: str) -> str:
    line = line.strip()
    return "" if line.startswith("#") else line


def _command(line: str, body: list[str], number: int) -> Command:
    try:
        if line == "clear":
            return Clear()
        if found := _LOAD.fullmatch(line):
            return _load(found, body)
        return _eval(line, body, number)
    except (ValueError, SyntaxError) as err:
        raise ScriptError(f"line {number}: {err}") from err


def _load(found: re.Match[str], body: list[str]) -> Load:
    load = Load(_ms(found[2]), [], [])
    for line in body:
        labels, points, native = parse_series(line)
        if native:
            load.native.append(labels)
        else:
            load.rows.append((labels, points))
        if found[1]:
            name = re.sub("_(bucket|sum|count)$", "", labels.name)
            load.native.append(labels.with_(__name__=name, le=""))
    return load


def _eval(line: str, body: list[str], number: int) -> Eval:
    if found := _RANGE.fullmatch(line):
        mode, expr = found[1], found[5]
        case = Eval(number, expr, _ms(found[2]), _ms(found[3]), _ms(found[4]))
    elif found := _INSTANT.fullmatch(line):
        mode, expr = found[1], found[3]
        case = Eval(number, expr, _ms(found[2] or "0"), _ms(found[2] or "0"), 0)
    else:
        raise ValueError(f"no command: {line}")
    if mode:
        case.notes.setdefault(mode, []).append(Note())
    for expectation in body:
        _expect(case, expectation)
    return case


def _expect(case: Eval, line: str) -> None:
    if found := _EXPECT_RANGE.fullmatch(line):
        case.window = _ms(found[1]), _ms(found[2]), _ms(found[3])
    elif line.startswith("expect string "):
        case.string = ast.literal_eval(line.removeprefix("expect string ").replace("`", '"""'))
    elif line.startswith("expected_fail_message "):
        case.notes["fail"] = [Note(text=line.removeprefix("expected_fail_message ").strip())]
    elif line.startswith("expected_fail_regexp "):
        case.notes["fail"] = [Note(regex=line.removeprefix("expected_fail_regexp ").strip())]
    elif found := _EXPECT.fullmatch(line):
        text = found[3].strip() if found[3] else None
        note = Note(text if found[2] == "msg" else None, text if found[2] == "regex" else None)
        case.notes.setdefault(found[1], []).append(note)
    elif not any(mark in line for mark in " {") and _number(line) is not None:
        case.scalar = _number(line)
    else:
        labels, points, native = parse_series(line)
        case.expected.append((labels, points))
        case.native |= native


def parse_series(line: str) -> tuple[Labels, list[Point], bool]:
    """Labels, values, and whether any is a native histogram (then the values are empty)."""
    labels, rest = _labels(line)
    if "{{" in rest:
        return labels, [], True
    points: list[Point] = []
    for item in rest.split():
        points += _points(item)
    return labels, points, False


def _labels(line: str) -> tuple[Labels, str]:
    """The leading `name{a="b", …}` and what comes after it."""
    tokens = tokenize(line)
    first = next(tokens)
    pairs: list[tuple[str, str]] = []
    at = 0
    if first.kind == "name":
        pairs.append(("__name__", first.text))
        at = len(first.text)
    if line[at : at + 1] == "{":
        if first.kind == "name":
            next(tokens)
        more, at = _braces(tokens)
        pairs += more
    return Labels.from_pairs(pairs), line[at:]


def _braces(tokens: Iterator[Token]) -> tuple[list[tuple[str, str]], int]:
    pairs: list[tuple[str, str]] = []
    key = ""
    for token in tokens:
        if token.text == "}":
            return pairs + ([("__name__", key)] if key else []), token.at + 1
        if token.text == "," and key:
            pairs.append(("__name__", key))
            key = ""
        elif token.kind == "name":
            key = token.text
        elif token.kind == "string":
            text = _unquoted(token.text)
            if not key:
                key = text
            else:
                pairs.append((key, text))
                key = ""
    raise ValueError("no closing brace")


def _unquoted(text: str) -> str:
    return text[1:-1] if text[0] == "`" else str(ast.literal_eval(text))


def _points(item: str) -> list[Point]:
    if found := _BLANKS.fullmatch(item):
        point = STALE_NAN if found["what"] == "stale" else None
        return [point] * (int(found["times"]) if found["times"] else 1)
    found = _REPEATED.fullmatch(item)
    if found is None:
        raise ValueError(f"no value: {item}")
    start = _number(found["start"])
    assert start is not None
    if found["times"] is None and found["step"] is None:
        return [start]
    step = float(found["step"]) if found["step"] else 0.0
    points: list[Point] = [start]
    for _ in range(int(found["times"] or 0)):
        start += step
        points.append(start)
    return points


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _ms(text: str) -> int:
    text = text + "s" if text.isdigit() else text
    negative, text = text.startswith("-"), text.lstrip("-")
    seconds = parse_duration(text)
    return round(-seconds * 1000 if negative else seconds * 1000)


class MismatchError(AssertionError):
    """An answer that is not the expected one."""


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
) -> Iterator[Outcome]:
    """The outcome of each eval of the script, in its order.

    tolerances: by expression, the relative error allowed where it is not 1e-9.
    """
    reader = ScriptReader()
    for command in parse_script(text):
        match command:
            case Load():
                reader.load(command)
            case Clear():
                reader = ScriptReader()
            case Eval():
                command.tolerance = (tolerances or {}).get(command.expr, command.tolerance)
                yield _run_eval(command, reader, make_engine(reader))


def _run_eval(case: Eval, reader: ScriptReader, engine: QueryEngine) -> Outcome:
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
