"""The collectors of hardware on fake hosts."""

from collections.abc import Callable
from pathlib import Path

from exporter.block import Block
from exporter.collectors.base import Collector, Host
from exporter.collectors.bonding import BondingCollector
from exporter.collectors.cpufreq import CpufreqCollector
from exporter.collectors.dmi import DmiCollector
from exporter.collectors.edac import EdacCollector
from exporter.collectors.hwmon import HwmonCollector
from exporter.collectors.mdadm import MdadmCollector
from exporter.collectors.nvme import NvmeCollector
from exporter.collectors.powersupplyclass import PowersupplyclassCollector
from exporter.collectors.rapl import RaplCollector
from exporter.collectors.selinux import SelinuxCollector
from exporter.collectors.thermal_zone import ThermalZoneCollector
from exporter.page import TEXT, render

SHAPES = Path(__file__).parent / "data" / "exporter"

HARDWARE = {
    kind.name: kind
    for kind in (
        *(BondingCollector, CpufreqCollector, DmiCollector, EdacCollector, HwmonCollector),
        *(MdadmCollector, NvmeCollector, PowersupplyclassCollector, RaplCollector),
        *(SelinuxCollector, ThermalZoneCollector),
    )
}


def fake_host(shape: str) -> Host:
    folder = SHAPES / shape
    return Host(folder / "proc", folder / "sys", folder / "root")


def write(folder: Path, files: dict[str, str]) -> None:
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(content)


def page(collector: Collector) -> str:
    """As it is told, whole."""
    part, dropped = Block().take(collector.collect())
    assert dropped == []
    return render([part], TEXT).decode()


def series(collector: Collector) -> list[str]:
    """The lines with values."""
    return [line for line in page(collector).splitlines() if not line.startswith("#")]


class OddHost(Host):
    """Reads files as they are, but hears what odd makes of each."""

    def __init__(self, folder: Path, odd: Callable[[str, bytes], bytes]) -> None:
        super().__init__(folder / "proc", folder / "sys", folder / "root")
        self._odd = odd

    def proc(self, path: str, sure: int = 0) -> bytes:
        return self._odd(path, super().proc(path, sure))

    def sys(self, path: str) -> bytes:
        return self._odd(path, super().sys(path))

    def proc_or_none(self, path: str, sure: int = 0) -> bytes | None:
        try:
            return self.proc(path, sure)
        except OSError:
            return None

    def sys_or_none(self, path: str) -> bytes | None:
        try:
            return self.sys(path)
        except OSError:
            return None
