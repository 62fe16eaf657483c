"""The clock, and the time zone."""

import time
from collections.abc import Callable, Iterator

from exporter.families import Found, gauge

NOW = gauge("node_time_seconds", "Seconds since 1970, by this host's clock.")
ZONE = gauge(
    "node_time_zone_offset_seconds", "How far local time is ahead of UTC, in seconds.", "time_zone"
)


class TimeCollector:
    name = "time"

    def __init__(
        self,
        clock: Callable[[], float] = time.time,
        local: Callable[[float], time.struct_time] = time.localtime,
    ) -> None:
        self._clock, self._local = clock, local

    def collect(self) -> Iterator[Found]:
        now = self._clock()
        local = self._local(now)
        yield NOW, now
        yield ZONE, {(local.tm_zone,): local.tm_gmtoff}
