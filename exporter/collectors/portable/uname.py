"""The system's name and version."""

import platform
from collections.abc import Callable, Iterator
from typing import Any

from exporter.families import Found, gauge

INFO = gauge(
    "node_uname_info",
    "The system's name and version, as labels.",
    "domainname",
    "machine",
    "nodename",
    "release",
    "sysname",
    "version",
)
_NO_DOMAIN = "(none)"  # Linux' word for it


class UnameCollector:
    name = "uname"

    def __init__(self, read: Callable[[], Any] = platform.uname) -> None:
        self._read = read

    def collect(self) -> Iterator[Found]:
        name = self._read()
        # Only Linux has a name of the domain apart from that of the host.
        node, _, domain = name.node.partition(".")
        key = (domain or _NO_DOMAIN, name.machine, node, name.release, name.system, name.version)
        yield INFO, {key: 1}
