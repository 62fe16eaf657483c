"""Keys that Alertmanager knows and the bridge does not yet: each is a fault that says so."""

from typing import Annotated, Any

from pydantic import BeforeValidator, model_validator

from fleetpulse.yamlconf import Section


def _not_yet(_value: object) -> object:
    raise ValueError("not supported yet; leave this key out")


NotYet = Annotated[Any, BeforeValidator(_not_yet)]


class Lenient(Section):
    """A section in which a key without a value counts as left out, as in Alertmanager."""

    @model_validator(mode="before")
    @classmethod
    def _without_nothing(cls, data: object) -> object:
        if data is None:
            return {}
        if isinstance(data, dict):
            return {key: value for key, value in data.items() if value is not None}
        return data


class GlobalNotYet(Lenient):
    smtp_auth_secret: NotYet = None
    smtp_auth_secret_file: NotYet = None
    smtp_auth_identity: NotYet = None
    slack_app_token: NotYet = None
    slack_app_token_file: NotYet = None
    slack_app_url: NotYet = None
    pagerduty_url: NotYet = None
    opsgenie_api_url: NotYet = None
    opsgenie_api_key: NotYet = None
    opsgenie_api_key_file: NotYet = None
    wechat_api_url: NotYet = None
    wechat_api_secret: NotYet = None
    wechat_api_secret_file: NotYet = None
    wechat_api_corp_id: NotYet = None
    victorops_api_url: NotYet = None
    victorops_api_key: NotYet = None
    victorops_api_key_file: NotYet = None
    telegram_api_url: NotYet = None
    telegram_bot_token: NotYet = None
    telegram_bot_token_file: NotYet = None
    webex_api_url: NotYet = None
    jira_api_url: NotYet = None
    rocketchat_api_url: NotYet = None
    rocketchat_token: NotYet = None
    rocketchat_token_file: NotYet = None
    rocketchat_token_id: NotYet = None
    rocketchat_token_id_file: NotYet = None
    mattermost_webhook_url: NotYet = None
    mattermost_webhook_url_file: NotYet = None


class FileNotYet(Lenient):
    time_intervals: NotYet = None
    mute_time_intervals: NotYet = None
    tracing: NotYet = None
    event_recorder: NotYet = None


class RouteNotYet(Lenient):
    mute_time_intervals: NotYet = None
    active_time_intervals: NotYet = None
    labels: NotYet = None


class ReceiverNotYet(Lenient):
    labels: NotYet = None
    discord_configs: NotYet = None
    incidentio_configs: NotYet = None
    jira_configs: NotYet = None
    mattermost_configs: NotYet = None
    msteams_configs: NotYet = None
    msteamsv2_configs: NotYet = None
    opsgenie_configs: NotYet = None
    pagerduty_configs: NotYet = None
    pushover_configs: NotYet = None
    rocketchat_configs: NotYet = None
    sns_configs: NotYet = None
    telegram_configs: NotYet = None
    victorops_configs: NotYet = None
    webex_configs: NotYet = None
    wechat_configs: NotYet = None


class SlackNotYet(Lenient):
    app_token: NotYet = None
    app_token_file: NotYet = None
    app_url: NotYet = None
    update_message: NotYet = None
    message_text: NotYet = None


class EmailNotYet(Lenient):
    auth_secret: NotYet = None
    auth_secret_file: NotYet = None
    auth_identity: NotYet = None
    threading: NotYet = None


class WebhookNotYet(Lenient):
    payload: NotYet = None


class HttpNotYet(Lenient):
    oauth2: NotYet = None
    no_proxy: NotYet = None
    proxy_from_environment: NotYet = None
    proxy_connect_header: NotYet = None
    http_headers: NotYet = None


class TlsNotYet(Lenient):
    ca: NotYet = None
    cert: NotYet = None
    key: NotYet = None
    key_ref: NotYet = None
    cert_ref: NotYet = None
    ca_ref: NotYet = None
    server_name: NotYet = None
    min_version: NotYet = None
    max_version: NotYet = None
