"""Who is let in: the web file's rate limit and users stand before every path."""

import logging
import time
from collections.abc import Callable
from pathlib import Path

from fleetpulse.web.auth import Logins
from fleetpulse.web.http import Headers, Request, Response, text
from fleetpulse.web.rules import Rules, RulesFile
from fleetpulse.web.tls import TlsPipe
from fleetpulse.web.webfile import RateLimit

log = logging.getLogger(__name__)

Clock = Callable[[], float]
Verdict = Callable[[Response | None], None]  # the refusal, or None

_LIMITED = text(429, "too many requests; the rate limit of the web configuration file is reached")
_BUSY = text(503, "too many logins are being checked; try again later", ("Retry-After", "2"))
_UNAUTHORIZED = text(401, "Unauthorized", ("WWW-Authenticate", "Basic"))


class TokenBucket:
    """burst requests at once, and one more each interval seconds; 0 sets no limit."""

    def __init__(self, limit: RateLimit, now: float) -> None:
        self.limit = limit
        self._tokens, self._at = float(limit.burst), now

    def take(self, now: float) -> bool:
        if not self.limit.interval:
            return True
        refill = max(0.0, now - self._at) / self.limit.interval
        self._tokens, self._at = min(self._tokens + refill, float(self.limit.burst)), now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Gate:
    """What a web configuration file asks of clients; nothing, where there is none.

    All but close() on the loop's thread. later: runs a call there, from any thread.
    """

    def __init__(
        self,
        web_file: Path | None,
        later: Callable[[Callable[[], None]], None],
        *,
        logins: Logins | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self._later, self._clock = later, clock
        self._file = RulesFile(web_file, clock) if web_file is not None else None
        self._logins = Logins() if logins is None else logins
        self._rules = Rules()
        self._bucket = TokenBucket(RateLimit(), 0.0)

    def load(self) -> None:
        """ConfigError."""
        if self._file is not None:
            self._adopt(self._file.load())

    def close(self) -> None:
        self._logins.close()

    @property
    def headers(self) -> Headers:
        """What every response has on top of its own."""
        return self._rules.config.http_server_config.headers

    def pipe(self) -> TlsPipe | None:
        """A new connection's TLS."""
        self._look()
        return self._rules.pipe()

    def admit(self, request: Request, verdict: Verdict) -> None:
        """Calls verdict once, now or later."""
        self._look()
        if not self._bucket.take(self._clock()):
            verdict(_LIMITED)
        elif not self._logins.needed:
            verdict(None)
        else:
            self._log_in(request.headers.get("authorization", ""), verdict)

    def _log_in(self, header: str, verdict: Verdict) -> None:
        right = self._logins.remembered(header)
        if right is not None:
            verdict(_ticket(right))
        elif self._logins.busy:
            verdict(_BUSY)
        else:
            self._logins.check(header, lambda right: self._later(lambda: verdict(_ticket(right))))

    def _look(self) -> None:
        if self._file is not None and (rules := self._file.current()) is not self._rules:
            self._adopt(rules)

    def _adopt(self, rules: Rules) -> None:
        self._rules = rules
        self._logins.set_users(rules.config.basic_auth_users)
        if rules.config.rate_limit != self._bucket.limit:
            self._bucket = TokenBucket(rules.config.rate_limit, self._clock())


def _ticket(right: bool) -> Response | None:
    return None if right else _UNAUTHORIZED
