"""The web configuration file in force: read at the start, and again whenever it changes."""

import logging
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from fleetpulse.errors import ConfigError
from fleetpulse.records import read_record
from fleetpulse.service import Stamp, stamp
from fleetpulse.web.context import make_context, unwanted
from fleetpulse.web.tls import TlsPipe
from fleetpulse.web.webfile import WebConfig
from fleetpulse.yamldoc import Document, in_order, read_text

log = logging.getLogger(__name__)

_LOOK_EVERY = 1.0  # seconds

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Rules:
    """What a file says, ready for use. Without a file: all defaults."""

    config: WebConfig = field(default_factory=WebConfig)
    context: ssl.SSLContext | None = None

    def pipe(self) -> TlsPipe | None:
        """A new connection's TLS, where it has to have it."""
        if self.context is None:
            return None
        allowed = self.config.tls_server_config.client_allowed_sans
        return TlsPipe(self.context, lambda tls: unwanted(tls, allowed))


def load_rules(path: Path) -> Rules:
    """ConfigError with every fault of the file, its certificates and keys included."""
    return _made(*_parsed(path))


def _parsed(path: Path) -> tuple[Document, WebConfig]:
    document = Document.parse(read_text(path), str(path))
    return document, read_record(WebConfig, document, base=path.parent)


def _made(document: Document, config: WebConfig) -> Rules:
    tls = config.tls_server_config
    if not tls.enabled:
        return Rules(config)
    context, faults = make_context(tls)
    if faults:
        raise ConfigError(
            in_order(document.fault(("tls_server_config", name), why) for name, why in faults)
        )
    return Rules(config, context)


class RulesFile:
    """The rules of a file, looked at once a second at most, when somebody asks for them.

    A new file that is wrong leaves the old one in force, and is told once. So does one that has
    lost its TLS or all its users: while a file is being written, it is empty for a moment.
    """

    def __init__(self, path: Path, clock: Clock = time.monotonic) -> None:
        self._path, self._clock = path, clock
        self._files: tuple[Path, ...] = ()  # certificates and keys
        self._seen: Stamp = {}
        self._rules = Rules()
        self._next_look = 0.0

    def load(self) -> Rules:
        """For the start. ConfigError."""
        self._rules = self._read()
        self._next_look = self._clock() + _LOOK_EVERY
        return self._rules

    def current(self) -> Rules:
        now = self._clock()
        if now >= self._next_look:
            self._next_look = now + _LOOK_EVERY
            if stamp([self._path, *self._files]) != self._seen:
                self._renew()
        return self._rules

    def _renew(self) -> None:
        try:
            rules = self._read()
            lost = _lost(self._rules.config, rules.config)
            if lost:
                raise ConfigError([f"{self._path}:1: {key}: {_LOST}" for key in lost])
        except ConfigError as err:
            log.error("the web configuration stays as it was; the new one is wrong:\n%s", err)
        else:
            log.info("%s and its certificates were read anew", self._path)
            self._rules = rules

    def _read(self) -> Rules:
        """What is read has been stamped before: a change meanwhile is seen at the next look."""
        own = stamp([self._path])
        self._seen = own | stamp(self._files)
        document, config = _parsed(self._path)
        self._files = config.tls_server_config.files
        self._seen = own | stamp(self._files)
        return _made(document, config)


_LOST = "is no longer there; restart to serve without it"


def _lost(old: WebConfig, new: WebConfig) -> list[str]:
    lost = []
    if old.tls_server_config.enabled and not new.tls_server_config.enabled:
        lost.append("tls_server_config")
    if old.basic_auth_users and not new.basic_auth_users:
        lost.append("basic_auth_users")
    return lost
