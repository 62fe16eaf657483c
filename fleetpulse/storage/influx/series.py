"""From rows as InfluxDB has them to series: labels, values, markers, windows. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fleetpulse.lineprotocol import SPECIAL, told
from fleetpulse.model import METRIC_NAME, STALE_NAN, Labels
from fleetpulse.storage.embedded.tiers import TierParts
from fleetpulse.storage.embedded.windows import DAY_MS, WINDOW_MS, Windows
from fleetpulse.storage.influx.answer import Floats, Part, Times

# What stands for the texts of the field `special` among numbers.
_CODES: Mapping[str, int] = {text: code for code, text in enumerate(SPECIAL, 1)}
_SPECIALS = tuple(SPECIAL.values())


def code_of(text: str) -> float:
    """Of a text that is none of ours: nothing."""
    return float(_CODES.get(text, np.nan))


def labels_of(name: str, tags: Iterable[tuple[str, str]]) -> Labels:
    """A tag without text is one that other series have."""
    pairs = [(told(tag), told(text)) for tag, text in tags if text]
    return Labels.from_pairs([(METRIC_NAME, told(name)), *pairs])


@dataclass(frozen=True, slots=True)
class Samples:
    """Times rise strictly."""

    times_ms: Times
    values: Floats


def samples_of(part: Part) -> Samples | None:
    """Of a time with several fields the staleness marker counts, then what is no number."""
    columns = part.columns
    if "value" not in columns:
        return None
    values = columns["value"]
    stale, special = columns.get("stale"), columns.get("special")
    there = ~np.isnan(values)
    if special is not None and not np.isnan(special).all():
        values = values.copy()
        for code, meant in enumerate(_SPECIALS, 1):
            values[special == code] = meant
        there |= ~np.isnan(special)
    if stale is not None and (marked := stale == 1.0).any():
        values = values.copy()
        values[marked] = STALE_NAN
        there |= marked
    if there.all():
        return Samples(part.times_ms, values)
    return Samples(part.times_ms[there], values[there]) if there.any() else None


def joined(parts: Sequence[Samples]) -> Samples:
    """Parts of one series, in the order they came."""
    if len(parts) == 1:
        return parts[0]
    times = np.concatenate([part.times_ms for part in parts])
    values = np.concatenate([part.values for part in parts])
    return Samples(times, values)


# A window is (start, end], so its first millisecond is the one after its start: this is its time.
SHIFT_MS = 1


def add_windows(parts: TierParts, place: int, part: Part) -> None:
    """Adds windows of five minutes to those of a series."""
    columns = part.columns
    if any(name not in columns for name in ("min", "max", "sum", "count", "last")):
        return
    starts = part.times_ms - SHIFT_MS
    live = (starts % WINDOW_MS == 0) & (columns["count"] > 0)
    starts = starts[live]
    days = starts // DAY_MS
    found = _windows(starts, {name: column[live] for name, column in columns.items()})
    for day in np.unique(days).tolist():
        parts.parts.setdefault((0, place), []).append((day, found.take(days == day)))


def _windows(starts: Times, columns: Mapping[str, Floats]) -> Windows:
    """How a counter rose is told by max and last: where they differ, it fell from max.

    (Of two falls within five minutes the first is not seen, nor is what came before a fall where
    the window is the first.)
    """
    last, most, least = columns["last"], columns["max"], columns["min"]
    started = np.append(True, np.diff(starts) != WINDOW_MS)
    before = np.where(started, -np.inf, np.append(-np.inf, last[:-1]))
    inside = most > last
    # Where it did not fall within, a least value below the one before tells of a fall in between.
    between = np.where(inside, most, least) < before
    again = np.where(inside, most, 0.0) + np.where(between, before, 0.0)
    first = np.where(inside, most, least)
    no = np.zeros(len(last), bool)
    at = starts % DAY_MS // WINDOW_MS
    return Windows(
        at, no, columns["count"], least, most, columns["sum"], last, again, started, first
    )
