"""Recording rules: an expression's result under a name of its own."""

from dataclasses import dataclass

from fleetpulse.model import METRIC_NAME, Labels
from rules.evaluate import Evaluator, RuleError
from rules.files import RuleSpec

_DUPLICATE = "vector contains metrics with the same labelset after applying rule labels"


@dataclass(slots=True)
class RecordingRule:
    """One recording rule. It keeps nothing between evaluations."""

    spec: RuleSpec

    def evaluate(self, evaluator: Evaluator, at: float, limit: int) -> dict[Labels, float]:  # noqa: ARG002 - alerting rules need at
        """The samples to write. RuleError, QueryError, StorageError."""
        changes = {**dict(self.spec.labels), METRIC_NAME: self.spec.name}
        samples: dict[Labels, float] = {}
        for series, value in evaluator.vector(self.spec.expr):
            labels = Labels.of({**dict(series), **changes})
            if labels in samples:
                raise RuleError(_DUPLICATE)
            samples[labels] = value
        if limit and len(samples) > limit:
            raise RuleError(f"exceeded limit of {limit} with {len(samples)} series")
        return samples
