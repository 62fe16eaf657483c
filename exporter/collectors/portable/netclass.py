"""What network interfaces are: up or down, their speed, their largest packet."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import psutil

from exporter.collectors.portable.wanted import Wanted, every
from exporter.families import Found, gauge

UP = gauge("node_network_up", "Whether the interface can be used (1) or not (0).", "device")
SPEED = gauge("node_network_speed_bytes", "Speed of the link, in bytes a second.", "device")
MTU = gauge("node_network_mtu_bytes", "The largest packet that the link takes.", "device")

_BYTES_OF_MEGABIT = 1_000_000 // 8


class NetclassCollector:
    name = "netclass"

    def __init__(
        self,
        wanted: Wanted = every,
        read: Callable[[], Mapping[str, Any]] = psutil.net_if_stats,
    ) -> None:
        self._wanted, self._read = wanted, read

    def collect(self) -> Iterator[Found]:
        yield from told(self._read(), self._wanted)


def told(nics: Mapping[str, Any], wanted: Wanted) -> Iterator[Found]:
    kept = {(name,): nics[name] for name in nics if wanted(name)}
    yield UP, {key: int(nic.isup) for key, nic in kept.items()}
    # psutil's word for a speed that it cannot know is 0.
    yield SPEED, {key: nic.speed * _BYTES_OF_MEGABIT for key, nic in kept.items() if nic.speed > 0}
    yield MTU, {key: nic.mtu for key, nic in kept.items() if nic.mtu > 0}
