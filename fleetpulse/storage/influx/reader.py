"""SeriesReader over InfluxQL, which versions 1, 2 and 3 have."""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from fleetpulse.matchers import Matcher
from fleetpulse.model import Labels, Metadata, Series
from fleetpulse.storage.base import Hints, MatcherSets
from fleetpulse.storage.embedded import tiers
from fleetpulse.storage.embedded.windows import WINDOW_MS
from fleetpulse.storage.influx import influxql
from fleetpulse.storage.influx.ask import InfluxAsker, MissingPlaceError, Patience
from fleetpulse.storage.influx.config import Influx1Config, Influx2Config, InfluxRetention
from fleetpulse.storage.influx.found import Found
from fleetpulse.storage.influx.influxql import Place
from fleetpulse.storage.influx.labelindex import LabelIndex, MissingWindows
from fleetpulse.storage.influx.series import code_of
from fleetpulse.storage.influx.together import Check, Together, slices

_FEW_MS = 600_000  # in which a series has few samples
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

    raw, windows: where samples and windows of five minutes are.
    """

    concurrent = 8  # so many requests at a time

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
        self._missing = MissingWindows()
        self._index = LabelIndex(asker, raw, self._windows_place, self._missing)
        self._together = Together(self.concurrent)

    def select(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, hints: Hints
    ) -> Sequence[Series]:
        if end_ms < start_ms:
            return []
        start_ms, end_ms = influxql.within(start_ms), influxql.within(end_ms)
        plan = self._plan(hints, start_ms, end_ms)
        if plan is not None:
            try:
                return self._with_windows(plan, matchers, (start_ms, end_ms), hints)
            except MissingPlaceError as err:
                if hints.tier == "5m":
                    raise
                self._missing.tell(err)
        found = Found(matchers, hints)
        self._read_samples(matchers, start_ms, end_ms, hints, found)
        return found.series()

    def _with_windows(
        self, plan: tiers.Plan, matchers: Sequence[Matcher], bounds: tuple[int, int], hints: Hints
    ) -> Sequence[Series]:
        start_ms, end_ms = bounds
        found = Found(matchers, hints)
        from_ms = max(start_ms, plan.until_ms + 1)
        if from_ms <= end_ms:
            self._read_samples(matchers, from_ms, end_ms, hints, found)
        # From the window before the first: what a counter rose since then belongs to the first.
        asked = start_ms - 2 * WINDOW_MS, min(plan.until_ms, end_ms + WINDOW_MS)
        statement = influxql.select_windows(self._windows, matchers, *asked)
        patience = Patience(hints.seconds, hints.check)
        for part in self._asker.parts(statement, self._windows.database, code_of, patience):
            found.add_windows(part)
        if not hints.range_ms:
            return found.with_newest((start_ms, min(plan.until_ms, end_ms)))
        return found.folded(plan, start_ms, end_ms)

    def _read_samples(
        self,
        matchers: Sequence[Matcher],
        start_ms: int,
        end_ms: int,
        hints: Hints,
        found: Found,
    ) -> None:
        newest = not hints.range_ms and hints.step_ms > end_ms - start_ms
        if newest:
            statements = [influxql.select_newest(self._raw, matchers, start_ms, end_ms)]
        else:
            parts = slices(start_ms, end_ms)
            statements = [influxql.select(self._raw, matchers, *bounds) for bounds in parts]

        def read(order: int, statement: str, check: Check) -> None:
            def still() -> None:
                check()
                if hints.check is not None:
                    hints.check()

            patience = Patience(hints.seconds, still)
            database, few = self._raw.database, end_ms - start_ms <= _FEW_MS or newest
            for part in self._asker.parts(statement, database, code_of, patience, few=few):
                found.add(part, order)

        works = [partial(read, order, statement) for order, statement in enumerate(statements)]
        self._together.run(works)

    def labels(self, sets: MatcherSets, start_ms: int, end_ms: int) -> list[str]:
        return self._index.labels(sets, start_ms, end_ms)

    def label_values(self, name: str, sets: MatcherSets, start_ms: int, end_ms: int) -> list[str]:
        return self._index.label_values(name, sets, start_ms, end_ms)

    def series(self, sets: MatcherSets, start_ms: int, end_ms: int) -> list[Labels]:
        return self._index.series(sets, start_ms, end_ms)

    def metadata(self) -> Mapping[str, Metadata]:
        return self._metadata()

    def close(self) -> None:
        self._together.close()
        self._asker.close()

    def _windows_place(self, start_ms: int) -> Place | None:
        """Where samples of the time may have expired, the windows have its series too."""
        raw_ms = round((self._now() - self._retention.raw) * 1000)
        return self._windows if self._retention.tiers and start_ms < raw_ms else None

    def _plan(self, hints: Hints, start_ms: int, end_ms: int) -> "tiers.Plan | None":
        """Windows where no samples are left, or where they are asked for."""
        if not self._retention.tiers or hints.tier == "raw":
            return None
        now_ms = round(self._now() * 1000)
        raw_ms = now_ms - round(self._retention.raw * 1000)
        tier_ms = now_ms - round(self._retention.tiers * 1000)
        made_ms = now_ms - _LATE_MS if hints.tier == "5m" else raw_ms
        if start_ms > made_ms or tier_ms >= made_ms:  # samples are all there is, or kept longer
            return None
        return tiers.plan(hints, start_ms, end_ms, tiers.Kept(tier_ms, made_ms, raw_ms))
