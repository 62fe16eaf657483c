"""Who asks, and whether they may: host and origin, the key, the scope."""

import logging
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

from flask import Flask, Request, Response, g, request

from api.config import ApiConfig
from api.keys import KeyInfo, KeyStore, Scope
from api.respond import Refusal
from fleetpulse.errors import StartError

log = logging.getLogger(__name__)

_LOOPBACK = re.compile(r"localhost|127(?:\.\d{1,3}){3}|::1", re.ASCII)
_MAX_CREDENTIAL = 512
# What a page of an allowed origin may send.
_HEADERS = "Accept, Authorization, Content-Type, Origin, X-API-Key"


@dataclass(frozen=True, slots=True)
class Caller:
    """One request's key, if it brought a good one; bad says that it brought another."""

    key: KeyInfo | None = None
    bad: bool = False

    @property
    def identity(self) -> str:
        """What the rate limit counts by: the key, and the address where there is no good key."""
        return f"key:{self.key.id}" if self.key else f"address:{request.remote_addr}"

    @property
    def log_name(self) -> str:
        return self.key.id if self.key else "-"


def caller() -> Caller:
    """The present request's caller, once identified."""
    found = g.get("caller")
    return found if isinstance(found, Caller) else Caller()


class Gate:
    """The checks before every handler. scopes: endpoint → scope; any other endpoint needs read."""

    def __init__(
        self,
        config: ApiConfig,
        keys: KeyStore,
        *,
        scopes: Mapping[str, Scope],
        open_endpoints: Collection[str],
    ) -> None:
        self._config, self._keys = config, keys
        self._scopes, self._open = scopes, open_endpoints

    def check_start(self) -> None:
        """StartError where the API would serve a network without a single key."""
        if self._config.needs_keys and not self._keys.any_active():
            raise StartError(
                f"listening on {self._config.listen} needs keys and there are none; make one with "
                f"`fleetpulse keys create --scope admin`, or listen on 127.0.0.1"
            )

    def install(self, app: Flask) -> None:
        """Registers identify. authorize comes after the rate limit, so that refusals count."""
        app.before_request(self.identify)
        app.after_request(self.allow_origin)

    def identify(self) -> Response | None:
        if request.endpoint in self._open:
            # Whoever watches over this process asks by its address, whatever names are allowed.
            g.caller = Caller()
            return None
        self._check_host(request)
        self._check_origin(request)
        credential = _credential(request)
        if credential is None:
            g.caller = Caller()
            return self._preflight(request)
        try:
            key = self._keys.authenticate(credential)
        except StartError as err:
            log.error("%s", err)
            raise Refusal(503, "the keys cannot be read; the API's log says why") from None
        g.caller = Caller(key, bad=key is None)
        return None

    def authorize(self) -> None:
        endpoint = request.endpoint or ""
        who = caller()
        if endpoint in self._open:
            return
        if who.bad:
            raise _unauthorized("the key is unknown, expired or revoked")
        scope = self._scopes.get(endpoint, "read")
        if scope == "read" and not self._config.needs_keys:
            return
        if who.key is None:
            raise _unauthorized(f"send a key of scope {scope}, as in Authorization: Bearer fp_…")
        if not who.key.allows(scope):
            raise Refusal(403, f"this needs a key of scope {scope}; yours has {who.key.scope}")

    def allow_origin(self, response: Response) -> Response:
        origin = request.headers.get("Origin")
        if origin is not None and self._config.allows_origin(origin):
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Expose-Headers"] = "Date"
            response.vary.add("Origin")
        return response

    def _check_host(self, req: Request) -> None:
        name = _host_name(req.headers.get("Host", ""))
        if self._config.allowed_hosts:
            good = name in {host.lower() for host in self._config.allowed_hosts}
        elif self._config.listen.is_loopback:
            good = bool(_LOOPBACK.fullmatch(name)) or name == self._config.listen.host
        else:
            good = True
        if not good:
            raise Refusal(403, "this API is not for that host name; see api.allowed_hosts")

    def _check_origin(self, req: Request) -> None:
        """Pages of foreign sites may not even cause work: a browser names where they are from."""
        origin = req.headers.get("Origin")
        if origin is None or self._config.allows_origin(origin):
            return
        if origin.partition("://")[2].lower() != req.headers.get("Host", "").lower():
            raise Refusal(403, "pages of this origin may not ask; see api.cors_origins")

    def _preflight(self, req: Request) -> Response | None:
        asked = "Access-Control-Request-Method" in req.headers and "Origin" in req.headers
        if req.method != "OPTIONS" or not asked:
            return None
        response = Response(status=204)
        response.headers["Access-Control-Allow-Methods"] = "GET, POST, OPTIONS"
        response.headers["Access-Control-Allow-Headers"] = _HEADERS
        response.headers["Access-Control-Max-Age"] = "600"
        return response


@lru_cache(256)  # a client names the same one at every request
def _host_name(host: str) -> str:
    """`NAME:PORT` without the port, in small letters; empty if it is nothing of that form."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _credential(req: Request) -> str | None:
    """The key as sent: Bearer, X-API-Key, or the password of Basic (which Grafana can send)."""
    if "Authorization" in req.headers:
        sent = req.authorization
        if sent is None:
            return ""
        token = sent.password if sent.type == "basic" else sent.token
        return (token or "")[:_MAX_CREDENTIAL]
    header = req.headers.get("X-API-Key")
    return None if header is None else header.strip()[:_MAX_CREDENTIAL]


def _unauthorized(message: str) -> Refusal:
    return Refusal(401, message, headers={"WWW-Authenticate": 'Bearer realm="fleetpulse"'})
