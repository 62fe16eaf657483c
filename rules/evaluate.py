"""One evaluation at one time: the query engine and the templates, as a rule sees them."""

from collections.abc import Sequence
from dataclasses import dataclass

from fleetpulse.errors import FleetPulseError
from fleetpulse.model import Labels
from fleetpulse.promql.result import QueryEngine, Scalar, Vector
from rules.template_values import QuerySample
from rules.templates import Expander

VectorSample = tuple[Labels, float]


class RuleError(FleetPulseError):
    """A rule whose result cannot be used."""


@dataclass(frozen=True, slots=True)
class Evaluator:
    """Answers at one time. at_ms: the time of the evaluation less the group's query offset."""

    engine: QueryEngine
    at_ms: int
    external_url: str = ""
    timeout: float | None = None

    def vector(self, expression: str) -> list[VectorSample]:
        """The expression's series and values. RuleError, QueryError or StorageError."""
        data = self.engine.instant(expression, self.at_ms, timeout=self.timeout).data
        if isinstance(data, Scalar):
            return [(Labels(), data.value)]
        if not isinstance(data, Vector):
            raise RuleError("rule result is not a vector or scalar")
        return list(zip(data.labels, map(float, data.values), strict=True))

    def expander(self, name: str) -> Expander:
        return Expander(name, self.samples, self.external_url, self.at_ms / 1000)

    def samples(self, expression: str) -> Sequence[QuerySample]:
        """What the template function `query` answers."""
        return [QuerySample(dict(labels), value) for labels, value in self.vector(expression)]
