"""Packets handled by each CPU, from /proc/net/softnet_stat."""

from collections.abc import Iterator

from exporter.collectors.base import SHORT_LINES, Host
from exporter.families import Family, Found, Rows, counter


def _counter(name: str, help_text: str) -> Family:
    return counter(f"node_softnet_{name}_total", help_text, "cpu")


# By their columns in the file.
_COLUMNS = {
    0: _counter("processed", "Packets that the CPU took in."),
    1: _counter("dropped", "Packets dropped because the CPU's backlog was full."),
    2: _counter("times_squeezed", "Times that the CPU stopped with packets left, out of budget."),
}
_CPU_COLUMN = 12  # since Linux 5.10; before that the line's number has to do


class SoftnetCollector:
    """node_softnet_*_total."""

    name = "softnet"

    def __init__(self, host: Host) -> None:
        self._host = host

    def collect(self) -> Iterator[Found]:
        yield from parse(self._host.proc("net/softnet_stat", SHORT_LINES))


def parse(raw: bytes) -> Iterator[Found]:
    """A line a CPU, in hexadecimal."""
    keyed = [
        (_key(number, row), row) for number, row in enumerate(map(bytes.split, raw.splitlines()))
    ]
    for column, family in _COLUMNS.items():
        rows: Rows = {key: int(row[column], 16) for key, row in keyed if column < len(row)}
        yield family, rows


def _key(number: int, row: list[bytes]) -> tuple[str]:
    return (str(int(row[_CPU_COLUMN], 16) if len(row) > _CPU_COLUMN else number),)
