"""Series over time as blocks in a terminal: a line of them each, or a small chart."""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, TextIO

from fleetpulse.model import Labels
from fleetpulse_cli.printing import printable

_BARS = " ▁▂▃▄▅▆▇█"
_WIDTH = 60

Points = Sequence[tuple[float, float]]  # Unix seconds and value


def plot(result: Sequence[Mapping[str, Any]], out: TextIO, height: int = 1) -> None:
    """Each series with its name; height: lines of a chart. Times without a value stay blank."""
    rows = [[(at, float(value)) for at, value in row["values"]] for row in result]
    columns = _Columns.of([at for points in rows for at, _ in points])
    for row, points in zip(result, rows, strict=True):
        values = columns.largest(points)
        finite = [value for value in values if value is not None]
        if not finite:
            continue
        low, high = min(finite), max(finite)
        out.write(f"{printable(str(Labels.of(row['metric'])))}\n")
        levels = [_level(value, low, high, height) for value in values]
        if height == 1:
            line = "".join(_BARS[level] for level in levels)
            out.write(f"  {line}  {low:g} … {high:g}\n")
        else:
            _write_chart(out, levels, (low, high), columns, height)


class _Columns:
    """Which column a time belongs to; first and last are the bounds of all times, Unix seconds."""

    def __init__(self, first: float, last: float, steps: int) -> None:
        self.first, self.last = first, last
        self._steps, self.count = steps, min(steps, _WIDTH)

    @classmethod
    def of(cls, times: Sequence[float]) -> "_Columns":
        """As many as there are steps from the first to the last time, up to a line's width."""
        ordered = sorted(set(times)) or [0.0]
        first, last = ordered[0], ordered[-1]
        step = min((b - a for a, b in pairwise(ordered)), default=1.0)
        return cls(first, last, round((last - first) / step) + 1)

    def largest(self, points: Points) -> list[float | None]:
        """Of each column the largest finite value, so that no peak is lost."""
        found: list[float | None] = [None] * self.count
        span = (self.last - self.first) or 1.0
        for at, value in points:
            step = round((at - self.first) / span * (self._steps - 1))
            place = step * self.count // self._steps
            before = found[place]
            if math.isfinite(value) and (before is None or value > before):
                found[place] = value
        return found


def _level(value: float | None, low: float, high: float, height: int) -> int:
    """Eighths of a line, from 1; 0 where there is no value."""
    if value is None:
        return 0
    share = (value - low) / (high - low) if high > low else 0.0
    return 1 + min(8 * height - 1, int(share * 8 * height))


def _write_chart(
    out: TextIO,
    levels: Sequence[int],
    bounds: tuple[float, float],
    columns: _Columns,
    height: int,
) -> None:
    labels = {height - 1: f"{bounds[1]:g}", 0: f"{bounds[0]:g}"}
    margin = max(map(len, labels.values()))
    for line in reversed(range(height)):
        bars = "".join(_BARS[max(0, min(8, level - 8 * line))] for level in levels)
        out.write(f"  {labels.get(line, ''):>{margin}} ┤{bars}\n")
    begin, end = _clock(columns.first), _clock(columns.last)
    gap = max(1, columns.count - len(begin) - len(end))
    out.write(f"  {'':{margin}}  {begin}{' ' * gap}{end}\n")


def _clock(at: float) -> str:
    try:
        return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return f"{at:g}"
