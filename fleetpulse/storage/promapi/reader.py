"""SeriesReader over a store with /api/v1/export: raw samples, staleness markers among them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, get_args

import numpy as np

from fleetpulse.errors import StorageError
from fleetpulse.matchers import Matcher, all_match
from fleetpulse.model import METRIC_NAME, Labels, Metadata, MetricType, Series
from fleetpulse.storage.base import Hints, MatcherSets
from fleetpulse.storage.embedded.limits import Budget, check_series
from fleetpulse.storage.promapi.client import Params, PromApiClient
from fleetpulse.storage.promapi.export import ExportDecoder, Part, lines_of, rising
from fleetpulse.values import is_label_name

# An answer that lacks a storage node's part is an error: a rule would take it for an end. Nothing
# from a cache: what was written for an earlier time would not be in it.
STRICT: Params = (("nocache", "1"), ("deny_partial_response", "1"))

_TYPES = frozenset(get_args(MetricType))
_ANY = Matcher(METRIC_NAME, "!=", "")
_LAST_MS = 9_000_000_000_000  # the year 2255: what is beyond is an overflow to some


Beside = Callable[[], Mapping[str, Metadata]]


class PromApiReader:
    """Gives series back. Safe from any thread. name: the store, in errors.

    beside: gives what this host was told of types and help.

    Label names, values and label sets come from the store's index, which knows series by the day.
    """

    def __init__(self, client: PromApiClient, name: str, beside: Beside = dict) -> None:
        self._client, self._name, self._beside = client, name, beside

    def select(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, hints: Hints
    ) -> Sequence[Series]:
        if end_ms < 0 or end_ms < start_ms:
            return []  # nothing is held from before 1970
        times = bounds(start_ms, end_ms, least_ms=0)
        asked = [*match_params([matchers]), *times, ("reduce_mem_usage", "1")]
        found = _Gathered(matchers, hints)
        decoder = ExportDecoder(self._name)
        with self._client.opened("export", [*asked, *STRICT]) as pieces:
            for line in lines_of(pieces):
                if line:
                    found.add(decoder.decode(line))
        return found.series()

    def labels(self, sets: MatcherSets, start_ms: int, end_ms: int) -> list[str]:
        if end_ms < 0:
            return []
        if not _pushed_whole(sets):
            found = {name for one in self.series(sets, start_ms, end_ms) for name, _ in one}
            return sorted(found)
        asked = [*match_params(sets), *bounds(start_ms, end_ms), *STRICT]
        return sorted(_texts(self._client.json("labels", asked).get("data"), self._name))

    def label_values(self, name: str, sets: MatcherSets, start_ms: int, end_ms: int) -> list[str]:
        if end_ms < 0:
            return []
        if not _pushed_whole(sets):
            return sorted({one.get(name) for one in self.series(sets, start_ms, end_ms)} - {""})
        asked = [*match_params(sets), *bounds(start_ms, end_ms), *STRICT]
        return sorted(_texts(self._client.values_of(name, asked), self._name))

    def series(self, sets: MatcherSets, start_ms: int, end_ms: int) -> list[Labels]:
        if end_ms < 0:
            return []
        asked = [*match_params(sets or [[_ANY]]), *bounds(start_ms, end_ms), *STRICT]
        data = self._client.json("series", asked).get("data")
        if not isinstance(data, list) or not all(isinstance(one, dict) for one in data):
            raise _misshapen(self._name, "series", data)
        found = {Labels.of(one) for one in data}
        return sorted(one for one in found if not sets or any(all_match(s, one) for s in sets))

    def metadata(self) -> Mapping[str, Metadata]:
        """What the store knows, which of Debian's VictoriaMetrics is nothing, and this host."""
        data = self._client.json("metadata", []).get("data")
        if not isinstance(data, dict):
            raise _misshapen(self._name, "metadata", data)
        found = {name: _metadata(told[0]) for name, told in data.items() if told}
        return {**found, **self._beside()}


