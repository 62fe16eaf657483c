"""Inhibition: an alert that fires keeps others, which follow from it, quiet."""

from collections.abc import Mapping, Sequence

from alertmanager_bridge.alerts import StoredAlert
from alertmanager_bridge.amconfig import InhibitRule
from alertmanager_bridge.matching import LabelFilter


class _Rule:
    """One inhibition rule with the known alerts of its source side, found by the equal labels."""

    def __init__(self, config: InhibitRule) -> None:
        self._source = LabelFilter(config.all_source_matchers())
        self._target = LabelFilter(config.all_target_matchers())
        self._equal = tuple(sorted(set(config.equal)))
        self._sources: dict[tuple[str, ...], dict[str, StoredAlert]] = {}

    def _place(self, labels: Mapping[str, str]) -> tuple[str, ...]:
        return tuple(labels.get(name, "") for name in self._equal)

    def observe(self, alert: StoredAlert) -> None:
        labels = dict(alert.labels)
        if self._source(labels):
            self._sources.setdefault(self._place(labels), {})[alert.fingerprint] = alert

    def forget(self, alert: StoredAlert) -> None:
        place = self._place(dict(alert.labels))
        sources = self._sources.get(place, {})
        sources.pop(alert.fingerprint, None)
        if not sources:
            self._sources.pop(place, None)

    def muting(self, labels: Mapping[str, str], now: float) -> str | None:
        """The fingerprint of a firing alert that inhibits labels."""
        if not self._target(labels):
            return None
        both_sides = self._source(labels)
        for source in self._sources.get(self._place(labels), {}).values():
            # An alert on both sides is inhibited by none that is on both sides too: else it
            # would inhibit itself.
            if not source.resolved(now) and not (both_sides and self._target(dict(source.labels))):
                return source.fingerprint
        return None


class Inhibitor:
    """All inhibition rules of a file. Not safe for threads: its owner holds a lock."""

    def __init__(self, rules: Sequence[InhibitRule]) -> None:
        self._rules = [_Rule(rule) for rule in rules]

    def observe(self, alert: StoredAlert) -> None:
        """Learns an alert, or its new state."""
        for rule in self._rules:
            rule.observe(alert)

    def forget(self, alert: StoredAlert) -> None:
        for rule in self._rules:
            rule.forget(alert)

    def inhibited_by(self, labels: Mapping[str, str], now: float) -> list[str]:
        """Fingerprints of firing alerts that keep an alert with these labels quiet."""
        for rule in self._rules:
            source = rule.muting(labels, now)
            if source is not None:
                return [source]
        return []
