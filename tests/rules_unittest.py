"""Runs a file in the format of `promtool test rules` with our own rules and engine."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from fleetpulse.matchers import Matcher
from fleetpulse.model import Labels, Series
from fleetpulse.promql.engine import Engine
from fleetpulse.storage.base import Hints
from fleetpulse.values import parse_duration
from rules.alerting import AlertingRule
from rules.files import GroupSpec, load_groups
from rules.group import Group
from tests.promql_fakes import FakeReader, series
from tests.promqlscript import parse_series
from tests.rules_fakes import Bench, MemoryStore


class InputStore(MemoryStore):
    """Given series, and what rules write."""

    def __init__(self, given: Sequence[Series]) -> None:
        super().__init__()
        self._given = FakeReader(given)

    def select(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, hints: Hints
    ) -> Sequence[Series]:
        found = [
            *self._given.select(matchers, start_ms, end_ms, hints),
            *super().select(matchers, start_ms, end_ms, hints),
        ]
        return sorted(found, key=lambda one: one.labels)


@dataclass(frozen=True, slots=True)
class Case:
    """One expectation: the alerts of one name that fire at one time, with their annotations."""

    id: str
    at: float
    alert: str
    expected: dict[Labels, dict[str, str]]


def read_tests(path: Path) -> Iterator[tuple[dict[str, Any], list[Case]]]:
    """Each test of the file with its cases."""
    for test in yaml.safe_load(path.read_text())["tests"]:
        yield test, [_case(test["name"], one) for one in test["alert_rule_test"]]


def _case(name: str, one: dict[str, Any]) -> Case:
    expected = {
        Labels.of({**alert["exp_labels"], "alertname": one["alertname"]}): alert["exp_annotations"]
        for alert in one["exp_alerts"]
    }
    at = parse_duration(str(one["eval_time"]))
    return Case(f"{name} at {one['eval_time']}", at, one["alertname"], expected)


def run(
    path: Path,
    test: dict[str, Any],
    cases: list[Case],
    store_of: Callable[[Sequence[Series]], Any] = InputStore,
) -> dict[str, Any]:
    """What fires, by case id. store_of: a store that holds some series."""
    document = yaml.safe_load(path.read_text())
    files = [path.parent / name for name in document["rule_files"]]
    asked = {case.alert for case in cases}
    specs = [
        spec
        for spec in load_groups(files, parse_duration(document["evaluation_interval"]))
        if asked & {rule.name for rule in spec.rules}
    ]
    store = store_of(list(_input(test)))
    bench = Bench(Engine(store))
    bench.store = store
    groups = [bench.group(spec) for spec in specs]
    found: dict[str, Any] = {}
    for case in sorted(cases, key=lambda one: one.at):
        for group in groups:
            _evaluate_to(group, group.spec, case.at)
        found[case.id] = _firing(groups, case.alert)
    return found


def _input(test: dict[str, Any]) -> Iterator[Series]:
    step = round(parse_duration(test["interval"]) * 1000)
    for row in test["input_series"]:
        name, points, _ = parse_series(f"{row['series']} {row['values']}")
        yield series(
            name, [(i * step, value) for i, value in enumerate(points) if value is not None]
        )


def _evaluate_to(group: Group, spec: GroupSpec, at: float) -> None:
    """Turns up to a time; the group itself tells which was the last."""
    following = group.evaluated_at + spec.interval if group.runs[0].evaluated_at else 0.0
    while following <= at:
        group.evaluate(following)
        assert not [run.last_error for run in group.runs if run.last_error]
        following += spec.interval


def _firing(groups: Sequence[Group], name: str) -> dict[Labels, dict[str, str]]:
    rules = [run.rule for group in groups for run in group.runs if run.spec.name == name]
    return {
        alert.labels: dict(alert.annotations)
        for rule in rules
        if isinstance(rule, AlertingRule)
        for alert in rule.active
        if alert.state.name == "firing"
    }
