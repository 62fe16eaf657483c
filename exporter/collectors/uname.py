"""The kernel's name and version, as uname(2) tells them."""

import os
from collections.abc import Callable, Iterator

from exporter.collectors.base import Host, text
from fleetpulse.model import MetricFamily, gauge


class UnameCollector:
    """node_uname_info."""

    name = "uname"

    def __init__(self, host: Host, uname: Callable[[], os.uname_result] = os.uname) -> None:
        self._host, self._uname = host, uname

    def collect(self) -> Iterator[MetricFamily]:
        # Python's uname leaves out the NIS domain, which Linux adds to POSIX' fields.
        domain = self._host.proc("sys/kernel/domainname")
        yield info(self._uname(), text(domain).strip())


def info(name: os.uname_result, domain: str) -> MetricFamily:
    help_text = "Labeled system information as provided by the uname system call."
    return gauge("node_uname_info", help_text).add(
        1,
        sysname=name.sysname,
        release=name.release,
        version=name.version,
        machine=name.machine,
        nodename=name.nodename,
        domainname=domain,
    )
