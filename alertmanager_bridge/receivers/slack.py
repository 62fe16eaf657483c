"""Slack's incoming webhooks: one attachment a message."""

import json
from collections.abc import Callable
from typing import Any

from alertmanager_bridge.receiver_config import SlackAction, SlackConfig, SlackField
from alertmanager_bridge.receivers.base import Answer, JsonPoster, Message, scrub, secret_of
from alertmanager_bridge.words import Words
from fleetpulse.errors import NotifyError
from fleetpulse.gotemplate.nodes import TemplateError
from fleetpulse.yamlconf import FilePath, Secret

_MAX_TITLE = 1024  # characters, as Alertmanager has it
_MAX_TEXT = 8_000  # Slack cuts an attachment's text at about this many characters

Fill = Callable[[str], str]


class SlackNotifier:
    """common_url, common_url_file: those of the file's global section."""

    def __init__(
        self,
        config: SlackConfig,
        poster: JsonPoster,
        words: Words,
        common_url: Secret | None = None,
        common_url_file: FilePath | None = None,
    ) -> None:
        self._config, self._poster, self._words = config, poster, words
        self._url, self._url_file = config.api_url, config.api_url_file
        if self._url is None and self._url_file is None:
            self._url, self._url_file = common_url, common_url_file

    def notify(self, message: Message) -> None:
        try:
            body = self.body(message)
        except TemplateError as err:
            raise NotifyError(str(err), retriable=False) from err
        url = secret_of(self._url, self._url_file)
        _check_answer(self._poster.post(url, body), url)

    def body(self, message: Message) -> dict[str, Any]:
        """The JSON that Slack gets. Raises TemplateError."""
        config, words = self._config, self._words.about(message.data)
        fill, shown = words.fill, words.shown
        body = {
            "channel": fill(config.channel),
            "username": shown("slack.default.username", config.username),
            "icon_emoji": fill(config.icon_emoji),
            "icon_url": fill(config.icon_url),
            "link_names": config.link_names or None,
        }
        attachment = {
            "title": _cut(shown("slack.default.title", config.title), _MAX_TITLE),
            "title_link": shown("slack.default.titlelink", config.title_link),
            "pretext": fill(config.pretext),
            "text": _cut(shown("slack.default.text", config.text), _MAX_TEXT),
            "fallback": shown("slack.default.fallback", config.fallback),
            "callback_id": fill(config.callback_id),
            "footer": fill(config.footer),
            "color": shown("slack.default.color", config.color),
            "image_url": fill(config.image_url),
            "thumb_url": fill(config.thumb_url),
            "mrkdwn_in": config.mrkdwn_in,
            "fields": [self._field(field, fill) for field in config.fields],
            "actions": [_action(action, fill) for action in config.actions],
        }
        return {**_filled(body), "attachments": [_filled(attachment)]}

    def _field(self, field: SlackField, fill: Fill) -> dict[str, Any]:
        short = self._config.short_fields if field.short is None else field.short
        return {"title": fill(field.title), "value": fill(field.value), "short": short}


def _filled(items: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in items.items() if value not in ("", None, [])}


def _action(action: SlackAction, fill: Fill) -> dict[str, Any]:
    filled: dict[str, Any] = {"type": fill(action.type), "text": fill(action.text)}
    filled |= {"url": fill(action.url), "style": fill(action.style)}
    if not action.url:
        filled |= {"name": fill(action.name), "value": fill(action.value)}
        if action.confirm is not None:
            texts = action.confirm.model_dump(exclude_defaults=True)
            filled["confirm"] = {key: fill(text) for key, text in texts.items()}
    return _filled(filled)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _check_answer(answer: Answer, url: str) -> None:
    """Slack may say no with 200: plain text other than `ok`, or JSON with `ok: false`."""
    if answer.content_type.startswith("application/json"):
        try:
            said = json.loads(answer.text)
        except ValueError:
            raise NotifyError("Slack: unreadable answer", retriable=True) from None
        if not isinstance(said, dict) or said.get("ok") is not True:
            error = said.get("error", "") if isinstance(said, dict) else ""
            raise NotifyError(f"Slack: {scrub(str(error), url)}", retriable=False)
    elif answer.text.strip() not in ("ok", ""):
        raise NotifyError(f"Slack: {scrub(answer.text, url)}", retriable=False)
