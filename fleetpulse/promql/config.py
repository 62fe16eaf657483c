"""The `promql` section of the configuration file: for queries and rules alike."""

from pydantic import Field

from fleetpulse.yamlconf import Duration, Section


class PromqlConfig(Section):
    """How expressions are read and evaluated."""

    # How old a sample an instant selector still takes.
    lookback: Duration = Field(default=300.0, ge=0.001)
    # Prometheus' promql-experimental-functions and promql-binop-fill-modifiers.
    experimental: bool = False
    # Keeps metric names to the end of a query: Prometheus' promql-delayed-name-removal.
    delayed_name_removal: bool = False
