"""SeriesReader over InfluxQL, which versions 1, 2 and 3 have."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from fleetpulse.errors import StorageError
from fleetpulse.matchers import Matcher, all_match
from fleetpulse.model import Labels, Metadata, Series
from fleetpulse.storage.base import Folded, Hints, MatcherSets
from fleetpulse.storage.embedded import tiers
from fleetpulse.storage.embedded.limits import Budget, check_series
from fleetpulse.storage.embedded.runs import Run
from fleetpulse.storage.embedded.windows import WINDOW_MS
from fleetpulse.storage.influx import influxql
from fleetpulse.storage.influx.answer import Part
from fleetpulse.storage.influx.ask import InfluxAsker
from fleetpulse.storage.influx.config import Influx1Config, Influx2Config, InfluxRetention
from fleetpulse.storage.influx.influxql import Place
from fleetpulse.storage.influx.series import (
    Samples,
    add_windows,
    code_of,
    joined,
    labels_of,
    samples_of,
)

_ALL: tuple[Matcher, ...] = ()
_ROWS_A_WINDOW = 6  # numbers, each as large as a sample
_LATE_MS = 2 * WINDOW_MS  # for which windows may not be made yet


def open_reader(
    config: Influx1Config | Influx2Config, metadata: Callable[[], Mapping[str, Metadata]]
) -> "InfluxReader":
    """Asks nothing yet."""
    if isinstance(config, Influx1Config):
        raw = Place(config.database, config.retention_policy)
        windows = Place(config.database, config.tier_policy)
    else:
        # By the mapping that setup makes: a bucket as a database of its own.
        raw, windows = Place(config.bucket), Place(config.windows_bucket)
    return InfluxReader(InfluxAsker(config), raw, windows, config.retention, metadata)


class InfluxReader:
    """Gives series back. Safe from any thread.

    raw, windows: where samples and windows of five minutes are. Label names, values and label sets
    come from the server's index, which knows series by the shard: some hours or days.
    """

    concurrent = 8  # so many selections of one query at a time

    def __init__(
        self,
        asker: InfluxAsker,
        raw: Place,
        windows: Place,
        retention: InfluxRetention,
        metadata: Callable[[], Mapping[str, Metadata]],
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._asker, self._raw, self._windows = asker, raw, windows
        self._retention, self._metadata, self._now = retention, metadata, now

    def select(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, hints: Hints
    ) -> Sequence[Series]:
        if end_ms < start_ms:
            return []
        budget = Budget(hints.max_samples, hints.check)
        plan = self._plan(hints, start_ms, end_ms)
        from_ms = start_ms if plan is None else max(start_ms, plan.until_ms + 1)
        found = _Found(matchers, hints.max_series)
        if from_ms <= end_ms:
            statement = influxql.select(self._raw, matchers, from_ms, end_ms)
            for part in self._asker.parts(statement, self._raw.database, code_of):
                budget.take_samples(found.add(part))
        if plan is None:
            return found.series()
        until_ms = min(plan.until_ms, end_ms + WINDOW_MS)
        # From the window before the first: what a counter rose since then belongs to the first.
        statement = influxql.select_windows(
            self._windows, matchers, start_ms - 2 * WINDOW_MS, until_ms
        )
        for part in self._asker.parts(statement, self._windows.database, code_of):
            budget.take_samples(found.add_windows(part) * _ROWS_A_WINDOW)
        if not hints.range_ms:
            return found.with_newest((start_ms, min(plan.until_ms, end_ms)), budget)
        return found.folded(tiers.Folding(plan, start_ms, end_ms, found.windows))

    def labels(self, sets: MatcherSets, start_ms: int, end_ms: int) -> list[str]:
        found = self.series(sets, start_ms, end_ms)
        return sorted({name for labels in found for name, _ in labels})

    def label_values(self, name: str, sets: MatcherSets, start_ms: int, end_ms: int) -> list[str]:
        # With the name among the matchers: series without it need not be told of.
        wanted = Matcher(name, "!=", "")
        narrowed = [[*one, wanted] for one in sets or [_ALL]]
        found = self.series(narrowed, start_ms, end_ms)
        return sorted({labels.get(name) for labels in found} - {""})

    def series(self, sets: MatcherSets, start_ms: int, end_ms: int) -> list[Labels]:
        found: set[Labels] = set()
        for place in self._places(start_ms):
            for matchers in sets or [_ALL]:
                for labels in self._series(place, matchers, start_ms, end_ms):
                    if labels not in found and all_match(matchers, labels):
                        found.add(labels)
        return sorted(found)

    def _series(
        self, place: Place, matchers: Sequence[Matcher], start_ms: int, end_ms: int
    ) -> Iterator[Labels]:
        statement = influxql.show_series(place, matchers, start_ms, end_ms)
        for series in self._asker.rows(statement, place.database):
            for key, *_ in series["values"]:
                try:
                    yield labels_of(*influxql.read_series_key(key))
                except (ValueError, TypeError) as err:
                    told = f"{self._asker.name}: SHOW SERIES tells of {err}; check storage.url"
                    raise StorageError(told, retriable=False) from None

    def _places(self, start_ms: int) -> Sequence[Place]:
        """Where series of the time may be: with the windows, where samples have expired."""
        raw_ms = round((self._now() - self._retention.raw) * 1000)
        return [self._raw, self._windows][: 1 + bool(self._retention.tiers and start_ms < raw_ms)]

    def metadata(self) -> Mapping[str, Metadata]:
        return self._metadata()

    def close(self) -> None:
        self._asker.close()

    def _plan(self, hints: Hints, start_ms: int, end_ms: int) -> "tiers.Plan | None":
        """Windows where no samples are left, or where they are asked for."""
        if not self._retention.tiers or hints.tier == "raw":
            return None
        now_ms = round(self._now() * 1000)
        raw_ms = now_ms - round(self._retention.raw * 1000)
        tier_ms = now_ms - round(self._retention.tiers * 1000)
        made_ms = now_ms - _LATE_MS if hints.tier == "5m" else raw_ms
        if start_ms > made_ms:
            return None
        return tiers.plan(hints, start_ms, end_ms, tiers.Kept(tier_ms, made_ms, raw_ms))


class _Found:
    """What an answer brings, by series. Those that the matchers do not want are left out."""

    def __init__(self, matchers: Sequence[Matcher], max_series: int) -> None:
        self._matchers, self._max_series = matchers, max_series
        self._places: dict[Labels, int | None] = {}
        self._wanted = 0
        self._samples: dict[int, list[Samples]] = {}
        self.windows = tiers.TierParts()

    def add(self, part: Part) -> int:
        """How many samples that were."""
        samples = samples_of(part)
        if samples is None or (place := self._place(part)) is None:
            return 0
        self._samples.setdefault(place, []).append(samples)
        return len(samples.times_ms)

    def add_windows(self, part: Part) -> int:
        """How many windows that were."""
        if (place := self._place(part)) is None:
            return 0
        add_windows(self.windows, place, part)
        return len(part.times_ms)

    def series(self) -> list[Series]:
        ordered = sorted((labels, place) for labels, place in self._known())
        found = []
        for labels, place in ordered:
            if parts := self._samples.get(place):
                whole = joined(parts)
                found.append(Series(labels, whole.times_ms, whole.values))
        return found

    def with_newest(self, bounds: tuple[int, int], budget: Budget) -> list[Series]:
        """Each window's last value, at its end, as if it were a sample."""
        runs: dict[tuple[int, int], list[Run]] = {}
        tiers.add_newest(self.windows, bounds, budget, runs)
        for (_, place), (run,) in runs.items():
            earlier = Samples(run.times, run.values)
            self._samples.setdefault(place, []).insert(0, earlier)
        return self.series()

    def folded(self, folding: "tiers.Folding") -> list[Folded]:
        found = []
        for labels, place in sorted(self._known()):
            parts = self._samples.get(place, [])
            runs = [Run(one.times_ms, one.values) for one in parts]
            folded = folding.series(labels, [(0, place)], runs)
            if folded is not None:
                found.append(folded)
        return found

    def _known(self) -> list[tuple[Labels, int]]:
        return [(labels, place) for labels, place in self._places.items() if place is not None]

    def _place(self, part: Part) -> int | None:
        labels = labels_of(part.name, part.tags.items())
        if labels not in self._places:
            wanted = all_match(self._matchers, labels)
            self._places[labels] = self._wanted if wanted else None
            self._wanted += wanted
            check_series(self._wanted, self._max_series)
        return self._places[labels]
