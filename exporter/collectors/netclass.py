"""State of network devices, from /sys/class/net: psutil knows four of these properties.

Documentation/ABI/testing/sysfs-class-net of the kernel.
"""

from collections.abc import Iterator, Mapping

from exporter.collectors.base import Host, children, integer, read_optional, text
from fleetpulse.model import MetricFamily, counter, gauge

# Metric (below node_network_) and the file it comes from.
_PROPERTIES = {
    "address_assign_type": "addr_assign_type",
    "carrier": "carrier",
    "carrier_changes_total": "carrier_changes",
    "carrier_down_changes_total": "carrier_down_count",
    "carrier_up_changes_total": "carrier_up_count",
    "device_id": "dev_id",
    "dormant": "dormant",
    "flags": "flags",
    "iface_id": "ifindex",
    "iface_link": "iflink",
    "iface_link_mode": "link_mode",
    "mtu_bytes": "mtu",
    "name_assign_type": "name_assign_type",
    "net_dev_group": "netdev_group",
    "protocol_type": "type",
    "speed_bytes": "speed",
    "transmit_queue_length": "tx_queue_len",
}
_INFO = ("address", "broadcast", "duplex", "ifalias", "operstate")
_MEGABIT = 1_000_000 // 8  # speed is in Mbit/s, the metric in bytes a second

Files = Mapping[str, bytes]


class NetclassCollector:
    """node_network_up, node_network_info and the device's properties."""

    name = "netclass"

    def __init__(self, host: Host) -> None:
        self._folder = f"{host.sysfs}/class/net"

    def collect(self) -> Iterator[MetricFamily]:
        yield from families({device: self._files(device) for device in children(self._folder)})

    def _files(self, device: str) -> Files:
        # Some cannot be read while the link is down; then the property is left out.
        names = (*_PROPERTIES.values(), *_INFO)
        found = ((name, read_optional(f"{self._folder}/{device}/{name}")) for name in names)
        return {name: raw.strip() for name, raw in found if raw is not None}


def families(devices: Mapping[str, Files]) -> Iterator[MetricFamily]:
    """From the content of each device's files. bonding_masters and its like have none."""
    devices = {device: files for device, files in devices.items() if files}
    up = gauge("node_network_up", "Value is 1 if operstate is 'up', 0 otherwise.")
    info = gauge(
        "node_network_info", "Non-numeric data from /sys/class/net/<iface>, value is always 1."
    )
    for device, files in devices.items():
        up.add(files.get("operstate") == b"up", device=device)
        info.add(1, device=device, **{name: text(files.get(name, b"")) for name in _INFO})
    yield from (up, info)
    for metric, file in _PROPERTIES.items():
        yield _property(metric, file, devices)


def _property(metric: str, file: str, devices: Mapping[str, Files]) -> MetricFamily:
    make = counter if metric.endswith("_total") else gauge
    family = make(f"node_network_{metric}", f"Network device property: {metric}")
    unit = _MEGABIT if metric == "speed_bytes" else 1
    for device, files in devices.items():
        if files.get(file):
            family.add(integer(files[file]) * unit, device=device)
    return family
