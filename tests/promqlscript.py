"""Reads scripts in Prometheus' PromQL test language.

`load STEP` adds series, `clear` drops them, `eval instant at T EXPR` and `eval range from A to B
step S EXPR` ask, and the lines below say what is expected. Each command ends at an empty line.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from fleetpulse.model import STALE_NAN, Labels
from fleetpulse.promql.tokens import Token, tokenize
from fleetpulse.values import parse_duration

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
