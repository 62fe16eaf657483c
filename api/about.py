"""What the process knows of itself and its configuration, for the endpoints that tell of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from fleetpulse.promql.config import PromqlConfig


@dataclass(frozen=True, slots=True)
class About:
    """Handed in by whoever starts the API.

    yaml: the configuration in force as YAML, secrets hidden. flags: Prometheus' names of settings
    with the values in force. started: Unix seconds. reloaded: whether the last reading of the
    configuration succeeded, and when one last did, in Unix seconds. retention: as a duration.
    damaged: how many damaged blobs the store has met. external_labels: of this FleetPulse, for
    whoever federates from it.
    """

    yaml: Callable[[], str] = lambda: "{}\n"
    flags: Mapping[str, str] = field(default_factory=dict)
    started: float = 0.0
    reloaded: Callable[[], tuple[bool, float]] = lambda: (True, 0.0)
    retention: str = ""
    damaged: Callable[[], int] = lambda: 0
    external_labels: Mapping[str, str] = field(default_factory=dict)
    promql: PromqlConfig = field(default_factory=PromqlConfig)
