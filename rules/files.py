"""Prometheus rule files, read with every fault told at once as file:line: path: what instead."""

import glob
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from fleetpulse.errors import ConfigError
from fleetpulse.yamlconf import Duration, Section, validate
from fleetpulse.yamldoc import Document, read_text
from rules.checks import document_faults, line_of

SHIPPED = Path(__file__).parent / "defaults"
_WILDCARDS = frozenset("*?[")


def _text(value: Any) -> Any:
    """Text, as Prometheus' YAML reader has it for a number; yes and true are too easily meant."""
    if isinstance(value, bool):
        raise ValueError('write it in quotes, as in "true"')
    return str(value) if isinstance(value, int | float) else value


Text = Annotated[str, BeforeValidator(_text)]
TextMap = Annotated[dict[str, Text], BeforeValidator(lambda value: {} if value is None else value)]


class RuleEntry(Section):
    """One rule as it is written."""

    record: Text = ""
    alert: Text = ""
    expr: Text
    for_: Duration = Field(0.0, alias="for")
    keep_firing_for: Duration = 0.0
    labels: TextMap = Field(default_factory=dict)
    annotations: TextMap = Field(default_factory=dict)


class GroupEntry(Section):
    """One group as it is written."""

    name: Text
    interval: Duration = 0.0
    query_offset: Duration = 0.0
    limit: int = Field(0, ge=0)
    labels: TextMap = Field(default_factory=dict)
    rules: list[RuleEntry] | None = None


class RuleFile(Section):
    """A whole rule file."""

    groups: list[GroupEntry] | None = None


Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class RuleSpec:
    """A rule ready to be evaluated. Times in seconds; labels hold the group's too."""

    kind: Literal["alerting", "recording"]
    name: str
    expr: str
    hold: float = 0.0
    keep_firing: float = 0.0
    labels: Pairs = ()
    annotations: Pairs = ()


@dataclass(frozen=True, slots=True)
class GroupSpec:
    """A group ready to be evaluated. Equal specs behave alike, so a reload can keep the group."""

    name: str
    file: str
    interval: float
    rules: tuple[RuleSpec, ...]
    limit: int = 0
    query_offset: float = 0.0

    @property
    def key(self) -> str:
        """What tells groups apart: a group's name is unique only in its file."""
        return f"{self.file};{self.name}"


def check_rule_file(path: Path, *, experimental: bool = True) -> list[str]:
    """Every fault of the file, in the order of its lines; none if it can be loaded.

    experimental: whether its expressions may have what needs promql.experimental.
    """
    try:
        _load(path, experimental=experimental)
    except ConfigError as err:
        return list(err.faults)
    return []


def load_groups(paths: Iterable[Path], default_interval: float) -> tuple[GroupSpec, ...]:
    """The groups of all files. ConfigError holds the faults of all of them."""
    groups: list[GroupSpec] = []
    faults: list[str] = []
    for path in paths:
        try:
            file = _load(path)
        except ConfigError as err:
            faults += err.faults
            continue
        groups += [_group(entry, str(path), default_interval) for entry in file.groups or ()]
    if faults:
        raise ConfigError(faults)
    return tuple(groups)


def find_files(patterns: Sequence[str], base: Path, *, shipped: bool) -> list[Path]:
    """The files that the patterns name, each once. ConfigError for a plain path without a file."""
    found = dict.fromkeys(sorted(SHIPPED.glob("*.yml")) if shipped else ())
    faults = []
    for pattern in patterns:
        full = base / Path(pattern).expanduser()
        if _WILDCARDS.isdisjoint(pattern):
            if not full.is_file():
                faults.append(f"{full}:1: no such file; rule_files names it")
            found[full] = None
        else:
            found |= dict.fromkeys(Path(path) for path in sorted(glob.glob(str(full))))
    if faults:
        raise ConfigError(faults)
    return list(found)


def _load(path: Path, *, experimental: bool = True) -> RuleFile:
    document = Document.parse(read_text(path), str(path))
    faults = document_faults(document, experimental=experimental)
    try:
        file = validate(document, RuleFile, path.parent)
    except ConfigError as err:
        raise ConfigError(sorted({*err.faults, *faults}, key=line_of)) from None
    if faults:
        raise ConfigError(sorted(set(faults), key=line_of))
    return file


def _group(entry: GroupEntry, file: str, default_interval: float) -> GroupSpec:
    return GroupSpec(
        name=entry.name,
        file=file,
        interval=entry.interval or default_interval,
        rules=tuple(_rule(rule, entry.labels) for rule in entry.rules or ()),
        limit=entry.limit,
        query_offset=entry.query_offset,
    )


def _rule(entry: RuleEntry, group_labels: Mapping[str, str]) -> RuleSpec:
    return RuleSpec(
        kind="alerting" if entry.alert else "recording",
        name=entry.alert or entry.record,
        expr=entry.expr.strip(),
        hold=entry.for_,
        keep_firing=entry.keep_firing_for,
        labels=tuple(sorted({**group_labels, **entry.labels}.items())),
        annotations=tuple(sorted(entry.annotations.items())),
    )
