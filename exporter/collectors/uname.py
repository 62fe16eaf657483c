"""The kernel's name and version, as uname(2) tells them."""

import os
from collections.abc import Callable, Iterator

from exporter.collectors.base import Host, text
from exporter.families import Found, gauge

_INFO = gauge(
    "node_uname_info",
    "What uname(2) says of the kernel and the host; always 1.",
    "sysname",
    "release",
    "version",
    "machine",
    "nodename",
    "domainname",
)


class UnameCollector:
    """node_uname_info."""

    name = "uname"

    def __init__(self, host: Host, uname: Callable[[], os.uname_result] = os.uname) -> None:
        self._host, self._uname = host, uname

    def collect(self) -> Iterator[Found]:
        name = self._uname()
        # Python's uname leaves out the NIS domain, which Linux adds to POSIX' fields.
        domain = text(self._host.proc("sys/kernel/domainname")).strip()
        key = (name.sysname, name.release, name.version, name.machine, name.nodename, domain)
        yield _INFO, {key: 1}
