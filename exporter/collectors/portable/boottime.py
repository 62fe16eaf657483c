"""When this host was started."""

from collections.abc import Callable, Iterator

import psutil

from exporter.families import Found, gauge

BOOT = gauge("node_boot_time_seconds", "When the host was started, in seconds since 1970.", least=0)


class BoottimeCollector:
    name = "boottime"

    def __init__(self, read: Callable[[], float] = psutil.boot_time) -> None:
        self._read = read

    def collect(self) -> Iterator[Found]:
        yield BOOT, self._read()
