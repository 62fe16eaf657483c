"""From the configured receivers to the objects that reach them."""

from collections.abc import Sequence
from dataclasses import dataclass

from alertmanager_bridge.amconfig import AlertmanagerFile, ReceiverConfig
from alertmanager_bridge.receiver_config import HttpConfig
from alertmanager_bridge.receivers.base import JsonPoster, Notifier
from alertmanager_bridge.receivers.email import EmailNotifier
from alertmanager_bridge.receivers.slack import SlackNotifier
from alertmanager_bridge.receivers.webhook import WebhookNotifier
from alertmanager_bridge.words import Words, read_templates

_TIMEOUT, _LONGEST_TIMEOUT = 10.0, 60.0  # seconds for one attempt


@dataclass(frozen=True, slots=True)
class Integration:
    """One way to one receiver, such as the first of its slack_configs."""

    receiver: str
    kind: str
    index: int
    send_resolved: bool
    notifier: Notifier

    @property
    def name(self) -> str:
        return f"{self.kind}[{self.index}]"

    @property
    def queue(self) -> str:
        """Names the integration in the database."""
        return f"{self.receiver}/{self.name}"


def build_integrations(config: AlertmanagerFile) -> dict[str, list[Integration]]:
    """All integrations by receiver's name. ConfigError for a template file that is none."""
    words = Words(read_templates(config.templates))
    return {
        receiver.name: [
            *_slack(receiver, config, words),
            *_email(receiver, config, words),
            *_webhook(receiver, config),
        ]
        for receiver in config.receivers
    }


def _poster(own: HttpConfig | None, config: AlertmanagerFile, timeout: float) -> JsonPoster:
    http = own if own is not None else config.global_.http_config
    return JsonPoster(http, timeout=min(timeout or _TIMEOUT, _LONGEST_TIMEOUT))


def _slack(
    receiver: ReceiverConfig, config: AlertmanagerFile, words: Words
) -> Sequence[Integration]:
    common = config.global_
    return [
        Integration(
            receiver.name,
            "slack",
            index,
            one.send_resolved,
            SlackNotifier(
                one,
                _poster(one.http_config, config, one.timeout),
                words,
                common.slack_api_url,
                common.slack_api_url_file,
            ),
        )
        for index, one in enumerate(receiver.slack_configs)
    ]


def _email(
    receiver: ReceiverConfig, config: AlertmanagerFile, words: Words
) -> Sequence[Integration]:
    return [
        Integration(
            receiver.name,
            "email",
            index,
            one.send_resolved,
            EmailNotifier(one, config.global_, words, timeout=_TIMEOUT),
        )
        for index, one in enumerate(receiver.email_configs)
    ]


def _webhook(receiver: ReceiverConfig, config: AlertmanagerFile) -> Sequence[Integration]:
    return [
        Integration(
            receiver.name,
            "webhook",
            index,
            one.send_resolved,
            WebhookNotifier(one, _poster(one.http_config, config, one.timeout)),
        )
        for index, one in enumerate(receiver.webhook_configs)
    ]
