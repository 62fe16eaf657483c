"""What one selection may load."""

from collections.abc import Callable

from fleetpulse.errors import QueryError

_UNLIMITED = 1 << 62
# The objects around an array of samples take as much memory as so many of them; where there are
# but few in each, it is the arrays that are counted.
_RUN, _FEW_RUNS = 16, 1000


class Budget:
    """Counts down samples; QueryError where there are more than max_samples (0: no limit).

    check: called each time; what it raises ends the reading.
    """

    def __init__(self, max_samples: int = 0, check: Callable[[], None] | None = None) -> None:
        self.samples_left = max_samples or _UNLIMITED
        self._runs_left = max(self.samples_left // _RUN, _FEW_RUNS)
        self._check = check

    def take_samples(self, count: int, runs: int = 1) -> None:
        """runs: how many arrays they are in."""
        if self._check is not None:
            self._check()
        self.samples_left -= count
        self._runs_left -= runs
        if self.samples_left < 0 or self._runs_left < 0:
            # Prometheus' words (promql/engine.go), which its users search for.
            raise QueryError(
                "execution",
                "query processing would load too many samples into memory in query execution; "
                "ask for fewer series, a shorter range or a longer step, or raise max_samples",
            )

    def give_back(self, count: int, runs: int = 1) -> None:
        """For what was taken and comes another way."""
        self.samples_left += count
        self._runs_left += runs


def check_series(count: int, max_series: int) -> None:
    if max_series and count > max_series:
        raise QueryError(
            "execution",
            f"the selector matches more than {max_series} series; narrow it by more matchers",
        )
