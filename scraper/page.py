"""From the body of a scrape to the pages that are stored, with the report series and staleness.

Semantics of Prometheus' scrape loop: a series that is missing from a page, or whose target fails
or goes away, gets a staleness marker, unless the page gave it timestamps of its own.
"""

from array import array
from collections.abc import Mapping
from dataclasses import dataclass, replace

from fleetpulse.errors import ExpositionError
from fleetpulse.exposition import PageReader, Reading
from fleetpulse.model import STALE_NAN, Labels, Layout, Metadata, Page
from scraper.lines import REPORT_LINES, Readers
from scraper.targets import Target

_REPORT = Layout(REPORT_LINES)
_NOTHING: "array[float]" = array("d")
# As in Prometheus: a sample that is further ahead of this clock is not taken. It would be the
# series' last for that long, and no retention would ever reach it.
_MAX_AHEAD_MS = 600_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of contacting a target: a body or a failure's reason and text.

    at_ms is when it began, duration in seconds. reason is one word, for a counter.
    """

    at_ms: int
    duration: float
    body: bytes = b""
    openmetrics: bool = False
    reason: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Scrape:
    """What is known after a scrape. pages are to be stored in their order; reason "" is success."""

    pages: tuple[Page, ...]
    samples: int
    reason: str = ""
    error: str = ""
    metadata: Mapping[str, Metadata] | None = None  # where it is another than last time
    stray: int = 0  # samples not taken: their own timestamps are far ahead or before 1970


class TargetPages:
    """One target's memory between scrapes. Not for use from several threads at once."""

    def __init__(self, target: Target, readers: Readers) -> None:
        self.target, self._readers = target, readers
        self._reader: PageReader = readers.of(target)
        self._reader_is_new = True  # it would make other lines of the last page
        self._last: Reading | None = None  # the last page that could be read
        self._alive = False  # whether its series have had no staleness marker since
        self._reported = False

    def configure(self, target: Target) -> None:
        """Takes new settings for the same target; its series go on."""
        self.target = target
        reader = self._readers.of(target)
        self._reader_is_new = self._reader_is_new or reader is not self._reader
        self._reader = reader

    def take(self, outcome: Outcome) -> Scrape:
        """The pages of one scrape."""
        if outcome.reason:
            return self._failed(outcome, outcome.reason, outcome.error)
        try:
            last = None if self._reader_is_new else self._last
            reading = self._reader.read(outcome.body, last, openmetrics=outcome.openmetrics)
        except ExpositionError as err:
            return self._failed(outcome, "page", f"the page cannot be read: {err}")
        limit = self.target.job.config.sample_limit
        if limit and len(reading.values) > limit:
            error = f"sample_limit exceeded: {len(reading.values)} samples, {limit} are allowed"
            return self._failed(outcome, "limit", error, reading)
        return self._succeeded(outcome, reading)

    def gone(self, at_ms: int) -> tuple[Page, ...]:
        """The last pages of a target that is scraped no more."""
        if not self._reported:
            return ()
        report = array("d", [STALE_NAN]) * len(REPORT_LINES)
        pages = self._end(at_ms, report)
        self._reported = False
        return pages

    def _succeeded(self, outcome: Outcome, reading: Reading) -> Scrape:
        last, alive = self._last, self._alive
        same = last is not None and last.shape.layout is reading.shape.layout
        added = 0 if same else _new_lines(last, reading)
        vanished = (
            ()
            if same or last is None or not alive
            else _vanished(last, reading, self._untracked(last))
        )
        # What is remembered of a page is its shape; its values would only take memory.
        self._last, self._reader_is_new = replace(reading, values=_NOTHING), False
        self._alive = self._reported = True
        times, stray = self._times(outcome.at_ms, reading)
        pages = [self._full_page(outcome, reading, added, times, stray)]
        if vanished:
            pages.append(self._stale_page(vanished, outcome.at_ms))
        known = last is not None and last.comments is reading.comments
        return Scrape(
            tuple(pages),
            len(reading.values) - len(stray),
            metadata=None if known else reading.comments.metadata,
            stray=len(stray),
        )

    def _times(self, at_ms: int, reading: Reading) -> tuple["array[int] | None", list[int]]:
        """The page's times where its samples have their own, and which are no times to be."""
        if reading.own_times is None or not self.target.job.config.honor_timestamps:
            return None, []
        filled = [at_ms if time is None else time for time in reading.own_times]
        stray = [at for at, time in enumerate(filled) if not 0 <= time <= at_ms + _MAX_AHEAD_MS]
        for at in stray:
            filled[at] = at_ms
        return array("q", filled + [at_ms] * len(REPORT_LINES)), stray

    def _full_page(
        self,
        outcome: Outcome,
        reading: Reading,
        added: int,
        times: "array[int] | None",
        stray: list[int],
    ) -> Page:
        values = reading.values
        kept = len(values)
        page_values = values + array("d", [1.0, outcome.duration, reading.scraped, kept, added])
        for at in stray:
            page_values[at] = STALE_NAN  # the layout has a place for it: there is no sample now
        return Page(self.target.labels, reading.shape.layout, outcome.at_ms, page_values, times)

    def _failed(
        self, outcome: Outcome, reason: str, error: str, reading: Reading | None = None
    ) -> Scrape:
        scraped, kept = (reading.scraped, len(reading.values)) if reading else (0, 0)
        report = array("d", [0.0, outcome.duration, scraped, kept, 0.0])
        return Scrape(self._end(outcome.at_ms, report), 0, reason, error)

    def _end(self, at_ms: int, report: "array[float]") -> tuple[Page, ...]:
        """The report lines' values, and markers for the series of the last page that are alive."""
        last, alive = self._last, self._alive
        self._alive, self._reported = False, True
        if last is None or not alive:
            return (Page(self.target.labels, _REPORT, at_ms, report),)
        if not self._untracked(last):
            # The layout of a good page does for this one too: no new one is made, told and stored.
            stale = array("d", [STALE_NAN]) * len(last.shape.picked)
            return (Page(self.target.labels, last.shape.layout, at_ms, stale + report),)
        lines = _lines(last, untracked=True)
        page = Page(self.target.labels, _REPORT, at_ms, report)
        return (page, self._stale_page(lines, at_ms)) if lines else (page,)

    def _stale_page(self, lines: tuple[Labels, ...], at_ms: int) -> Page:
        return Page(self.target.labels, Layout(lines), at_ms, array("d", [STALE_NAN]) * len(lines))

    def _untracked(self, reading: Reading) -> bool:
        """Whether series with timestamps of their own are left to look-back."""
        config = self.target.job.config
        honoured = reading.own_times is not None and config.honor_timestamps
        return honoured and not config.track_timestamps_staleness


def _kept_lines(reading: Reading) -> tuple[Labels, ...]:
    return reading.shape.layout.lines[: len(reading.shape.picked)]


def _lines(reading: Reading, untracked: bool) -> tuple[Labels, ...]:
    """The lines of a page that want a marker when they end."""
    lines = _kept_lines(reading)
    if not untracked or reading.own_times is None:
        return lines
    pairs = zip(lines, reading.own_times, strict=True)
    return tuple(line for line, own_time in pairs if own_time is None)


def _new_lines(last: Reading | None, reading: Reading) -> int:
    lines = _kept_lines(reading)
    return len(lines) if last is None else len(set(lines) - set(_kept_lines(last)))


def _vanished(last: Reading, reading: Reading, untracked: bool) -> tuple[Labels, ...]:
    here = set(_kept_lines(reading))
    return tuple(line for line in _lines(last, untracked) if line not in here)
