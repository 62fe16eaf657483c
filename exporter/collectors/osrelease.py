"""The distribution, from os-release(5)."""

import re
import shlex
from collections.abc import Iterator, Mapping

from exporter.collectors.base import Host, NoDataError, read_optional, text
from exporter.families import Found, gauge

_FILES = ("/etc/os-release", "/usr/lib/os-release")
_LABELS = (
    "build_id", "id", "id_like", "image_id", "image_version", "name", "pretty_name",
    "variant", "variant_id", "version", "version_codename", "version_id",
)  # fmt: skip
_FEW = ("id", "id_like", "name")
_MAJOR_MINOR = re.compile(r"\d+(?:\.\d+)?")

_INFO = gauge("node_os_info", "What os-release(5) says of the distribution; always 1.", *_LABELS)
_VERSION = gauge("node_os_version", "The distribution's version, as major.minor.", *_FEW)


class OsCollector:
    """node_os_info and node_os_version."""

    name = "os"

    def __init__(self, host: Host) -> None:
        self._host = host
        self._seen: tuple[bytes, list[Found]] | None = None

    def collect(self) -> list[Found]:
        for file in _FILES:
            raw = read_optional(self._host.root(file))
            if raw is None:
                continue
            if self._seen is None or self._seen[0] != raw:  # it changes once in a year
                self._seen = raw, list(families(parse(text(raw))))
            return self._seen[1]
        raise NoDataError(f"none of {', '.join(_FILES)} can be read")


def parse(content: str) -> dict[str, str]:
    """`ID="debian"` → {"id": "debian"}. The file is written as for a shell."""
    values = dict[str, str]()
    for line in content.splitlines():
        name, equals, value = line.strip().partition("=")
        if equals and not name.startswith("#"):
            try:
                values[name.lower()] = "".join(shlex.split(value))
            except ValueError:  # an open quote: better the bare text than no host's name
                values[name.lower()] = value
    return values


def families(values: Mapping[str, str]) -> Iterator[Found]:
    yield _INFO, {tuple(values.get(label, "") for label in _LABELS): 1}
    version = _MAJOR_MINOR.match(values.get("version_id", ""))
    if version:
        yield _VERSION, {tuple(values.get(label, "") for label in _FEW): float(version[0])}
