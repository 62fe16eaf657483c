"""The words of a message: the bridge's own, from templates/, and users' Go templates."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import FileSystemLoader, StrictUndefined, Template
from jinja2.sandbox import ImmutableSandboxedEnvironment

from alertmanager_bridge.template_set import TemplateSet
from alertmanager_bridge.template_values import Data, template_data
from fleetpulse.errors import ConfigError
from fleetpulse.gotemplate.nodes import TemplateError
from fleetpulse.gotemplate.values import SafeHtml
from fleetpulse.yamldoc import read_text

log = logging.getLogger(__name__)

# The names by which Alertmanager's users know its own texts, and the files with ours.
_OWN = {
    "slack.default.title": "subject.txt",
    "slack.default.username": "sender.txt",
    "slack.default.titlelink": "link.txt",
    "slack.default.text": "slack.txt",
    "slack.default.fallback": "subject.txt",
    "slack.default.color": "slack_color.txt",
    "email.default.subject": "subject.txt",
    "email.default.text": "email.txt",
    "email.default.html": "email.html",
    "__subject": "subject.txt",
    "__alertmanager": "sender.txt",
    "__alertmanagerURL": "link.txt",
    "__text_alert_list": "alert_list.txt",
}
_EMPTY = (
    "slack.default.pretext",
    "slack.default.callbackid",
    "slack.default.footer",
    "slack.default.iconemoji",
    "slack.default.iconurl",
    "__description",
)


def _slack_text(text: object) -> str:
    """Text in which Slack finds no link, mention or markup tag of its own (its three escapes)."""
    return str(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=lambda name: bool(name and name.endswith(".html")),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["slack"] = _slack_text
    return environment


class Words:
    """All templates of a configuration. Safe to use from several threads."""

    def __init__(self, sources: Sequence[str] = ()) -> None:
        environment = _environment()
        own = {name: environment.get_template(file) for name, file in _OWN.items()}
        self._builtins = {name: _builtin(template) for name, template in own.items()}
        self._builtins |= dict.fromkeys(_EMPTY, lambda _data: "")
        self._templates = TemplateSet(sources, self._builtins)

    def about(self, payload: Mapping[str, Any]) -> "About":
        return About(self._templates, template_data(payload))


class About:
    """Templates together with the message they are to speak of. Methods raise TemplateError."""

    def __init__(self, templates: TemplateSet, data: Data) -> None:
        self._templates, self._data = templates, data

    def fill(self, text: str) -> str:
        return self._templates.render(text, self._data)

    def shown(self, name: str, text: str | None, *, escape: bool = False) -> str:
        """The user's text filled in, or the bridge's own of this name where there is none.

        Where the user's does not fit the message, its own words are better than none at all.
        """
        own = f'{{{{ template "{name}" . }}}}'
        try:
            text = self._templates.render(own if text is None else text, self._data, escape=escape)
        except TemplateError as err:
            if text is None:
                raise
            log.warning("%s; the message goes out with %s instead", err, name)
            text = self._templates.render(own, self._data, escape=escape)
        return text.strip()


def _builtin(template: Template) -> Any:
    is_html = bool(template.name and template.name.endswith(".html"))

    def render(data: object) -> str:
        if template.name == "alert_list.txt":
            text = template.render(alerts=data).strip("\n")
        elif isinstance(data, Data):
            text = template.render(data.fields).strip("\n")
        else:
            raise ValueError("it wants the whole message: end the call with a dot")
        return SafeHtml(text) if is_html else text

    return render


def read_templates(patterns: Sequence[Path]) -> list[str]:
    """The texts of the files that the patterns name; ConfigError for one that is no template."""
    texts: list[str] = []
    for pattern in patterns:
        root = Path(pattern.anchor or ".")
        for path in sorted(root.glob(str(pattern.relative_to(pattern.anchor or ".")))):
            text = read_text(path)
            try:
                TemplateSet([text])
            except TemplateError as err:
                raise ConfigError([f"{path}:{err.line}: {err.message}"]) from err
            texts.append(text)
    return texts
