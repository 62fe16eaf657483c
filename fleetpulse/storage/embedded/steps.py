"""Statements with many rows each, carried out in transactions that are short enough."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Step:
    """One statement for each of the rows. weight: of a row, where that of a small one is 1."""

    sql: str
    rows: Sequence[tuple[Any, ...]]
    weight: int = 1


def parts(steps: Sequence[Step], most: Callable[[], int]) -> Iterator[list[Step]]:
    """The same in the same order, cut into what one transaction does.

    most: asked before each part for the weight that it may have; a single row may have more.
    """
    part: list[Step] = []
    left = most()
    for step in steps:
        begin = 0
        while begin < len(step.rows):
            if part and left < step.weight:
                yield part
                part, left = [], most()
            end = begin + max(1, left // step.weight)
            rows = step.rows[begin:end]
            part.append(replace(step, rows=rows))
            left -= len(rows) * step.weight
            begin = end
    if part:
        yield part