class _Gathered:
    """The parts of a selection, up to the limits of its hints."""

    def __init__(self, matchers: Sequence[Matcher], hints: Hints) -> None:
        self._matchers, self._hints = matchers, hints
        self._parts: dict[Labels, list[Part]] = {}
        self._strange: set[Labels] = set()
        self._budget = Budget(hints.max_samples, hints.check)

    def add(self, part: Part) -> None:
        known = self._parts.get(part.labels)
        if known is None:
            # Not only for names that could not be asked for: this is the one that decides.
            if part.labels in self._strange or not all_match(self._matchers, part.labels):
                self._strange.add(part.labels)
                return
            known = self._parts[part.labels] = []
            check_series(len(self._parts), self._hints.max_series)
        known.append(part)
        self._budget.take_samples(len(part.times_ms))

    def series(self) -> list[Series]:
        found = [
            Series(labels, *_joined(parts))
            for labels, parts in sorted(self._parts.items(), key=lambda item: item[0])
        ]
        return [one for one in found if len(one.times_ms)]


def _joined(parts: Sequence[Part]) -> Any:
    if len(parts) == 1:
        return rising(parts[0].times_ms, parts[0].values)
    times = np.concatenate([part.times_ms for part in parts])
    values = np.concatenate([part.values for part in parts])
    return rising(times, values)


def match_params(sets: MatcherSets) -> list[tuple[str, str]]:
    return [("match[]", selector(one)) for one in sets]


def selector(matchers: Sequence[Matcher]) -> str:
    """What can be asked of any version; all of it is looked at again in the answer.

    No selector may be empty.
    """
    asked = [one for one in matchers if _can_be_asked(one)]
    if not any(not one.matches_empty for one in asked):
        asked = [_ANY, *asked]
    return f"{{{','.join(map(_asked, asked))}}}"


def _can_be_asked(matcher: Matcher) -> bool:
    """Names that are no identifiers are written in another way by each version.

    A pattern with a word boundary VictoriaMetrics takes apart, and its parts mean something else.
    """
    boundary = "\\b" in matcher.value or "\\B" in matcher.value
    return is_label_name(matcher.name) and not (boundary and matcher.op in ("=~", "!~"))


def _asked(matcher: Matcher) -> str:
    """As Prometheus means it, whose dot is a line break, too.

    Not where the only dot is in the .* or .+ at its end: that takes everything as it is, and is
    looked up by what stands before it.
    """
    pattern = matcher.value.removesuffix(".*").removesuffix(".+")
    if matcher.op in ("=~", "!~") and "." in pattern.replace("\\.", ""):
        return str(replace(matcher, value=f"(?s){matcher.value}"))
    return str(matcher)


def _pushed_whole(sets: MatcherSets) -> bool:
    return all(_can_be_asked(matcher) for one in sets for matcher in one)


def bounds(start_ms: int, end_ms: int, least_ms: int = 1) -> list[tuple[str, str]]:
    """Both ends. Nothing is from before 1970, and 0 stands for no start to /api/v1/series."""
    return [("start", seconds(max(start_ms, least_ms))), ("end", seconds(min(end_ms, _LAST_MS)))]


def seconds(at_ms: int) -> str:
    """Unix seconds of which every reader makes these milliseconds.

    One cuts the product with 1000 off, which may lie a hair below them; one rounds it.
    """
    return f"{at_ms // 1000}.{at_ms % 1000:03d}4"


def _texts(data: Any, name: str) -> list[str]:
    if not isinstance(data, list) or not all(isinstance(one, str) for one in data):
        raise _misshapen(name, "labels", data)
    return data


def _metadata(told: Mapping[str, str]) -> Metadata:
    kind = told.get("type", "")
    known: Any = kind if kind in _TYPES else "untyped"
    return Metadata(known, told.get("help", ""), told.get("unit", ""))


def _misshapen(name: str, what: str, data: Any) -> StorageError:
    told = f"{name}: the answer to /api/v1/{what} has another shape: {str(data)[:100]}"
    return StorageError(f"{told}; check storage.url", retriable=False)
