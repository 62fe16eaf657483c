"""E-mail over SMTP: STARTTLS or TLS from the start, login, text and HTML parts."""

import logging
import smtplib
import socket
import ssl
from contextlib import suppress
from email.errors import HeaderParseError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import formatdate, getaddresses

from alertmanager_bridge.amconfig import GlobalConfig
from alertmanager_bridge.receiver_config import EmailConfig, TlsConfig
from alertmanager_bridge.receivers.base import Message, scrub, secret_of
from alertmanager_bridge.words import About, Words
from fleetpulse.errors import NotifyError
from fleetpulse.gotemplate.nodes import TemplateError

log = logging.getLogger(__name__)

_IMPLICIT_TLS_PORT = 465
_LOCAL = ("localhost", "127.0.0.1", "::1")


class EmailNotifier:
    """common is the global section: it has what config leaves out."""

    def __init__(
        self, config: EmailConfig, common: GlobalConfig, words: Words, *, timeout: float = 10.0
    ) -> None:
        self._config, self._common, self._words, self._timeout = config, common, words, timeout
        smarthost = config.smarthost or common.smtp_smarthost or ""
        self._host, _, port = smarthost.rpartition(":")
        self._host, self._port = self._host.strip("[]"), int(port or 0)
        own_tls = config.require_tls
        self._require_tls = common.smtp_require_tls if own_tls is None else own_tls
        self._username = config.auth_username or common.smtp_auth_username

    def notify(self, message: Message) -> None:
        try:
            mail, sender, recipients = self.compose(message)
        except (TemplateError, ValueError, HeaderParseError) as err:
            raise NotifyError(f"e-mail: {err}", retriable=False) from err
        try:
            smtp = self._connect()
            try:
                refused = self._hand_over(smtp, mail, sender, recipients)
            finally:
                with suppress(smtplib.SMTPException, OSError):
                    smtp.quit()
        except (smtplib.SMTPException, OSError) as err:
            raise self._failure(err) from None
        if refused:
            # The others have it: a retry would send it to them again.
            log.warning("e-mail: %s did not take %s", self._host, ", ".join(sorted(refused)))

    def compose(self, message: Message) -> tuple[EmailMessage, str, list[str]]:
        """The mail, the sender's and the recipients' addresses. ValueError for a bad address."""
        config, words = self._config, self._words.about(message.data)
        headers = {name.title(): text for name, text in config.headers.items()}
        sender = words.fill(config.from_ or self._common.smtp_from or "")
        to = words.fill(config.to)
        mail = EmailMessage(policy=SMTP_POLICY)
        mail["Subject"] = _one_line(
            words.shown("email.default.subject", headers.pop("Subject", None))
        )
        mail["From"] = _one_line(words.fill(headers.pop("From", sender)))
        mail["To"] = _one_line(words.fill(headers.pop("To", to)))
        mail["Date"] = formatdate(message.decided_at)
        # Always the same for the same message: a mail server can tell a repetition.
        mail["Message-ID"] = headers.pop("Message-Id", f"<{message.id}@{socket.gethostname()}>")
        mail["Auto-Submitted"] = "auto-generated"
        for name, text in headers.items():
            mail[name] = _one_line(words.fill(text))
        self._add_parts(mail, words)
        return mail, _addresses(sender)[0], _addresses(to)

    def _add_parts(self, mail: EmailMessage, words: About) -> None:
        text = words.shown("email.default.text", self._config.text)
        page = words.shown("email.default.html", self._config.html, escape=True)
        if text or not page:
            mail.set_content(text)
            if page:
                mail.add_alternative(page, subtype="html")
        else:
            mail.set_content(page, subtype="html")

    def _connect(self) -> smtplib.SMTP:
        hello = self._config.hello or self._common.smtp_hello
        force = self._config.force_implicit_tls
        force = self._common.smtp_force_implicit_tls if force is None else force
        if self._port == _IMPLICIT_TLS_PORT if force is None else force:
            return smtplib.SMTP_SSL(
                self._host, self._port, hello, timeout=self._timeout, context=self._tls()
            )
        smtp = smtplib.SMTP(self._host, self._port, hello, timeout=self._timeout)
        try:
            self._secure(smtp)
        except BaseException:
            smtp.close()
            raise
        return smtp

    def _secure(self, smtp: smtplib.SMTP) -> None:
        smtp.ehlo()
        if self._require_tls:
            if not smtp.has_extn("starttls"):
                raise NotifyError(
                    f"e-mail: {self._host}:{self._port} offers no STARTTLS, which require_tls asks",
                    retriable=True,
                )
            smtp.starttls(context=self._tls())
            smtp.ehlo()

    def _hand_over(
        self, smtp: smtplib.SMTP, mail: EmailMessage, sender: str, recipients: list[str]
    ) -> dict[str, tuple[int, bytes]]:
        smtp.ehlo_or_helo_if_needed()
        if self._username and smtp.has_extn("auth"):
            encrypted = isinstance(smtp.sock, ssl.SSLSocket)
            if not encrypted and self._host not in _LOCAL:
                raise NotifyError(
                    "e-mail: no password is sent over a connection without TLS; "
                    "leave require_tls at true",
                    retriable=False,
                )
            smtp.login(self._username, self._password())
        return smtp.send_message(mail, sender, recipients)

    def _password(self) -> str:
        config, common = self._config, self._common
        if config.auth_password is not None or config.auth_password_file is not None:
            return secret_of(config.auth_password, config.auth_password_file)
        return secret_of(common.smtp_auth_password, common.smtp_auth_password_file)

    def _tls(self) -> ssl.SSLContext:
        config: TlsConfig = self._config.tls_config or self._common.smtp_tls_config
        context = ssl.create_default_context(cafile=config.ca_file)
        if config.insecure_skip_verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if config.cert_file and config.key_file:
            context.load_cert_chain(config.cert_file, config.key_file)
        return context

    def _failure(self, err: Exception) -> NotifyError:
        place = f"e-mail: {self._host}:{self._port}"
        if isinstance(err, smtplib.SMTPRecipientsRefused):
            codes = [code for code, _ in err.recipients.values()]
            said = next(iter(err.recipients.values()))[1]
            retriable = any(code < 500 for code in codes)
            return NotifyError(f"{place}: {codes[0]} {_said(said)}", retriable=retriable)
        if isinstance(err, smtplib.SMTPResponseException):
            # A refused login or greeting is about the server or the password, not about this mail:
            # once that is mended, the mail shall still be there.
            about_us = (smtplib.SMTPAuthenticationError, smtplib.SMTPConnectError)
            retriable = err.smtp_code < 500 or isinstance(err, about_us)
            return NotifyError(
                f"{place}: {err.smtp_code} {_said(err.smtp_error)}", retriable=retriable
            )
        if isinstance(err, smtplib.SMTPNotSupportedError):
            return NotifyError(f"{place}: {err}", retriable=False)
        if isinstance(err, ssl.SSLCertVerificationError):
            return NotifyError(f"{place}: certificate: {err.verify_message}", retriable=True)
        reason = getattr(err, "strerror", None) or str(err) or type(err).__name__
        return NotifyError(f"{place}: {scrub(str(reason))}", retriable=True)


def _said(text: str | bytes) -> str:
    return scrub(text.decode("utf-8", "replace") if isinstance(text, bytes) else text)


def _one_line(text: str) -> str:
    """A header's value: line breaks in it would begin a header of their own."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _addresses(text: str) -> list[str]:
    """The bare addresses in `Ann <ann@example.org>, bob@example.org`."""
    found = [address for _, address in getaddresses([_one_line(text)])]
    for address in found:
        if not address:
            raise ValueError(f"{text!r} holds something that is no address")
        Address(addr_spec=address)
    if not found:
        raise ValueError("there is no address")
    return found
