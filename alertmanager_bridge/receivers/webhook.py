"""A generic webhook: Alertmanager's JSON, version 4."""

from alertmanager_bridge.receiver_config import WebhookConfig
from alertmanager_bridge.receivers.base import JsonPoster, Message, secret_of


class WebhookNotifier:
    """The header Idempotency-Key tells a repeated message from a new one."""

    def __init__(self, config: WebhookConfig, poster: JsonPoster) -> None:
        self._config, self._poster = config, poster

    def notify(self, message: Message) -> None:
        body = dict(message.data)
        limit = self._config.max_alerts
        if limit and len(body["alerts"]) > limit:
            body["truncatedAlerts"] = len(body["alerts"]) - limit
            body["alerts"] = body["alerts"][:limit]
        url = secret_of(self._config.url, self._config.url_file)
        self._poster.post(url, body, {"Idempotency-Key": message.id})
