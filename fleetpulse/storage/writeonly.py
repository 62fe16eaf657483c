"""Stands for reading where a store can only be written."""

# ruff: noqa: ARG002 - every question is refused, whatever it asks

from collections.abc import Mapping, Sequence

from fleetpulse.errors import QueryError
from fleetpulse.matchers import Matcher
from fleetpulse.model import Labels, Metadata, Series
from fleetpulse.storage.base import Hints, MatcherSets


class WriteOnly:
    """A SeriesReader that answers each question with QueryError("unavailable", …)."""

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def _refuse(self) -> QueryError:
        return QueryError(
            "unavailable",
            f"not supported: storage.kind {self._kind} is written to, not read from; "
            f"query that database itself, or use storage.kind embedded",
        )

    def select(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, hints: Hints
    ) -> Sequence[Series]:
        raise self._refuse()

    def labels(self, sets: MatcherSets, start_ms: int, end_ms: int) -> list[str]:
        raise self._refuse()

    def label_values(self, name: str, sets: MatcherSets, start_ms: int, end_ms: int) -> list[str]:
        raise self._refuse()

    def series(self, sets: MatcherSets, start_ms: int, end_ms: int) -> list[Labels]:
        raise self._refuse()

    def metadata(self) -> Mapping[str, Metadata]:
        raise self._refuse()
