"""What a rule file's keys must mean, beyond their shape: names, PromQL, templates.

The checks walk the plain data and pass over whatever has the wrong shape, which the model tells
of; so that one run finds every fault of both kinds.
"""

import re
from collections.abc import Iterator
from typing import Any

from fleetpulse.errors import QueryError
from fleetpulse.gotemplate.nodes import TemplateError
from fleetpulse.model import METRIC_NAME
from fleetpulse.promql.syntax import parse, value_type
from fleetpulse.values import is_label_name, is_metric_name
from fleetpulse.yamldoc import Document
from rules.templates import check

Path = tuple[str | int, ...]
Fault = tuple[Path, str]

_LINE = re.compile(r":(\d+): ")
_ALERT_ONLY = ("for", "keep_firing_for", "annotations")


def document_faults(document: Document, *, experimental: bool = True) -> list[str]:
    """The faults of a whole file, each as file:line: path: message.

    experimental: whether expressions may have what needs promql.experimental.
    """
    found = _file(document.data, experimental=experimental)
    return [document.fault(path, message) for path, message in found]


def line_of(fault: str) -> tuple[int, str]:
    """A key that sorts faults by their line."""
    match = _LINE.search(fault)
    return (int(match[1]) if match else 0, fault)


def _file(data: Any, *, experimental: bool) -> Iterator[Fault]:
    groups = data.get("groups") if isinstance(data, dict) else None
    names: dict[str, int] = {}
    for index, group in enumerate(groups if isinstance(groups, list) else ()):
        if isinstance(group, dict):
            path: Path = ("groups", index)
            yield from _group_name(group, path, names)
            yield from _labels(group, path)
            rules = group.get("rules")
            for number, rule in enumerate(rules if isinstance(rules, list) else ()):
                if isinstance(rule, dict):
                    at: Path = (*path, "rules", number)
                    yield from _rule(rule, at)
                    yield from _expression(
                        rule.get("expr"), (*at, "expr"), experimental=experimental
                    )


def _group_name(group: dict[Any, Any], path: Path, names: dict[str, int]) -> Iterator[Fault]:
    name = group.get("name")
    if name == "":
        yield (*path, "name"), "a group needs a name"
    if isinstance(name, str) and name in names:
        first = names[name]
        yield (*path, "name"), f"groups[{first}] has the name {name!r} too; choose another"
    if isinstance(name, str):
        names.setdefault(name, int(path[-1]))


def _rule(rule: dict[Any, Any], path: Path) -> Iterator[Fault]:
    alert, record = rule.get("alert"), rule.get("record")
    if alert and record:
        yield (*path, "alert"), "a rule has either alert or record, not both; split it in two"
    elif not alert and not record:
        yield path, "a rule needs the key alert (its name) or record (the new metric's name)"
    elif record:
        yield from _recording(rule, path, record)
    else:
        yield from _templates(rule, path)
    yield from _labels(rule, path)
    for name in _keys(rule, "annotations"):
        if not is_label_name(name):
            yield (*path, "annotations", name), _bad_name(name, "annotation")


def _recording(rule: dict[Any, Any], path: Path, record: Any) -> Iterator[Fault]:
    for key in _ALERT_ONLY:
        if rule.get(key):
            yield (*path, key), "only an alert has this; take it out of the recording rule"
    if isinstance(record, str) and not is_metric_name(record):
        message = f"{record!r} is no metric name; use letters, digits, _ and :, as in job:up:sum"
        yield (*path, "record"), message


def _expression(text: Any, path: Path, *, experimental: bool) -> Iterator[Fault]:
    if text is None or isinstance(text, dict | list | bool):
        return
    if not str(text).strip():
        yield path, "write a PromQL expression"
        return
    try:
        kind = value_type(parse(str(text), experimental=experimental))
    except (QueryError, RecursionError) as err:
        yield path, str(err) if isinstance(err, QueryError) else "nested too deeply"
        return
    if kind not in ("vector", "scalar"):
        yield path, f"gives a {kind}; a rule needs an instant vector or a scalar"


def _labels(owner: dict[Any, Any], path: Path) -> Iterator[Fault]:
    for name in _keys(owner, "labels"):
        if not is_label_name(name) or name == METRIC_NAME:
            yield (*path, "labels", name), _bad_name(name, "label")


def _bad_name(name: str, what: str) -> str:
    return f"{name!r} is no {what} name; use letters, digits and _, not first a digit"


def _templates(rule: dict[Any, Any], path: Path) -> Iterator[Fault]:
    for key in ("labels", "annotations"):
        for name in _keys(rule, key):
            text = rule[key][name]
            try:
                if isinstance(text, str):
                    check(text)
            except TemplateError as err:
                yield (*path, key, name), f"template {err}"


def _keys(owner: dict[Any, Any], key: str) -> list[str]:
    value = owner.get(key)
    return [str(name) for name in value] if isinstance(value, dict) else []
