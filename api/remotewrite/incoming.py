"""What one request brought: its samples as arrays, and what was not taken, with reasons."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from api.remotewrite.arrivals import Samples
from fleetpulse.model import Metadata

_MAX_TOLD = 10  # refusals in an answer; the counts tell of all


def _nothing() -> Samples:
    return Samples(np.empty(0, np.int64), np.empty(0), np.empty(0, np.int64))


@dataclass(slots=True)
class Incoming:
    """refused: samples by reason. exemplars, start_times: read, and not kept (not refused)."""

    samples: Samples = field(default_factory=_nothing)
    metadata: dict[str, Metadata] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)
    told: list[str] = field(default_factory=list)
    exemplars: int = 0
    start_times: int = 0

    def refuse(self, reason: str, count: int, message: str) -> None:
        """Counts samples that are not taken; count may be 0 for a series without any."""
        self.refused[reason] += count
        if len(self.told) < _MAX_TOLD:
            self.told.append(message)

    def no_histograms(self, count: int, series: Callable[[], str]) -> None:
        if count:
            message = "native histograms are not supported; send classic ones"
            self.refuse("histograms", count, f"{series()}: {message}")
