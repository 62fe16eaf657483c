"""What an answer of InfluxDB's is made of, whatever its format."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.int64]
Floats = NDArray[np.float64]
# The number that stands for a text in a row.
Texts = Callable[[str], float]

NOT_WHOLE = "the server has left out rows; set its max-row-limit to 0"


class AnswerError(ValueError):
    """What came is no answer of the kind, or not all of it."""


class CutError(AnswerError):
    def __init__(self) -> None:
        super().__init__("the answer was cut off")


@dataclass(frozen=True, slots=True)
class Part:
    """Some rows of one series. times_ms: the first column; columns: the others by name, float64.

    NaN is nothing. What is no number is what Texts made of it.
    """

    name: str
    tags: Mapping[str, str]
    times_ms: Times
    columns: Mapping[str, Floats]


class Source:
    """Bytes as they come in. held[at:] has come and is not read yet: whoever reads moves at."""

    __slots__ = ("_pieces", "at", "held")

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self.held, self.at = b"", 0

    def hold(self, count: int) -> bool:
        """Waits until so many bytes are held; False where the answer ends before."""
        missing = count - (len(self.held) - self.at)
        if missing > 0:
            # Pieces may be small, and adding each to the last would copy them over and over.
            parts = [self.held[self.at :]]
            while missing > 0 and (piece := next(self._pieces, b"")):
                parts.append(piece)
                missing -= len(piece)
            self.held, self.at = b"".join(parts), 0
        return missing <= 0

    def look(self) -> int:
        """The next byte, which stays."""
        if self.at >= len(self.held):
            self.need(1)
        return self.held[self.at]

    def take(self, count: int) -> bytes:
        begin = self.at
        if begin + count > len(self.held):
            self.need(count)
            begin = self.at
        self.at = end = begin + count
        return self.held[begin:end]

    def need(self, count: int) -> None:
        if not self.hold(count):
            raise CutError
