"""Alertmanager's configuration file: routes, receivers, inhibition, global settings."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator

from alertmanager_bridge.matching import parse_matchers
from alertmanager_bridge.notyet import (
    FileNotYet,
    GlobalNotYet,
    Lenient,
    ReceiverNotYet,
    RouteNotYet,
)
from alertmanager_bridge.receiver_config import (
    EmailConfig,
    HostPort,
    HttpConfig,
    SecretUrl,
    SlackConfig,
    Text,
    TlsConfig,
    WebhookConfig,
    at_most_one,
)
from alertmanager_bridge.words import read_templates
from fleetpulse.errors import ConfigError
from fleetpulse.matchers import Matcher, MatchOp
from fleetpulse.values import is_label_name
from fleetpulse.yamlconf import Duration, FilePath, Secret, validate
from fleetpulse.yamldoc import Document, KeyPath, read_text


def _matcher_line(text: str) -> str:
    parse_matchers(text)
    return text


def _regex(text: str) -> str:
    Matcher("x", "=~", text)
    return text


def _label(name: str) -> str:
    if not is_label_name(name):
        raise ValueError(f"{name!r} is no label name")
    return name


def _one_or_many(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _positive(value: float) -> float:
    if value <= 0:
        raise ValueError("must be more than 0")
    return value


MatcherLine = Annotated[Text, AfterValidator(_matcher_line)]
Regex = Annotated[Text, AfterValidator(_regex)]
LabelName = Annotated[str, AfterValidator(_label)]
MatchMap = dict[LabelName, Text]
RegexMap = dict[LabelName, Regex]
Positive = Annotated[Duration, AfterValidator(_positive)]


def _matchers(
    equal: Mapping[str, str], regex: Mapping[str, str], lines: list[str]
) -> list[Matcher]:
    found = [Matcher(name, "=", value) for name, value in equal.items()]
    operator: MatchOp = "=~"
    found += [Matcher(name, operator, value) for name, value in regex.items()]
    return found + [matcher for line in lines for matcher in parse_matchers(line)]


class GlobalConfig(GlobalNotYet):
    resolve_timeout: Positive = 300.0
    http_config: HttpConfig = HttpConfig()
    smtp_from: str | None = None
    smtp_hello: str = "localhost"
    smtp_smarthost: HostPort | None = None
    smtp_auth_username: str | None = None
    smtp_auth_password: Secret | None = None
    smtp_auth_password_file: FilePath | None = None
    smtp_require_tls: bool = True
    smtp_force_implicit_tls: bool | None = None
    smtp_tls_config: TlsConfig = TlsConfig()
    slack_api_url: SecretUrl | None = None
    slack_api_url_file: FilePath | None = None

    @model_validator(mode="after")
    def _once(self) -> Self:
        at_most_one(self, "slack_api_url", "slack_api_url_file")
        at_most_one(self, "smtp_auth_password", "smtp_auth_password_file")
        return self


class RouteConfig(RouteNotYet):
    receiver: Text | None = None
    group_by: list[str] | None = None
    match: MatchMap = Field(default={})
    match_re: RegexMap = Field(default={})
    matchers: Annotated[list[MatcherLine], BeforeValidator(_one_or_many)] = Field(default=[])
    continue_: bool = Field(default=False, alias="continue")
    group_wait: Duration | None = None
    group_interval: Positive | None = None
    repeat_interval: Positive | None = None
    routes: "list[RouteConfig]" = Field(default=[])

    def all_matchers(self) -> list[Matcher]:
        return _matchers(self.match, self.match_re, self.matchers)

    @model_validator(mode="after")
    def _sound(self) -> Self:
        names = self.group_by or []
        if "..." in names and len(names) > 1:
            raise ValueError("group_by: '...' means all labels; no other may stand beside it")
        if len(set(names)) < len(names):
            raise ValueError("group_by: a label is there twice")
        return self


class InhibitRule(Lenient):
    name: str = ""
    source_match: MatchMap = Field(default={})
    source_match_re: RegexMap = Field(default={})
    source_matchers: Annotated[list[MatcherLine], BeforeValidator(_one_or_many)] = Field(default=[])
    target_match: MatchMap = Field(default={})
    target_match_re: RegexMap = Field(default={})
    target_matchers: Annotated[list[MatcherLine], BeforeValidator(_one_or_many)] = Field(default=[])
    equal: list[str] = Field(default=[])

    def all_source_matchers(self) -> list[Matcher]:
        return _matchers(self.source_match, self.source_match_re, self.source_matchers)

    def all_target_matchers(self) -> list[Matcher]:
        return _matchers(self.target_match, self.target_match_re, self.target_matchers)


class ReceiverConfig(ReceiverNotYet):
    name: Text = Field(min_length=1)
    slack_configs: list[SlackConfig] = Field(default=[])
    email_configs: list[EmailConfig] = Field(default=[])
    webhook_configs: list[WebhookConfig] = Field(default=[])


class AlertmanagerFile(FileNotYet):
    """The whole file. `global` and `continue` are Python's words, so those fields end in _."""

    global_: GlobalConfig = Field(default=GlobalConfig(), alias="global")
    route: RouteConfig
    receivers: list[ReceiverConfig] = Field(default=[])
    inhibit_rules: list[InhibitRule] = Field(default=[])
    templates: list[FilePath] = Field(default=[])


