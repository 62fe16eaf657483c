"""NVMe controllers, from /sys/class/nvme."""

import os
from collections.abc import Iterator

from exporter.collectors.base import Host, NoDataError, text
from exporter.families import Found, gauge

_FOLDER = "class/nvme"
_INFO = gauge(
    "node_nvme_info",
    "Always 1; its labels say what the controller is and how it is",
    *("device", "firmware_revision", "model", "serial", "state"),
)
_FILES = ("firmware_rev", "model", "serial", "state")


class NvmeCollector:
    """node_nvme_info. All is read each time: a new firmware needs no new device."""

    name = "nvme"

    def __init__(self, host: Host) -> None:
        self._host = host

    def collect(self) -> Iterator[Found]:
        try:
            devices = sorted(os.listdir(f"{self._host.sysfs}/{_FOLDER}"))
        except FileNotFoundError as err:
            raise NoDataError("there is no NVMe controller") from err
        yield _INFO, {(device, *self._read(device)): 1 for device in devices}

    def _read(self, device: str) -> Iterator[str]:
        """In the order of the labels, without the padding."""
        for name in _FILES:
            yield text(self._host.sys(f"{_FOLDER}/{device}/{name}").strip())
