"""Reads a metrics page line by line, each series prefix only once."""

from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

from fleetpulse.errors import ExpositionError
from fleetpulse.model import Labels
from fleetpulse.openmetrics import (
    NUMERIC_LABEL,
    Dialect,
    MetadataReader,
    read_sample,
    read_value,
)

Kept = TypeVar("Kept")


class Known(Generic[Kept]):
    """What became of series prefixes of one format, by the type of their metric.

    The type matters for bounds and quantiles, which are written in one way.
    """

    def __init__(self) -> None:
        self._by_type: dict[str, dict[bytes, Kept]] = {"": {}}

    def __len__(self) -> int:
        return sum(map(len, self._by_type.values()))

    def of(self, type_of: str) -> dict[bytes, Kept]:
        if type_of not in NUMERIC_LABEL:
            return self._by_type[""]
        return self._by_type.setdefault(type_of, {})

    def keep(self, wanted: Callable[[bytes], bool]) -> None:
        """Forgets the other prefixes."""
        for kind, known in self._by_type.items():
            self._by_type[kind] = {k: kept for k, kept in known.items() if wanted(k)}

    def clear(self) -> None:
        self.keep(lambda _prefix: False)


class LineReader(Generic[Kept]):
    """Reads a page's lines in order and remembers every series prefix that it has parsed.

    keep turns the labels of a line never seen before into what read() gives back for it;
    known(type) holds the results and may be shared by many readers of the format. ValueErrors of
    keep become ExpositionErrors of their line.
    """

    def __init__(
        self,
        dialect: Dialect,
        keep: Callable[[Labels], Kept],
        known: Callable[[str], dict[bytes, Kept]],
    ) -> None:
        self._dialect, self._keep, self._known = dialect, keep, known
        self.comments = MetadataReader(dialect)

    def read(self, lines: Iterable[bytes]) -> Iterator[tuple[int, bytes, Kept, float, int | None]]:
        """Line number, prefix, what keep made of the labels, value and time of each sample."""
        number = 0
        for number, line in enumerate(lines, 1):
            try:
                if self._is_sample(line):
                    yield (number, *self._sample(line))
            except ValueError as err:
                raise ExpositionError(number, str(err)) from None
        if self._dialect.exemplars and not self.comments.ended:
            raise ExpositionError(number, "the page does not end with # EOF: it was cut short")

    def _is_sample(self, line: bytes) -> bool:
        if self.comments.ended:
            raise ValueError("more lines after # EOF")
        if line[:1] == b"#" or line.lstrip()[:1] == b"#":
            self.comments.read(line)
            return False
        if not line.strip():
            if self._dialect.exemplars:
                raise ValueError("an empty line, which OpenMetrics does not allow")
            return False
        return True

    def _sample(self, line: bytes) -> tuple[bytes, Kept, float, int | None]:
        known = self._known(self.comments.type)
        found = self._split_known(line, known)
        if found is None:
            sample = read_sample(line, self._dialect, self.comments.type)
            prefix, value, time_ms = sample.prefix, sample.value, sample.time_ms
            if prefix not in known:
                known[prefix] = self._keep(sample.labels)
        else:
            prefix, value, time_ms = found
        return prefix, known[prefix], value, time_ms

    def _split_known(
        self, line: bytes, known: dict[bytes, Kept]
    ) -> tuple[bytes, float, int | None] | None:
        """Prefix, value and time of a line whose prefix is known; None: read_sample must look.

        A known prefix was the whole of a series up to its value, so what follows one is a value
        and perhaps a timestamp, whatever the label values hold.
        """
        spaces = self._dialect.spaces
        before, _, last = line.removesuffix(b"\r").rstrip(spaces).rpartition(b" ")
        try:
            if (prefix := before.rstrip(spaces)) in known:
                return prefix, read_value(last), None
            before, _, value = before.rpartition(b" ")
            if (prefix := before.rstrip(spaces)) in known:
                return prefix, read_value(value), self._dialect.read_time(last)
        except ValueError:
            pass  # read_sample finds the same and says it better
        return None
