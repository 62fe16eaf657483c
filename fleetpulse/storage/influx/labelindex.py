"""Label names, values and label sets from InfluxDB's index."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from fleetpulse.errors import StorageError
from fleetpulse.lineprotocol import told
from fleetpulse.matchers import Matcher, all_match
from fleetpulse.model import METRIC_NAME, Labels
from fleetpulse.storage.base import MatcherSets
from fleetpulse.storage.influx import influxql
from fleetpulse.storage.influx.ask import InfluxAsker, MissingPlaceError
from fleetpulse.storage.influx.influxql import Place
from fleetpulse.storage.influx.series import labels_of

log = logging.getLogger(__name__)

_ALL: tuple[Matcher, ...] = ()
_NAMES_AT_ONCE = 100


class MissingWindows:
    """Tells once that there are none: without them, samples are asked for however old, since the
    server may keep those longer.
    """

    def __init__(self) -> None:
        self._told = False

    def tell(self, err: MissingPlaceError) -> None:
        if not self._told:
            self._told = True
            log.warning("%s; until then, only samples answer", err)


class LabelIndex:
    """Safe from any thread.

    windows: where series from some time on may be besides raw. The index knows series by the
    shard, some hours or days, and where it is in memory (InfluxDB 1's inmem) by the database.
    """

    def __init__(
        self,
        asker: InfluxAsker,
        raw: Place,
        windows: Callable[[int], Place | None],
        missing: MissingWindows,
    ) -> None:
        self._asker, self._raw, self._windows, self._missing = asker, raw, windows, missing

    def labels(self, sets: MatcherSets, start_ms: int, end_ms: int) -> list[str]:
        found: set[str] = set()
        for matchers in sets or [_ALL]:
            if influxql.indexed(matchers):
                found |= self._labels(matchers, start_ms, end_ms)
            else:
                series = self.series([matchers], start_ms, end_ms)
                found |= {name for labels in series for name, _ in labels}
        return sorted(found)

    def label_values(self, name: str, sets: MatcherSets, start_ms: int, end_ms: int) -> list[str]:
        found: set[str] = set()
        for matchers in sets or [_ALL]:
            if not influxql.indexed(matchers, name):
                # With the name among the matchers: series without it need not be told of.
                wanted = [*matchers, Matcher(name, "!=", "")]
                found |= {one.get(name) for one in self.series([wanted], start_ms, end_ms)}
            elif name == METRIC_NAME:
                found |= self._metrics(matchers, start_ms, end_ms)
            else:
                found |= self._values(name, matchers, start_ms, end_ms)
        return sorted(found)

    def series(self, sets: MatcherSets, start_ms: int, end_ms: int) -> list[Labels]:
        found: set[Labels] = set()
        for matchers in sets or [_ALL]:
            asked = [
                (place, influxql.show_series(place, matchers, start_ms, end_ms))
                for place in self._places(start_ms)
            ]
            found |= {one for one in self._series(asked) if all_match(matchers, one)}
        return sorted(found)

    def _labels(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> set[str]:
        statement = influxql.show_labels(matchers, start_ms, end_ms)
        rows = self._by_metric(statement, matchers, start_ms)
        if found := {told(str(row[-1])) for row in rows}:
            return found | {METRIC_NAME}
        bare = self._metrics_without_labels(set(), matchers, start_ms, end_ms)
        return {METRIC_NAME} if bare else set()

    def _values(
        self, name: str, matchers: Sequence[Matcher], start_ms: int, end_ms: int
    ) -> set[str]:
        statement = influxql.show_values(name, matchers, start_ms, end_ms)
        found = {told(str(row[-1])) for row in self._by_metric(statement, matchers, start_ms)}
        asked = [one.predicate() for one in matchers if one.name == name]
        return {value for value in found if value and all(passes(value) for passes in asked)}

    def _metrics(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> set[str]:
        passes = _of_metric(matchers)
        statement = influxql.show_labels(matchers, start_ms, end_ms)
        names = {told(str(one["name"])) for one in self._rows(statement, start_ms)}
        found = {name for name in names if passes(name)}
        return found | self._metrics_without_labels(found, matchers, start_ms, end_ms)

    def _metrics_without_labels(
        self, known: set[str], matchers: Sequence[Matcher], start_ms: int, end_ms: int
    ) -> set[str]:
        """The index of labels does not have them. known: those that need not be looked for."""
        if any(one.name != METRIC_NAME for one in matchers):
            return set()
        passes = _of_metric(matchers)
        every = {
            told(str(row[0]))
            for one in self._rows(influxql.show_metrics(), start_ms)
            for row in one["values"]
        }
        names = sorted(name for name in every - known if passes(name))
        found: set[str] = set()
        for begin in range(0, len(names), _NAMES_AT_ONCE):
            some = names[begin : begin + _NAMES_AT_ONCE]
            asked = [
                (place, influxql.show_series_of(place, some, start_ms, end_ms))
                for place in self._places(start_ms)
            ]
            found |= {labels.name for labels in self._series(asked)}
        return found

    def _by_metric(
        self, statement: str, matchers: Sequence[Matcher], start_ms: int
    ) -> Iterator[list[Any]]:
        """Rows of the metrics that the matchers want."""
        passes = _of_metric(matchers)
        for one in self._rows(statement, start_ms):
            if passes(told(str(one["name"]))):
                yield from one["values"]

    def _rows(self, statement: str, start_ms: int) -> Iterator[Mapping[str, Any]]:
        """Of each database once: the index is of all its retention policies."""
        places = {place.database: place for place in reversed(self._places(start_ms))}
        for one in self._told([(place, statement) for place in places.values()]):
            if "name" not in one or not all(one["values"]):
                raise self._strange(f"a row of {list(one)} has no name or no value")
            yield one

    def _series(self, asked: Sequence[tuple[Place, str]]) -> Iterator[Labels]:
        for series in self._told(asked):
            for key, *_ in series["values"]:
                try:
                    yield labels_of(*influxql.read_series_key(key))
                except (ValueError, TypeError) as err:
                    raise self._strange(f"SHOW SERIES tells of {err}") from None

    def _told(self, asked: Sequence[tuple[Place, str]]) -> Iterator[Mapping[str, Any]]:
        for place, statement in asked:
            try:
                yield from self._asker.rows(statement, place.database)
            except MissingPlaceError as err:
                if place is self._raw:
                    raise
                self._missing.tell(err)

    def _places(self, start_ms: int) -> Sequence[Place]:
        windows = self._windows(start_ms)
        return [self._raw] if windows is None else [self._raw, windows]

    def _strange(self, what: str) -> StorageError:
        return StorageError(f"{self._asker.name}: {what}; check storage.url", retriable=False)


def _of_metric(matchers: Sequence[Matcher]) -> Callable[[str], bool]:
    asked = [one.predicate() for one in matchers if one.name == METRIC_NAME]
    return lambda name: all(passes(name) for passes in asked)
