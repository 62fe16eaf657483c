"""The section `exporter.push`: pages sent to the API instead of waiting to be scraped."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from fleetpulse.records import key, mapping, optional, path
from fleetpulse.values import duration, is_label_name, size, text, whole

_PUSH_PATH = "/api/v1/metrics"


def _api_url(value: object) -> str:
    """With the path that takes pushes; empty stays empty."""
    url = text(value).strip()
    if not url:
        return ""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("write the API's URL, as in https://fleetpulse.example.org:8080")
    if parts.username is not None or parts.password is not None:
        raise ValueError("no user or password in the URL; the key belongs in key_file")
    if parts.query or parts.fragment:
        raise ValueError("write the URL without ? and #; what is needed is added")
    where = parts.path.rstrip("/")
    return parts._replace(path=where.removesuffix(_PUSH_PATH) + _PUSH_PATH).geturl()


@dataclass(frozen=True, slots=True)
class PushConfig:
    """Sends the page to the API, for hosts behind NAT."""

    # The API's address, without its path; empty: no push.
    url: str = key(_api_url, "")
    # Holds a key of scope push; read anew for each page.
    key_file: Path | None = key(optional(path), None)
    # How often a page is made, and how long the API may take to answer.
    interval: float = key(duration, 10.0, least="1s")
    timeout: float = key(duration, 10.0, more_than="0s")
    # The name under which the API knows this host; empty: the host's own.
    server: str = key(text, "")
    # Unsent pages kept on disk, by number, bytes and age; then the oldest are dropped and counted.
    spool_pages: int = key(whole, 1000, least=1, most=1_000_000)
    spool_max_bytes: int = key(size, 100 << 20, least="1MB")
    spool_max_age: float = key(duration, 7 * 86_400.0, least="1m")
    # Added to every series, where the page itself has no such label.
    labels: dict[str, str] = key(mapping(text), {})
    # Certificate authority of the API's certificate, where the system does not know it.
    ca_file: Path | None = key(optional(path), None)

    def check(self) -> Iterator[tuple[str, str]]:
        if self.url and self.key_file is None:
            yield "", "push needs key_file, a file with a key of scope push"
        for name in self.labels:
            if not is_label_name(name) or name.startswith("__"):
                yield "labels", f"{name!r} is no label name; write letters, digits and _"
            elif name in ("job", "instance"):
                yield "labels", f"{name} is set by the API; for the host's name use server"

    def server_name(self) -> str:
        import socket

        return self.server or socket.gethostname()
