"""E-mail against a real SMTP server on loopback."""

import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from ssl import PROTOCOL_TLS_SERVER, SSLContext
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

from alertmanager_bridge.receivers.base import Message, Notifier
from alertmanager_bridge.receivers.email import EmailNotifier
from fleetpulse.errors import NotifyError
from tests.bridge_fakes import START, alert, built, make_certificate, message
from tests.support import free_port


class Mailbox:
    """An SMTP server that keeps envelopes; answers replies first, then takes everything."""

    def __init__(self, *replies: str) -> None:
        self.envelopes: list[Any] = []
        self.logins: list[tuple[bytes, bytes]] = []
        self._replies = list(replies)

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any
    ) -> str:
        if "unknown" in address:
            return "550 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        if self._replies:
            return self._replies.pop(0)
        envelope.encrypted = session.ssl is not None
        self.envelopes.append(envelope)
        return "250 OK"

    def login(
        self, _server: Any, _session: Any, _envelope: Any, _mechanism: str, data: LoginPassword
    ) -> AuthResult:
        self.logins.append((data.login, data.password))
        return AuthResult(success=data.password == b"right", handled=False)

    def mail(self) -> EmailMessage:
        (envelope,) = self.envelopes
        parsed = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(parsed, EmailMessage)
        return parsed


@contextmanager
def smtp_server(mailbox: Mailbox, **options: Any) -> Iterator[int]:
    port = free_port()
    controller = Controller(mailbox, hostname="127.0.0.1", port=port, **options)
    logging.getLogger("mail.log").setLevel(logging.ERROR)
    controller.start()
    try:
        yield port
    finally:
        controller.stop()


def email(port: int, more: str = "", to: str = "ann@example.org") -> Notifier:
    return built(
        f"email_configs: [{{to: '{to}', from: 'FleetPulse <fp@example.org>',"
        f" smarthost: '127.0.0.1:{port}' {more}}}]"
    )


def compose(notifier: Notifier, sent: Message) -> tuple[EmailMessage, str, list[str]]:
    assert isinstance(notifier, EmailNotifier)
    return notifier.compose(sent)


@pytest.mark.integration
def test_a_mail_in_our_own_words() -> None:
    mailbox = Mailbox()
    with smtp_server(mailbox) as port:
        notifier = email(port, ", require_tls: false", to="Ann <ann@example.org>, bob@example.org")
        sent = message(alert(host="<web>"), alert(host="b", at=START - 60, ends=START - 1))
        notifier.notify(sent)
    mail = mailbox.mail()
    assert mailbox.envelopes[0].mail_from == "fp@example.org"
    assert mailbox.envelopes[0].rcpt_tos == ["ann@example.org", "bob@example.org"]
    assert mail["Subject"] == "[FIRING:1] Down"
    assert mail["To"] == "Ann <ann@example.org>, bob@example.org"
    assert sent.id in mail["Message-ID"]
    assert mail["Auto-Submitted"] == "auto-generated"
    text, html = mail.get_body(("plain",)), mail.get_body(("html",))
    assert text is not None
    assert html is not None
    assert "host = <web>" in text.get_content()
    assert "Firing: 1" in text.get_content()
    assert "Resolved: 1" in text.get_content()
    assert "&lt;web&gt;" in html.get_content()
    assert "<web>" not in html.get_content()


def test_users_words_and_headers() -> None:
    notifier = email(
        25,
        ", headers: {subject: '{{ .CommonLabels.host }} {{ .Status }}', X-Team: ops},"
        " html: '<b>{{ .CommonLabels.host }}</b>', text: ''",
    )
    mail, _, _ = compose(notifier, message(alert(host="a<b")))
    assert (mail["Subject"], mail["X-Team"]) == ("a<b firing", "ops")
    assert mail.get_content_type() == "text/html"
    assert mail.get_content().strip() == "<b>a&lt;b</b>"


def test_a_mail_about_very_many_alerts_stays_readable() -> None:
    mail, _, _ = compose(email(25), message(*(alert(host=f"h{n}") for n in range(3000))))
    text = mail.get_body(("plain",))
    assert text is not None
    assert "… and 2900 more." in text.get_content()
    assert len(mail.as_bytes()) < 1 << 20


def test_labels_cannot_add_headers_or_recipients() -> None:
    notifier = email(25, ", headers: {Subject: '{{ .CommonLabels.host }}'}")
    evil = "x\r\nBcc: evil@example.org\r\n\r\nbody"
    mail, _, recipients = compose(notifier, message(alert(host=evil)))
    assert mail["Bcc"] is None
    assert mail["Subject"] == "x Bcc: evil@example.org body"
    assert recipients == ["ann@example.org"]
    assert b"\r\nBcc:" not in mail.as_bytes().partition(b"\r\n\r\n")[0]


