"""The parts of Alertmanager's file that say how a receiver is reached, and with what words."""

from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator

from alertmanager_bridge.notyet import (
    EmailNotYet,
    HttpNotYet,
    Lenient,
    SlackNotYet,
    TlsNotYet,
    WebhookNotYet,
)
from alertmanager_bridge.template_set import check_template
from fleetpulse.yamlconf import Duration, FilePath, Secret


def _text(value: object) -> object:
    """Numbers become text; what YAML took for true, false or a fraction is asked back."""
    if isinstance(value, (bool, float)):
        raise ValueError(f"YAML reads this as {value!r}; put the text in quotes")
    return str(value) if isinstance(value, int) else value


def _http_url(value: Any) -> Any:
    secret = isinstance(value, SecretStr)
    parts = urlsplit(value.get_secret_value() if secret else value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        # The text itself is not repeated: a webhook's URL is its password.
        raise ValueError("write a URL that begins with http:// or https://")
    return value


def _host_port(value: str) -> str:
    host, colon, port = value.rpartition(":")
    if not colon or not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"{value!r} is no address; write HOST:PORT, as in mail.example.org:587")
    return value


Text = Annotated[str, BeforeValidator(_text)]
Template = Annotated[Text, AfterValidator(check_template)]
Url = Annotated[str, AfterValidator(_http_url)]
SecretUrl = Annotated[SecretStr, AfterValidator(_http_url)]
HostPort = Annotated[str, AfterValidator(_host_port)]


def at_most_one(section: Lenient, *names: str) -> None:
    """ValueError where more than one of the keys is set."""
    if sum(getattr(section, name) is not None for name in names) > 1:
        raise ValueError(f"at most one of {' and '.join(names)} may be set")


class TlsConfig(TlsNotYet):
    ca_file: FilePath | None = None
    cert_file: FilePath | None = None
    key_file: FilePath | None = None
    insecure_skip_verify: bool = False

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file go together; set both or none")
        return self


class BasicAuth(Lenient):
    username: Text = ""
    password: Secret | None = None
    password_file: FilePath | None = None

    @model_validator(mode="after")
    def _once(self) -> Self:
        at_most_one(self, "password", "password_file")
        return self


class Authorization(Lenient):
    type: str = "Bearer"
    credentials: Secret | None = None
    credentials_file: FilePath | None = None

    @model_validator(mode="after")
    def _once(self) -> Self:
        at_most_one(self, "credentials", "credentials_file")
        if self.type.lower() == "basic":
            raise ValueError("type basic is written with basic_auth")
        return self


class HttpConfig(HttpNotYet):
    """How an HTTP receiver is called. Redirects are never followed: they would carry secrets."""

    basic_auth: BasicAuth | None = None
    authorization: Authorization | None = None
    bearer_token: Secret | None = None
    bearer_token_file: FilePath | None = None
    tls_config: TlsConfig = TlsConfig()
    proxy_url: Url | None = None
    follow_redirects: bool = False
    enable_http2: bool = True

    @model_validator(mode="after")
    def _once(self) -> Self:
        at_most_one(self, "basic_auth", "authorization", "bearer_token", "bearer_token_file")
        return self


class SlackField(Lenient):
    title: Template
    value: Template
    short: bool | None = None


class SlackConfirm(Lenient):
    text: Template
    title: Template = ""
    ok_text: Template = ""
    dismiss_text: Template = ""


class SlackAction(Lenient):
    type: Template
    text: Template
    url: Template = ""
    style: Template = ""
    name: Template = ""
    value: Template = ""
    confirm: SlackConfirm | None = None

    @model_validator(mode="after")
    def _target(self) -> Self:
        if not self.url and not self.name:
            raise ValueError("an action needs a url or a name")
        return self


class SlackConfig(SlackNotYet):
    """Templates that are None are the bridge's own words."""

    send_resolved: bool = False
    api_url: SecretUrl | None = None
    api_url_file: FilePath | None = None
    http_config: HttpConfig | None = None
    timeout: Duration = 0.0
    channel: Template = ""
    username: Template | None = None
    color: Template | None = None
    title: Template | None = None
    title_link: Template | None = None
    pretext: Template = ""
    text: Template | None = None
    fields: list[SlackField] = Field(default=[])
    short_fields: bool = False
    footer: Template = ""
    fallback: Template | None = None
    callback_id: Template = ""
    icon_emoji: Template = ""
    icon_url: Template = ""
    image_url: Template = ""
    thumb_url: Template = ""
    link_names: bool = False
    mrkdwn_in: list[str] = Field(default=["fallback", "pretext", "text"])
    actions: list[SlackAction] = Field(default=[])

    @model_validator(mode="after")
    def _once(self) -> Self:
        at_most_one(self, "api_url", "api_url_file")
        return self


class EmailConfig(EmailNotYet):
    """What is None comes from the file's global section, or is the bridge's own words."""

    send_resolved: bool = False
    to: Template = Field(min_length=1)
    from_: Template | None = Field(default=None, alias="from")
    hello: str | None = None
    smarthost: HostPort | None = None
    auth_username: str | None = None
    auth_password: Secret | None = None
    auth_password_file: FilePath | None = None
    headers: dict[str, Template] = Field(default={})
    html: Template | None = None
    text: Template | None = None
    require_tls: bool | None = None
    force_implicit_tls: bool | None = None
    tls_config: TlsConfig | None = None

    @model_validator(mode="after")
    def _sound(self) -> Self:
        at_most_one(self, "auth_password", "auth_password_file")
        names = [name.lower() for name in self.headers]
        for name in self.headers:
            if names.count(name.lower()) > 1:
                raise ValueError(f"the header {name} is there twice")
            if not name.isascii() or not name.isprintable() or ":" in name or " " in name:
                raise ValueError(f"{name!r} is no header name")
        return self


class WebhookConfig(WebhookNotYet):
    send_resolved: bool = True
    url: SecretUrl | None = None
    url_file: FilePath | None = None
    http_config: HttpConfig | None = None
    max_alerts: int = Field(default=0, ge=0)
    timeout: Duration = 0.0

    @model_validator(mode="after")
    def _one(self) -> Self:
        at_most_one(self, "url", "url_file")
        if self.url is None and self.url_file is None:
            raise ValueError("one of url and url_file must be set")
        return self
