"""A page of metrics: our families, written by prometheus_client in either text format."""

from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from fleetpulse.model import MetricFamily

_TOTAL = "_total"


class Families(Collector):
    """Brings families into a CollectorRegistry, under their exposed names."""

    def __init__(self, gather: Callable[[], Iterable[MetricFamily]]) -> None:
        self._gather = gather

    def collect(self) -> Iterator[Metric]:
        return map(to_metric, self._gather())


def to_metric(family: MetricFamily) -> Metric:
    """prometheus_client names a counter's family without `_total`, and writes it back."""
    name = family.name.removesuffix(_TOTAL) if family.type == "counter" else family.name
    metric = Metric(name, family.help, family.type)
    for sample in family.samples:
        metric.add_sample(family.name, dict(sample.labels), sample.value)
    return metric


def registry_of(*gathers: Callable[[], Iterable[MetricFamily]]) -> CollectorRegistry:
    """A registry of these alone."""
    registry = CollectorRegistry()
    for gather in gathers:
        registry.register(Families(gather))
    return registry


def render(registry: Collector, labels: Mapping[str, str]) -> bytes:
    """The page in the text format 0.0.4, labels added to each series that has none such."""
    return generate_latest(_Labelled(registry, labels) if labels else registry)


class _Labelled(Collector):
    def __init__(self, inner: Collector, labels: Mapping[str, str]) -> None:
        self._inner, self._labels = inner, labels

    def collect(self) -> Iterator[Metric]:
        for metric in self._inner.collect():
            metric.samples = [
                sample._replace(labels={**self._labels, **sample.labels})
                for sample in metric.samples
            ]
            yield metric
