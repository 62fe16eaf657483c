"""State of network devices, from /sys/class/net: psutil knows four of these properties.

Documentation/ABI/testing/sysfs-class-net of the kernel.
"""

import re
from collections.abc import Iterator, Mapping

from exporter.collectors.base import Host, integer, text
from exporter.families import Family, Found, counter, gauge
from exporter.filters import Filter

_FOLDER = "class/net"
_MEGABIT = 1_000_000 // 8  # speed is in Mbit/s, the metric in bytes a second


def _property(name: str, help_text: str) -> Family:
    if name.endswith("_total"):
        return counter(f"node_network_{name}", help_text, "device")
    # The kernel says -1 for a speed it does not know, and node_exporter's users expect to see it.
    least = -_MEGABIT if name == "speed_bytes" else None
    return gauge(f"node_network_{name}", help_text, "device", least=least)


# The file, and the metric that comes from it.
_PROPERTIES = {
    "addr_assign_type": _property(
        "address_assign_type",
        "Where the address comes from: 0 permanent, 1 random, 2 stolen, 3 set.",
    ),
    "carrier": _property("carrier", "Whether the link is there (1) or not (0)."),
    "carrier_changes": _property("carrier_changes_total", "Times that the link came or went."),
    "carrier_down_count": _property("carrier_down_changes_total", "Times that the link went."),
    "carrier_up_count": _property("carrier_up_changes_total", "Times that the link came."),
    "dev_id": _property("device_id", "Number that tells devices of one address apart."),
    "dormant": _property("dormant", "Whether the device waits for something, as for a log-in."),
    "flags": _property("flags", "The device's flags, as of netdevice(7), as a number."),
    "ifindex": _property("iface_id", "The kernel's number of the device."),
    "iflink": _property("iface_link", "The kernel's number of the device that this one is on."),
    "link_mode": _property("iface_link_mode", "How the link comes up: 0 by default, 1 dormant."),
    "mtu": _property("mtu_bytes", "The largest packet that the device takes, in bytes."),
    "name_assign_type": _property(
        "name_assign_type",
        "Where the name comes from: 1 the kernel, 2 predictable, 3 a program, 4 renamed.",
    ),
    "netdev_group": _property("net_dev_group", "The group that the device was put into."),
    "type": _property("protocol_type", "The link's protocol, as a number of if_arp.h."),
    "speed": _property("speed_bytes", "The link's speed in bytes a second; negative: not known."),
    "tx_queue_len": _property("transmit_queue_length", "Packets that the send queue can hold."),
}
_INFO_FILES = ("address", "broadcast", "duplex", "ifalias", "operstate")
_UP = gauge("node_network_up", "Whether the device's operstate is up (1) or not (0).", "device")
_INFO = gauge(
    "node_network_info", "What the device is told by in words; always 1.", "device", *_INFO_FILES
)

Files = Mapping[str, bytes]


class NetclassCollector:
    """node_network_up, node_network_info and the device's properties."""

    name = "netclass"

    def __init__(
        self,
        host: Host,
        ignored: re.Pattern[str] | None = None,
        ignore_invalid_speed: bool = False,
    ) -> None:
        self._host, self._wanted = host, Filter(exclude=ignored)
        self._ignore_invalid_speed = ignore_invalid_speed
        self._paths: dict[str, list[tuple[str, str]]] = {}
        self._told: tuple[Mapping[str, Files] | None, list[Found]] = (None, [])

    def collect(self) -> list[Found]:
        devices = [name for name in self._host.sys_devices(_FOLDER) if self._wanted(name)]
        if self._paths.keys() != set(devices):
            names = (*_PROPERTIES, *_INFO_FILES)
            self._paths = {
                device: [(name, f"{_FOLDER}/{device}/{name}") for name in names]
                for device in devices
            }
        # Some cannot be read while the link is down; then the property is left out.
        files = {device: self._host.sys_each(paths) for device, paths in self._paths.items()}
        if files != self._told[0]:  # a device hardly ever changes its state
            self._told = files, list(families(files, self._ignore_invalid_speed))
        return self._told[1]


def families(devices: Mapping[str, Files], ignore_invalid_speed: bool = False) -> Iterator[Found]:
    """From the content of each device's files. bonding_masters and its like have none."""
    told = {(device,): files for device, files in devices.items() if files}
    yield _UP, {key: int(files.get("operstate") == b"up") for key, files in told.items()}
    yield (
        _INFO,
        {
            (*key, *(text(files.get(name, b"")) for name in _INFO_FILES)): 1
            for key, files in told.items()
        },
    )
    for file, family in _PROPERTIES.items():
        numbers: dict[tuple[str, ...], float] = {
            key: integer(files[file]) for key, files in told.items() if files.get(file)
        }
        if file == "speed":
            numbers = {
                key: speed * _MEGABIT
                for key, speed in numbers.items()
                if speed >= 0 or not ignore_invalid_speed
            }
        yield family, numbers
