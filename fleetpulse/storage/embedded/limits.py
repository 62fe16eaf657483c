"""What one selection may load."""

from fleetpulse.errors import QueryError

_UNLIMITED = 1 << 62


class Budget:
    """Counts down samples; QueryError where there are more than max_samples (0: no limit)."""

    def __init__(self, max_samples: int = 0) -> None:
        self.samples_left = max_samples or _UNLIMITED

    def take_samples(self, count: int) -> None:
        self.samples_left -= count
        if self.samples_left < 0:
            # Prometheus' words (promql/engine.go), which its users search for.
            raise QueryError(
                "execution",
                "query processing would load too many samples into memory in query execution",
            )

    def give_back(self, count: int) -> None:
        """For what was taken and comes another way."""
        self.samples_left += count


def check_series(count: int, max_series: int) -> None:
    if max_series and count > max_series:
        raise QueryError(
            "execution",
            f"the selector matches more than {max_series} series; narrow it by more matchers",
        )