@pytest.mark.parametrize("to", ["{{ .CommonLabels.none }}", "nobody", "a@b@c", "a@b, ,"])
def test_a_bad_address_is_not_retried(to: str) -> None:
    with pytest.raises(NotifyError, match="e-mail") as caught:
        email(25, to=to).notify(message())
    assert not caught.value.retriable


REFUSALS = [
    pytest.param(("451 later",), "ann@example.org", True, "451 later", id="later"),
    pytest.param(("554 spam",), "ann@example.org", False, "554 spam", id="never"),
    pytest.param((), "unknown@example.org", False, "550 no such user", id="unknown"),
]


@pytest.mark.integration
@pytest.mark.parametrize(("replies", "to", "retriable", "said"), REFUSALS)
def test_refusals_of_the_mail_server(
    replies: Sequence[str], to: str, retriable: bool, said: str
) -> None:
    with smtp_server(Mailbox(*replies)) as port, pytest.raises(NotifyError) as caught:
        email(port, ", require_tls: false", to=to).notify(message())
    assert (caught.value.retriable, said in str(caught.value)) == (retriable, True)


@pytest.mark.integration
def test_one_unknown_recipient_does_not_keep_the_mail_from_the_others() -> None:
    mailbox = Mailbox()
    with smtp_server(mailbox) as port:
        to = "ann@example.org, unknown@example.org"
        email(port, ", require_tls: false", to=to).notify(message())
    assert mailbox.envelopes[0].rcpt_tos == ["ann@example.org"]


@pytest.mark.integration
def test_without_starttls_nothing_is_sent() -> None:
    mailbox = Mailbox()
    with smtp_server(mailbox) as port, pytest.raises(NotifyError, match="STARTTLS") as caught:
        email(port).notify(message())
    assert caught.value.retriable
    assert mailbox.envelopes == []


@pytest.mark.integration
def test_no_mail_server() -> None:
    with pytest.raises(NotifyError, match="refused") as caught:
        email(free_port()).notify(message())
    assert caught.value.retriable


needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, SSLContext]:
    cert, key = make_certificate(tmp_path)
    context = SSLContext(PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return cert, context


@needs_openssl
@pytest.mark.integration
def test_starttls_and_login(certificate: tuple[Path, SSLContext]) -> None:
    cert, context = certificate
    mailbox = Mailbox()
    with smtp_server(mailbox, tls_context=context, authenticator=mailbox.login) as port:
        login = f", tls_config: {{ca_file: '{cert}'}}, auth_username: me, auth_password: "
        email(port, login + "right").notify(message())
        with pytest.raises(NotifyError, match="535") as caught:
            email(port, login + "wrong").notify(message())
        with pytest.raises(NotifyError, match="certificate"):
            email(port, ", auth_username: me, auth_password: right").notify(message())
    assert caught.value.retriable  # once the password is mended, the mail is still there
    assert "wrong" not in str(caught.value)
    assert mailbox.logins[0] == (b"me", b"right")
    assert [envelope.encrypted for envelope in mailbox.envelopes] == [True]
    # No password went to the server whose certificate was not accepted.
    assert {password for _, password in mailbox.logins[1:]} == {b"wrong"}


@needs_openssl
@pytest.mark.integration
def test_tls_from_the_start(certificate: tuple[Path, SSLContext]) -> None:
    cert, context = certificate
    mailbox = Mailbox()
    with smtp_server(mailbox, ssl_context=context) as port:
        config = f", force_implicit_tls: true, tls_config: {{ca_file: '{cert}'}}"
        email(port, config).notify(message())
    assert len(mailbox.envelopes) == 1


@needs_openssl
@pytest.mark.integration
def test_global_settings_fill_in(certificate: tuple[Path, SSLContext]) -> None:
    _, context = certificate
    mailbox = Mailbox()
    with smtp_server(mailbox, tls_context=context, authenticator=mailbox.login) as port:
        head = (
            f"global: {{smtp_smarthost: '127.0.0.1:{port}', smtp_from: fp@example.org,"
            " smtp_auth_username: me, smtp_auth_password: right,"
            " smtp_tls_config: {insecure_skip_verify: true}}"
        )
        built("email_configs: [{to: ann@example.org}]", head).notify(message())
    assert mailbox.logins == [(b"me", b"right")]
