"""What the firmware says of the machine, from /sys/class/dmi/id."""

from collections.abc import Iterator, Mapping

from exporter.collectors.base import Host, NoDataError, text
from exporter.families import Found, gauge

_FOLDER = "class/dmi/id"
# Files with the name of the label; the serial numbers are for root alone.
_LABELS = (
    *("bios_date", "bios_release", "bios_vendor", "bios_version"),
    *("board_asset_tag", "board_name", "board_serial", "board_vendor", "board_version"),
    *("chassis_asset_tag", "chassis_serial", "chassis_vendor", "chassis_version"),
    *("product_family", "product_name", "product_serial", "product_sku", "product_uuid"),
    *("product_version", "system_vendor"),
)
_FILES = {label: label for label in _LABELS} | {"system_vendor": "sys_vendor"}


class DmiCollector:
    """node_dmi_info. Read once: it cannot change before the next boot."""

    name = "dmi"

    def __init__(self, host: Host) -> None:
        self._host = host
        self._found: list[Found] | None = None

    def collect(self) -> Iterator[Found]:
        if self._found is None:
            self._found = list(info(self._read()))
        if not self._found:
            raise NoDataError("the firmware of this machine tells nothing of it (no DMI)")
        yield from self._found

    def _read(self) -> dict[str, bytes]:
        """Label → file, of those that are there and that we may read."""
        if not self._host.list_sys(_FOLDER):
            return {}
        found = {
            label: self._host.sys_or_none(f"{_FOLDER}/{file}") for label, file in _FILES.items()
        }
        return {label: raw for label, raw in found.items() if raw is not None}


def info(files: Mapping[str, bytes]) -> Iterator[Found]:
    """A series with a label a file; none without files."""
    if files:
        help_text = "Always 1; its labels name the machine, its board and its firmware"
        family = gauge("node_dmi_info", help_text, *files)
        yield family, {tuple(text(raw.strip()) for raw in files.values()): 1}
