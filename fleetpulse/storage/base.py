"""What a store must do, and nothing about how."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from fleetpulse.matchers import Matcher
from fleetpulse.model import Labels, Metadata, Page, Series

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MatcherSets = Sequence[Sequence[Matcher]]
Tier = Literal["auto", "raw", "5m"]
TIERS: tuple[Tier, ...] = ("auto", "raw", "5m")


@dataclass(frozen=True, slots=True)
class Hints:
    """What the caller will do with a selection. A store may use it and may ignore it.

    step_ms: 0 for an instant query. range_ms: the window of a range selector, else 0.
    With a step and no range, only the newest sample at or before each of end_ms, end_ms - step_ms
    and so on is looked at: a store may leave out any other.
    func: the function or aggregation right around the selector.
    tier: raw: samples only. auto: a store may answer from aggregates of windows where the answer
    comes out the same, or where no samples are left. 5m: wherever there are such aggregates.
    max_samples, max_series: raise QueryError("execution", …) rather than return more; 0: no limit.
    check: to be called now and then in a long selection; what it raises ends that.
    seconds: QueryError("timeout", …) rather than take longer; 0: no limit.
    """

    step_ms: int = 0
    range_ms: int = 0
    func: str = ""
    max_samples: int = 0
    max_series: int = 0
    tier: Tier = "raw"
    check: "Callable[[], None] | None" = field(default=None, compare=False, repr=False)
    seconds: float = field(default=0.0, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class History:
    """A series' windows, as the function of the hints wants to see them: arrays of equal length.

    times_ms: their ends, rising. values: the least for min_over_time, the greatest for
    max_over_time, the sum for sum_ and avg_over_time, the last for last_over_time, for rate and
    increase by how much the counter rose since the window before. samples: how many samples there
    are in it. crossing: the part of values that is from before a gap ahead of the window, which
    does not belong to a range that begins with this window.
    """

    times_ms: "NDArray[np.int64]"
    values: "NDArray[np.float64]"
    samples: "NDArray[np.float64]"
    crossing: "NDArray[np.float64]"


@dataclass(frozen=True, slots=True)
class Folded(Series):
    """What select() gives where windows stand in for samples, all series of a selection alike.

    The samples are those after until_ms (and may be none). history is for ranges that begin
    before until_ms: windows of width_ms up to there, then each sample as a window of its own,
    staleness markers left out.
    """

    until_ms: int
    width_ms: int
    history: History


class SampleWriter(Protocol):
    """Takes pages. Safe from any thread."""

    def write(self, pages: Sequence[Page]) -> None:
        """Stores all pages or raises StorageError. Once back, a kill -9 loses none of them."""

    def describe(self, metadata: Mapping[str, Metadata]) -> None:
        """Remembers type, help and unit by metric name; the last word counts."""

    def close(self) -> None:
        """Ends what write() left under way. Called once, by whoever opened it."""


class SeriesReader(Protocol):
    """Gives series back. Safe from any thread. Both bounds are inclusive, in Unix ms.

    All methods raise StorageError, or QueryError where a limit of the hints is passed.
    """

    def select(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, hints: Hints
    ) -> Sequence[Series]:
        """Series with at least one sample in the time asked for, in the order of their labels.

        Times rise strictly; staleness markers are among the values, bit for bit. Where hints name
        a tier, a plain selector may get each window's last value as a sample at the window's end,
        and a range Folded series.
        """

    def labels(self, sets: MatcherSets, start_ms: int, end_ms: int) -> list[str]:
        """Label names, sorted, of series that match any of the sets (no set: all series)."""

    def label_values(self, name: str, sets: MatcherSets, start_ms: int, end_ms: int) -> list[str]:
        """Values of one label, sorted."""

    def series(self, sets: MatcherSets, start_ms: int, end_ms: int) -> list[Labels]:
        """Label sets, sorted."""

    def metadata(self) -> Mapping[str, Metadata]:
        """Type, help and unit by metric name."""


Counts = Sequence[tuple[str, int]]


@dataclass(frozen=True, slots=True)
class Cardinality:
    """How many series a store has, and of what: each list the greatest first, bounded.

    oldest_ms, newest_ms: bounds of the samples, None without any. recent: pages or chunks of the
    part that is still being written to. bytes_by_label: of a label's values over all series.
    """

    series: int
    label_pairs: int
    recent: int
    oldest_ms: int | None
    newest_ms: int | None
    series_by_name: Counts
    values_by_label: Counts
    bytes_by_label: Counts
    series_by_pair: Counts


@runtime_checkable
class CountsSeries(Protocol):
    """A store that can tell what it has. Safe from any thread. StorageError."""

    def cardinality(self, limit: int) -> Cardinality:
        """At most limit entries a list. May take a second with millions of series."""
