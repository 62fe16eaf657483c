"""From the body of a scrape to the pages that are stored, with the report series and staleness.

Semantics of Prometheus' scrape loop: a series that is missing from a page, or whose target fails
or goes away, gets a staleness marker, unless the page gave it timestamps of its own.
"""

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

from fleetpulse.errors import ExpositionError
from fleetpulse.exposition import BrokenPageError, PageReader, Reading
from fleetpulse.model import STALE_NAN, Labels, Layout, Metadata, Page
from scraper.guards import Guards, Quota
from scraper.lines import Readers, report_lines
from scraper.owntimes import OwnTimes, Rejected, Settled, Stamped
from scraper.steady import Steady
from scraper.targets import Target

_NOTHING: "array[float]" = array("d")


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
    rejected: Rejected = field(default_factory=Rejected)
    refused: int = 0  # series that a guard did not let in


class TargetPages:
    """One target's memory between scrapes. Not for use from several threads at once."""

    __slots__ = (
        "_absent", "_alive", "_last", "_last_at", "_met", "_own_times", "_quota", "_reader",
        "_reader_is_new", "_readers", "_report", "_reported", "_steady", "_thinned", "target",
    )  # fmt: skip

    def __init__(self, target: Target, readers: Readers, guards: Guards) -> None:
        self.target, self._readers = target, readers
        self._quota, self._steady = Quota(guards), Steady()
        self._reader: PageReader = readers.of(target)
        self._report = _report_layout(report_lines(target.job))
        self._reader_is_new = True  # it would make other lines of the last page
        self._last: Reading | None = None  # the last page that could be read
        self._last_at = 0
        self._own_times = OwnTimes()
        # Lines of the last page of which no sample has been taken yet, and a layout without such.
        self._absent: frozenset[Labels] = frozenset()
        self._thinned: tuple[tuple[Layout, tuple[int, ...]], Layout] | None = None
        # Lines of pages that failed since then: known, though nothing of them is stored.
        self._met: frozenset[Labels] = frozenset()
        self._alive = False  # whether its series have had no staleness marker since
        self._reported = False

    @property
    def metadata(self) -> Mapping[str, Metadata]:
        """What the last page that could be read said of its metrics. May be asked for anywhere."""
        last = self._last
        return {} if last is None else last.shape.metadata

    def configure(self, target: Target) -> None:
        """Takes new settings for the same target; its series go on."""
        self.target = target
        reader = self._readers.of(target)
        if reader is not self._reader:
            self._reader_is_new = True
            self._quota.start_over()
        self._reader, self._report = reader, _report_layout(report_lines(target.job))

    def take(self, outcome: Outcome) -> Scrape:
        """The pages of one scrape."""
        if outcome.reason:
            return self._failed(outcome, outcome.reason, outcome.error)
        if not outcome.body:  # nothing at all is a page too, and its target is up
            return Scrape(self._end(outcome.at_ms, self._report_of(outcome, 1.0, 0, 0, 0)), 0)
        try:
            last = None if self._reader_is_new else self._last
            reading = self._reader.read(outcome.body, last, openmetrics=outcome.openmetrics)
        except ExpositionError as err:
            return self._broken(outcome, err)
        limit = self.target.job.limits.samples
        if limit and _counted(reading) > limit:
            return self._over_limit(outcome, reading, limit)
        return self._succeeded(outcome, reading)

    def gone(self, at_ms: int) -> tuple[Page, ...]:
        """The last pages of a target that is scraped no more."""
        if not self._reported:
            return ()
        report = array("d", [STALE_NAN]) * len(self._report)
        pages = self._end(at_ms, report)
        self._reported = False
        self._quota.give_back()
        return pages

    def _succeeded(self, outcome: Outcome, reading: Reading) -> Scrape:
        last, alive = self._last, self._alive
        settled = self._guarded(self._settle(outcome.at_ms, reading), reading)
        absent = _absent(reading, settled)
        same = (
            last is not None
            and last.shape.layout is reading.shape.layout
            and absent == self._absent
        )
        added = 0 if same else self._count_new(_kept_lines(reading), absent)
        vanished = (
            ()
            if same or last is None or not alive
            else _vanished(last, reading, self._untracked(last), self._absent, absent)
        )
        pages = self._pages(outcome, reading, settled, added)
        # What is remembered of a page is its shape; its values would only take memory.
        self._last, self._reader_is_new = replace(reading, values=_NOTHING, again=()), False
        self._last_at, self._absent = outcome.at_ms, absent
        self._alive = self._reported = True
        self._met = frozenset()
        if vanished:
            pages.append(_stale_page(self.target.labels, vanished, outcome.at_ms))
        known = last is not None and (
            last.shape is reading.shape or last.shape.metadata == reading.shape.metadata
        )
        return Scrape(
            tuple(self._steady.divide(pages)),
            _counted(reading) - settled.rejected.total,
            metadata=None if known else reading.shape.metadata,
            rejected=settled.rejected,
            refused=len(self._quota.refused),
        )

    def _pages(
        self, outcome: Outcome, reading: Reading, settled: Settled, added: int
    ) -> list[Page]:
        labels, at_ms = self.target.labels, outcome.at_ms
        report = self._report_of(outcome, 1.0, reading.scraped, _counted(reading), added)
        times = settled.times_ms
        if times is not None:
            times = times + array("q", [at_ms]) * len(report)
        layout = self._without(settled.absent, reading.shape.layout)
        page = Page(labels, layout, at_ms, settled.values + report, times)
        return [page, *_pages_of(settled.more, labels, at_ms)]

    def _without(self, absent: Sequence[int], layout: Layout) -> Layout:
        """The layout less some lines. As a rule it is the same ones time and again."""
        if not absent:
            return layout
        key = (layout, tuple(absent))
        if self._thinned is None or self._thinned[0] != key:
            places = set(absent)
            lines = (line for place, line in enumerate(layout.lines) if place not in places)
            self._thinned = (key, Layout(tuple(lines)))
        return self._thinned[1]

    def _guarded(self, settled: Settled, reading: Reading) -> Settled:
        """Less what the guards refuse."""
        count = len(reading.shape.picked)
        self._quota.take(self.target.job.name, reading.shape.layout, count)
        if not self._quota.refused:
            return settled
        lines = _kept_lines(reading)
        return settled.without(self._quota.places(lines), lines)

    def _settle(self, at_ms: int, reading: Reading) -> Settled:
        """Which samples are taken. Where none has a time of its own, all but repeated ones."""
        repeated = len(reading.shape.repeated)
        honoured = self.target.job.config.honor_timestamps
        if not honoured or (reading.own_times is None and not reading.again):
            return Settled(None, reading.values, rejected=Rejected(duplicates=repeated))
        lines = _kept_lines(reading)
        own_times = reading.own_times or [None] * len(lines)
        before: dict[Labels, int] = {}
        if self._last is not None:
            before = dict.fromkeys(_lines(self._last, untracked=True), self._last_at)
        again = [(line, value, at_ms if own is None else own) for line, value, own in reading.again]
        settled = self._own_times.settle(at_ms, lines, reading.values, own_times, again, before.get)
        settled.rejected.duplicates += repeated - len(reading.again)
        return settled

    def _report_of(
        self, outcome: Outcome, up: float, scraped: int, kept: int, added: int
    ) -> "array[float]":
        report = array("d", [up, outcome.duration, scraped, kept, added])
        if self.target.job.extra_metrics:
            size = -1 if outcome.reason == "body_limit" else len(outcome.body)
            report.extend((self.target.timeout, self.target.job.limits.samples, size))
        return report

    def _failed(self, outcome: Outcome, reason: str, error: str, *counts: int) -> Scrape:
        """counts: samples scraped, kept, and series added, of a page that was read."""
        report = self._report_of(outcome, 0.0, *(counts or (0, 0, 0)))
        return Scrape(self._end(outcome.at_ms, report), 0, reason, error)

    def _broken(self, outcome: Outcome, err: ExpositionError) -> Scrape:
        """As in Prometheus, what came before the fault is counted, though it is not stored."""
        error = f"the page cannot be read: {err}"
        if not isinstance(err, BrokenPageError):
            return self._failed(outcome, "page", error)
        added = self._meet(err.lines)
        return self._failed(outcome, "page", error, err.scraped, len(err.lines), added)

    def _over_limit(self, outcome: Outcome, reading: Reading, limit: int) -> Scrape:
        counted = _counted(reading)
        error = f"sample_limit exceeded: {counted} samples, {limit} are allowed"
        added = self._meet(_kept_lines(reading)[:limit])
        return self._failed(outcome, "limit", error, reading.scraped, counted, added)

    def _count_new(self, lines: Sequence[Labels], absent: frozenset[Labels] = frozenset()) -> int:
        before = set(_kept_lines(self._last) if self._last else ()) - self._absent
        return len(set(lines) - absent - before - self._met)

    def _meet(self, lines: Sequence[Labels]) -> int:
        added = self._count_new(lines)
        if added:
            self._met = self._met.union(lines)
        return added

    def _end(self, at_ms: int, report: "array[float]") -> tuple[Page, ...]:
        """The report lines' values, and markers for the series of the last page that are alive."""
        last, alive, labels = self._last, self._alive, self.target.labels
        self._alive, self._reported = False, True
        if last is None or not alive:
            return (Page(labels, self._report, at_ms, report),)
        if not self._untracked(last) and not self._reader_is_new:
            # The layout of a good page does for this one too: no new one is made, told and stored.
            layout = self._without(self._places(last), last.shape.layout)
            stale = array("d", [STALE_NAN]) * (len(layout) - len(report))
            return tuple(self._steady.divide([Page(labels, layout, at_ms, stale + report)]))
        lines = [x for x in _lines(last, self._untracked(last)) if x not in self._absent]
        page = Page(labels, self._report, at_ms, report)
        return (page, _stale_page(labels, lines, at_ms)) if lines else (page,)

    def _places(self, last: Reading) -> list[int]:
        """Where the lines are that nothing is stored of."""
        if not self._absent:
            return []
        return [place for place, line in enumerate(_kept_lines(last)) if line in self._absent]

    def _untracked(self, reading: Reading) -> bool:
        """Whether series with timestamps of their own are left to look-back."""
        config = self.target.job.config
        honoured = reading.own_times is not None and config.honor_timestamps
        return honoured and not config.track_timestamps_staleness


