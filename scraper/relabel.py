"""Relabelling, as Prometheus does it (model/relabel): rules that keep, drop or rewrite labels."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from fleetpulse.regex import Match, Pattern, compile_pattern, expand
from fleetpulse.values import is_label_name
from fleetpulse.yamlconf import Section
from scraper.sdconfig import Text

Action = Literal[
    "replace", "keep", "drop", "keepequal", "dropequal", "hashmod",
    "labelmap", "labeldrop", "labelkeep", "lowercase", "uppercase",
]  # fmt: skip
_WITH_TARGET = {"replace", "hashmod", "lowercase", "uppercase", "keepequal", "dropequal"}
_ONLY_REGEX = {"labeldrop", "labelkeep"}
_ONLY_EQUAL = {"keepequal", "dropequal"}
_ONLY_CASE = {"lowercase", "uppercase"}


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


class RelabelConfig(Section):
    """One rule. Its defaults are Prometheus'."""

    source_labels: tuple[str, ...] = ()
    separator: Text = ";"
    regex: Text = "(.*)"
    modulus: int = Field(0, ge=0, lt=1 << 64)
    target_label: str = ""
    replacement: Text = "$1"
    action: Annotated[Action, BeforeValidator(_lower)] = "replace"

    @field_validator("regex", mode="before")
    @classmethod
    def _none_is_empty(cls, value: object) -> object:
        return "" if value is None else value

    @field_validator("regex")
    @classmethod
    def _compiles(cls, value: str) -> str:
        compile_pattern(value)
        return value

    @model_validator(mode="after")
    def _fits_action(self) -> Self:
        action = self.action
        if action == "hashmod" and not self.modulus:
            raise ValueError("hashmod needs a modulus above zero")
        if action in _WITH_TARGET and not self.target_label:
            raise ValueError(f"{action} needs a target_label")
        if action == "labelmap" and not self.replacement:
            raise ValueError("the replacement of labelmap must make a label name, as in `$1`")
        if action in _ONLY_CASE and self.replacement != "$1":
            raise ValueError(f"{action} takes no replacement")
        allowed = (
            {"regex"} if action in _ONLY_REGEX
            else {"source_labels", "target_label"} if action in _ONLY_EQUAL
            else set(type(self).model_fields)
        )  # fmt: skip
        fields = type(self).model_fields
        extra = [
            name
            for name in sorted(self.model_fields_set - allowed - {"action"})
            if getattr(self, name) != fields[name].default  # said, but not otherwise
        ]
        if extra:
            raise ValueError(f"{action} takes only {', '.join(sorted(allowed))}, not {extra[0]}")
        return self


class Rule:
    """A rule made ready to be applied often."""

    def __init__(self, config: RelabelConfig, *, legacy: bool = False) -> None:
        """legacy: labels have the names that they had before UTF-8, or none."""
        self.config = config
        self._is_name: Callable[[str], bool] = is_label_name if legacy else bool
        self.pattern: Pattern = compile_pattern(config.regex)

    def apply(self, labels: dict[str, str]) -> bool:
        """Changes labels in place; False says that they are to be dropped."""
        config = self.config
        value = config.separator.join(labels.get(name, "") for name in config.source_labels)
        match config.action:
            case "replace":
                self._replace(labels, value)
            case "keep":
                return self.pattern.fullmatch(value) is not None
            case "drop":
                return self.pattern.fullmatch(value) is None
            case "keepequal":
                return labels.get(config.target_label, "") == value
            case "dropequal":
                return labels.get(config.target_label, "") != value
            case "hashmod":
                # The last 8 of MD5's bytes, so that shards agree with Prometheus'.
                digest = hashlib.md5(value.encode(), usedforsecurity=False).digest()
                number = int.from_bytes(digest[8:], "big") % config.modulus
                labels[config.target_label] = str(number)
            case "lowercase":
                _set(labels, config.target_label, _map(value, str.lower))
            case "uppercase":
                _set(labels, config.target_label, _map(value, str.upper))
            case "labelmap":
                self._map_names(labels)
            case "labeldrop":
                for name in self._matching(labels):
                    del labels[name]
            case "labelkeep":
                for name in labels.keys() - self._matching(labels):
                    del labels[name]
        return True

    def _replace(self, labels: dict[str, str], value: str) -> None:
        found = self.pattern.fullmatch(value)
        if found is None:
            return
        target = expand(found, self.config.target_label)
        if self._is_name(target):
            _set(labels, target, expand(found, self.config.replacement))

    def _map_names(self, labels: dict[str, str]) -> None:
        for name, value in list(labels.items()):
            found: Match | None = self.pattern.fullmatch(name)
            if found is not None:
                _set(labels, expand(found, self.config.replacement), value)

    def _matching(self, labels: Iterable[str]) -> set[str]:
        return {name for name in labels if self.pattern.fullmatch(name) is not None}

    def touches(self, names: frozenset[str]) -> bool:
        """Whether what the rule does may depend on, or change, labels of these names."""
        config = self.config
        if config.action == "labelkeep":
            return self._matching(names) != names
        if config.action == "labelmap" and (
            "$" in config.replacement or config.replacement in names
        ):
            return True  # it may make one of these names
        if config.action in ("labeldrop", "labelmap"):
            return bool(self._matching(names))
        writes = {config.target_label} if config.action in _WITH_TARGET else set()
        return "$" in config.target_label or bool(names & (writes | set(config.source_labels)))


def _set(labels: dict[str, str], name: str, value: str) -> None:
    """Sets a label; an empty value takes it away."""
    if value:
        labels[name] = value
    else:
        labels.pop(name, None)


_LOWER = {"İ": "i"}  # what str.lower makes two characters of


def _map(value: str, change: Callable[[str], str]) -> str:
    """Character by character, as Go does it: none becomes two, and none looks at its neighbour."""
    if value.isascii():
        return change(value)
    changed = ((character, change(character)) for character in value)
    return "".join(new if len(new) == 1 else _LOWER.get(old, old) for old, new in changed)


def compile_rules(configs: Sequence[RelabelConfig], *, legacy: bool = False) -> tuple[Rule, ...]:
    return tuple(Rule(config, legacy=legacy) for config in configs)


def relabel(labels: dict[str, str], rules: Sequence[Rule]) -> bool:
    """Applies the rules in order, in place; False as soon as one drops the labels."""
    return all(rule.apply(labels) for rule in rules)
