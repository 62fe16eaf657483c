"""Makes pages of a request's samples.

A target's samples of one time that fill a sheet are a plain page, as a scrape would be. What is
left over, as where a request ends in the middle of a target, is a page of some of the lines.
"""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from api.remotewrite.arrivals import Samples
from api.remotewrite.table import SeriesTable, Sheet, floats, integers
from fleetpulse.model import Page, Part

Ints = NDArray[np.int64]


def pages_of(samples: Samples, table: SeriesTable, now: float) -> list[Page]:
    """Pages that hold all of the samples. now: for the table, when its series were last seen."""
    sheets, columns = table.place(samples.series, now)
    # Stable: of a series' samples at the same time the last one counts.
    order = np.lexsort((samples.times_ms, sheets))
    sheets, columns = sheets[order], columns[order]
    times, values = samples.times_ms[order], samples.values[order]
    pages: list[Page] = []
    for begin, end in _runs(sheets):
        sheet = table.sheet(int(sheets[begin]))
        part = slice(begin, end)
        pages.extend(_of_sheet(sheet, columns[part], times[part], values[part]))
    return pages


def _runs(keys: Ints) -> Iterator[tuple[int, int]]:
    """Where equal keys, which lie together, begin and end."""
    if len(keys):
        bounds = [0, *(np.flatnonzero(np.diff(keys)) + 1).tolist(), len(keys)]
        yield from pairwise(bounds)


def _of_sheet(
    sheet: Sheet, columns: Ints, times: Ints, values: "NDArray[np.float64]"
) -> Iterator[Page]:
    width = len(sheet.ids)
    left = np.ones(len(columns), bool)
    if len(columns) >= width:
        for begin, end in _runs(times):
            if end - begin == width and _is_whole(columns[begin:end], width):
                row = np.empty(width)
                row[columns[begin:end]] = values[begin:end]
                left[begin:end] = False
                yield Page(sheet.target, sheet.layout, int(times[begin]), floats(row))
    if left.any():
        columns, times, values = columns[left], times[left], values[left]
        part = Part(sheet.layout, integers(columns, "i"))
        yield Page(
            sheet.target, part, int(times.max()), floats(values), times_ms=integers(times, "q")
        )


def _is_whole(columns: Ints, width: int) -> bool:
    """Whether each of width columns is there, and thus once."""
    return bool((np.bincount(columns, minlength=width) == 1).all())