@cache
def _report_layout(lines: tuple[Labels, ...]) -> Layout:
    """One for all targets."""
    return Layout(lines)


def _stale_page(target: Labels, lines: Sequence[Labels], at_ms: int) -> Page:
    return Page(target, Layout(tuple(lines)), at_ms, array("d", [STALE_NAN]) * len(lines))


def _pages_of(samples: Sequence[Stamped], target: Labels, at_ms: int) -> list[Page]:
    """Pages of further samples of a page's lines; none has a line twice."""
    pages = []
    while samples:
        now: dict[Labels, Stamped] = {}
        later = [sample for sample in samples if now.setdefault(sample[0], sample) is not sample]
        values = array("d", [value for _, value, _ in now.values()])
        times = array("q", [time_ms for _, _, time_ms in now.values()])
        pages.append(Page(target, Layout(tuple(now)), at_ms, values, times))
        samples = later
    return pages


def _absent(reading: Reading, settled: Settled) -> frozenset[Labels]:
    lines = reading.shape.layout.lines
    return frozenset(lines[place] for place in settled.absent)


def _counted(reading: Reading) -> int:
    """The samples that are left after relabelling, each as often as it is there."""
    return len(reading.shape.picked) + len(reading.shape.repeated)


def _kept_lines(reading: Reading) -> tuple[Labels, ...]:
    return reading.shape.layout.lines[: len(reading.shape.picked)]


def _lines(reading: Reading, untracked: bool) -> tuple[Labels, ...]:
    """The lines of a page that want a marker when they end."""
    lines = _kept_lines(reading)
    if not untracked or reading.own_times is None:
        return lines
    pairs = zip(lines, reading.own_times, strict=True)
    return tuple(line for line, own_time in pairs if own_time is None)


def _vanished(
    last: Reading,
    reading: Reading,
    untracked: bool,
    absent_then: frozenset[Labels],
    absent_now: frozenset[Labels],
) -> tuple[Labels, ...]:
    here = set(_kept_lines(reading)) - absent_now
    return tuple(
        line for line in _lines(last, untracked) if line not in here and line not in absent_then
    )