def load_amconfig(path: Path) -> AlertmanagerFile:
    """Reads a file in Alertmanager's format; ConfigError has all its faults.

    The template files that it names are read as well, so that their faults are told here.
    """
    config = parse_amconfig(read_text(path), file=str(path), base=path.parent)
    read_templates(config.templates)
    return config


def parse_amconfig(text: str, *, file: str, base: Path) -> AlertmanagerFile:
    document = Document.parse(text, file)
    faults: list[str] = []
    config = None
    try:
        config = validate(document, AlertmanagerFile, base)
    except ConfigError as err:
        faults += err.faults
    if isinstance(document.data, dict):
        faults += [document.fault(path, text) for path, text in _cross_faults(document.data)]
    if config is None or faults:
        raise ConfigError(sorted(set(faults), key=lambda fault: (_line(fault, file), fault)))
    return config


def check_bridge_file(path: Path) -> list[str]:
    """All faults of a file in Alertmanager's format; none if the bridge can use it."""
    try:
        load_amconfig(path)
    except ConfigError as err:
        return list(err.faults)
    return []


def _line(fault: str, file: str) -> int:
    number = fault.removeprefix(f"{file}:").partition(":")[0]
    return int(number) if number.isdigit() else 0


def _cross_faults(data: Mapping[str, Any]) -> Iterator[tuple[KeyPath, str]]:
    """What no single key can know: names that must exist, and values that may be global.

    Works on the bare YAML, so that these faults come together with all others.
    """
    names: list[object] = []
    for index, receiver in enumerate(_items(data.get("receivers"))):
        name = receiver.get("name")
        if name and name in names:
            yield ("receivers", index, "name"), "another receiver has this name"
        names.append(name)
        yield from _receiver_faults(receiver, _mapping(data.get("global")), ("receivers", index))
    route = data.get("route")
    if isinstance(route, dict):
        yield from _root_faults(route)
        yield from _unknown_receivers(route, names, ("route",))


def _root_faults(route: Mapping[str, Any]) -> Iterator[tuple[KeyPath, str]]:
    if not route.get("receiver"):
        yield ("route", "receiver"), "missing; the root route needs a default receiver"
    for key in ("match", "match_re", "matchers"):
        if route.get(key):
            yield ("route", key), "the root route takes every alert and has no matchers"
    if route.get("continue"):
        yield ("route", "continue"), "the root route has nothing to go on to"


def _unknown_receivers(
    route: Mapping[str, Any], names: list[object], path: KeyPath
) -> Iterator[tuple[KeyPath, str]]:
    receiver = route.get("receiver")
    if receiver and receiver not in names:
        known = ", ".join(str(name) for name in names) or "none at all"
        yield (*path, "receiver"), f"there is no receiver {receiver!r}; known here: {known}"
    for index, child in enumerate(_items(route.get("routes"))):
        yield from _unknown_receivers(child, names, (*path, "routes", index))


def _receiver_faults(
    receiver: Mapping[str, Any], common: Mapping[str, Any], path: KeyPath
) -> Iterator[tuple[KeyPath, str]]:
    for index, email in enumerate(_items(receiver.get("email_configs"))):
        for key in ("smarthost", "from"):
            if not email.get(key) and not common.get(f"smtp_{key}"):
                where = (*path, "email_configs", index, key)
                yield where, f"missing; set it here or as global.smtp_{key}"
    for index, slack in enumerate(_items(receiver.get("slack_configs"))):
        if not any(slack.get(key) for key in ("api_url", "api_url_file")) and not any(
            common.get(key) for key in ("slack_api_url", "slack_api_url_file")
        ):
            where = (*path, "slack_configs", index, "api_url")
            yield where, "missing; set it here or as global.slack_api_url"


def _items(value: object) -> list[Mapping[str, Any]]:
    return [_mapping(item) for item in value] if isinstance(value, list) else []


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def redacted(config: AlertmanagerFile) -> str:
    """The file as YAML that may be shown: secrets replaced by <secret>."""
    shown = config.model_dump(by_alias=True, exclude_unset=True)
    return yaml.safe_dump(_plain(shown), sort_keys=False, allow_unicode=True)


def _plain(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return "<secret>"
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
