"""Shows where in an expression an error is: its lines, and marks under the token."""

import re

from rich.cells import cell_len

from fleetpulse.promql.tokens import tokenize
from fleetpulse_cli.printing import printable

# `1:6: parse error: …`, as it begins here and comes after the parameter's name in Prometheus.
_PLACE = re.compile(r"(?:^|: )(\d{1,6}):(\d{1,6}): ")
_AROUND = 2  # lines shown before and after the one with the error


def pointed(error: str, expr: str, width: int = 10_000) -> str | None:
    """The lines of expr around the place that error names; None where it names none.

    width: columns of the terminal. A long line is cut around the place.
    """
    found = _PLACE.search(error)
    if found is None:
        return None
    lines = expr.split("\n")
    number, column = int(found[1]) - 1, int(found[2]) - 1
    if not 0 <= number < len(lines):
        return None
    column = _column(lines, number, min(max(column, 0), len(lines[number].encode())))
    gutter = len(str(min(len(lines), number + 1 + _AROUND))) if len(lines) > 1 else 0
    room = max(20, width - (gutter + 3 if gutter else 0) - 2)
    shown = []
    for at in range(max(0, number - _AROUND), min(len(lines), number + 1 + _AROUND)):
        label = f"{at + 1:{gutter}} | " if gutter else ""
        if at != number:
            shown.append(f"  {label}{_cut(_Line.of(lines[at], 0, 1), room).text}")
            continue
        line = _cut(_Line.of(lines[at], column, _length(lines, number, column)), room)
        blank = " " * gutter + " | " if gutter else ""
        shown += [f"  {label}{line.text}", f"  {blank}{' ' * line.before}{'^' * line.marked}"]
    return "\n".join(shown)


def _column(lines: list[str], number: int, told: int) -> int:
    """In characters. Prometheus counts bytes: where only those lead to a token, it was that."""
    before = sum(len(line) + 1 for line in lines[:number])
    begins = {token.at - before for token in tokenize("\n".join(lines))} | {len(lines[number])}
    in_bytes = len(lines[number].encode()[:told].decode(errors="ignore"))
    return in_bytes if told not in begins and in_bytes in begins else min(told, len(lines[number]))


def _length(lines: list[str], number: int, column: int) -> int:
    """How many characters of the line the token at the place has."""
    at = sum(len(line) + 1 for line in lines[:number]) + column
    for token in tokenize("\n".join(lines)):
        if token.at <= at < token.at + len(token.text):
            return min(token.at + len(token.text) - at, len(lines[number]) - column)
    return 1


class _Line:
    """A line as it is shown, with what is marked in it: both in columns of a terminal."""

    def __init__(self, text: str, before: int, marked: int) -> None:
        self.text, self.before, self.marked = text, before, max(1, marked)

    @classmethod
    def of(cls, line: str, column: int, length: int) -> "_Line":
        head, token = _shown(line[:column]), _shown(line[column : column + length])
        return cls(_shown(line), cell_len(head), cell_len(token))


def _shown(text: str) -> str:
    return printable(text.replace("\t", "    "))


def _cut(line: _Line, room: int) -> _Line:
    """At most room columns of it, with what is marked, and dots where it goes on."""
    if cell_len(line.text) <= room:
        return line
    skip = max(0, line.before - room // 2)
    text, skipped = line.text, 0
    while skip and skipped < skip + 1:
        skipped += cell_len(text[0])
        text = text[1:]
    lead = "…" if skip else ""
    kept = lead
    for char in text:
        if cell_len(kept + char) > room - 1:
            kept += "…"
            break
        kept += char
    before = line.before - skipped + len(lead)
    return _Line(kept, before, min(line.marked, cell_len(kept) - before))
