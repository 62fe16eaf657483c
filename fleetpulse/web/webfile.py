"""The web configuration file: TLS, client certificates, users, headers, a rate limit.

The format is Prometheus' exporter-toolkit's (docs/web-configuration.md there), so that a file
written for another exporter does. What Python's ssl cannot do is a fault, and never left out.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from fleetpulse.records import Place, ToldError, Within, mapping, optional, path, section, several
from fleetpulse.records import key as field  # the file has a key that is named key
from fleetpulse.values import duration, one_of, switch, text, whole
from fleetpulse.web.http import valid_header
from fleetpulse.web.suites import CURVES, SUITES
from fleetpulse.yamldoc import Secret, secret

# Name → what it may be; None: anything.
_HEADERS: Mapping[str, tuple[str, ...] | None] = {
    "Content-Security-Policy": None,
    "Strict-Transport-Security": None,
    "X-Content-Type-Options": ("nosniff",),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-XSS-Protection": None,
}
_HASH = re.compile(r"\$2[abxy]?\$(\d\d)\$[./A-Za-z0-9]{53}")
_COSTS = range(4, 19)  # 18 takes half a minute

NO_CERTIFICATE = "NoClientCert"
IF_GIVEN = "VerifyClientCertIfGiven"
REQUIRED = "RequireAndVerifyClientCert"
_UNVERIFIED = ("RequestClientCert", "RequireAnyClientCert", "RequireClientCert")
_VERSIONS = ("TLS12", "TLS13")


def _client_auth(value: object) -> str:
    if value in _UNVERIFIED:
        raise ValueError(
            f"{value} asks for a certificate that is not verified, which is not supported; "
            f"write {REQUIRED} or {IF_GIVEN}, with client_ca_file"
        )
    return one_of(NO_CERTIFICATE, IF_GIVEN, REQUIRED)(value)


def _version(value: object) -> str:
    if value in ("TLS10", "TLS11"):
        raise ValueError(f"{value} is not secure and not supported; write TLS12 or TLS13")
    return one_of(*_VERSIONS)(value)


def _curves(value: object, place: Place) -> tuple[str, ...]:
    curves = several(one_of(*CURVES)).read(value, place)
    if len(set(curves)) not in (0, 1, len(CURVES)):
        raise ValueError(
            "Python's TLS takes a single curve; write one, or leave the key out for all of them"
        )
    return curves


@dataclass(frozen=True, slots=True)
class TlsConfig:
    cert: str | None = field(optional(text), None)
    key: Secret | None = field(optional(secret), None)
    client_ca: str | None = field(optional(text), None)
    cert_file: Path | None = field(optional(path), None)
    key_file: Path | None = field(optional(path), None)
    client_auth_type: str | None = field(optional(_client_auth), None)
    client_ca_file: Path | None = field(optional(path), None)
    client_allowed_sans: tuple[str, ...] = field(several(text), ())
    min_version: str = field(_version, "TLS12")
    max_version: str = field(_version, "TLS13")
    cipher_suites: tuple[str, ...] = field(several(one_of(*SUITES)), ())
    prefer_server_cipher_suites: bool = field(switch, True)
    curve_preferences: tuple[str, ...] = field(Within(_curves), ())

    @property
    def enabled(self) -> bool:
        return self != TlsConfig()

    @property
    def verifies(self) -> bool:
        return self.client_auth_type in (IF_GIVEN, REQUIRED)

    @property
    def files(self) -> tuple[Path, ...]:
        return tuple(filter(None, (self.cert_file, self.key_file, self.client_ca_file)))

    def check(self) -> Iterator[tuple[str, str]]:
        if not self.enabled:
            return
        for name in ("cert", "key", "client_ca"):
            inline, file = getattr(self, name), getattr(self, f"{name}_file")
            if inline is not None and file is not None:
                yield name, f"{name}_file is there as well; keep one of the two"
            elif inline is None and file is None and name != "client_ca":
                yield (
                    f"{name}_file",
                    f"missing; TLS needs {name}_file, or {name} with the text itself",
                )
        yield from self._check_clients()
        if self.min_version > self.max_version:
            yield "min_version", f"must not be above max_version, {self.max_version}"

    def _check_clients(self) -> Iterator[tuple[str, str]]:
        if self.verifies:
            return
        what = f"has no effect without client_auth_type: {REQUIRED}"
        for name in ("client_ca", "client_ca_file", "client_allowed_sans"):
            if getattr(self, name):
                yield name, what


def _header_pairs(value: object, place: Place) -> tuple[tuple[str, str], ...]:
    """What is blank is not set."""
    found = mapping(text).read(value, place)
    before = len(place.faults)
    for name, content in found.items():
        if name not in _HEADERS:
            place.at(name).fault(f"cannot be set here; these can: {', '.join(_HEADERS)}")
        elif (choices := _HEADERS[name]) is not None and content not in (*choices, ""):
            place.at(name).fault(f"{content!r} is not possible; write {' or '.join(choices)}")
        elif not valid_header(name, content):
            place.at(name).fault("has a character that no header can have")
    if len(place.faults) > before:
        raise ToldError
    return tuple((name, content) for name, content in found.items() if content)


@dataclass(frozen=True, slots=True)
class HttpConfig:
    # HTTP/2 is an offer, and none of ours: with either value clients speak HTTP/1.1.
    http2: bool = field(switch, True)
    headers: tuple[tuple[str, str], ...] = field(Within(_header_pairs), ())


def _users(value: object, place: Place) -> dict[str, Secret]:
    if not isinstance(value, dict):
        raise ValueError("write a mapping of user names and bcrypt hashes")
    before = len(place.faults)
    for name, written in value.items():
        if (why := _user_fault(name, written)) is not None:
            place.at(name).fault(why)
    if len(place.faults) > before:
        raise ToldError
    return {name: Secret(written) for name, written in value.items()}


def _user_fault(name: object, written: object) -> str | None:
    """What is wrong, without a word of what was written: it may be the password itself."""
    if not isinstance(name, str):
        return f'the name is no text; write it in quotes, as in "{name}"'
    if ":" in name:
        return "a name with a colon can never log in; choose another"
    match = _HASH.fullmatch(written) if isinstance(written, str) else None
    if match is None:
        return "this is no bcrypt hash; make one with `htpasswd -nBC 10 NAME`"
    if int(match[1]) not in _COSTS:
        return f"a cost of {match[1]} is not possible; {_COSTS[0]} to {_COSTS[-1]} are, 10 is usual"
    return None


@dataclass(frozen=True, slots=True)
class RateLimit:
    interval: float = field(duration, 0.0)  # seconds a request, in the long run; 0: no limit
    burst: int = field(whole, 0)

    def check(self) -> Iterator[tuple[str, str]]:
        if self.interval and not self.burst:
            yield "burst", "with 0 no request is ever answered; write how many may come at once"


@dataclass(frozen=True, slots=True)
class WebConfig:
    tls_server_config: TlsConfig = section(TlsConfig)
    http_server_config: HttpConfig = section(HttpConfig)
    basic_auth_users: Mapping[str, Secret] = field(Within(_users), {})
    rate_limit: RateLimit = section(RateLimit)
