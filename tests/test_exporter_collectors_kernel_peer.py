"""Debian's node_exporter on the same fake hosts and files: what differs is listed here."""

import re
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from exporter.block import Block
from exporter.collectors.base import Collector, Host
from exporter.collectors.interrupts import InterruptsCollector
from exporter.collectors.nfs import NfsCollector
from exporter.collectors.nfsd import NfsdCollector
from exporter.collectors.processes import ProcessesCollector
from exporter.collectors.schedstat import SchedstatCollector
from exporter.collectors.tcpstat import TcpstatCollector
from exporter.collectors.textfile import TextfileCollector
from exporter.collectors.udp_queues import UdpQueuesCollector
from exporter.collectors.xfs import XfsCollector
from exporter.collectors.zfs import ZfsCollector
from exporter.page import TEXT
from exporter.registry import Registry
from tests.exporter_fakes import DATA
from tests.peer_programs import served
from tests.support import free_port, needs, wait_for

pytestmark = [
    pytest.mark.integration,
    pytest.mark.peer,
    needs("prometheus-node-exporter"),
]

# Type and value by name and labels, an empty label being none.
Series = tuple[str, frozenset[tuple[str, str]]]
Page = dict[Series, tuple[str, float]]

COLLECTORS: Sequence[Callable[[Host], Collector]] = (
    InterruptsCollector, ProcessesCollector, SchedstatCollector, UdpQueuesCollector,
    XfsCollector, ZfsCollector, NfsCollector, NfsdCollector,
)  # fmt: skip
_SUCCESS = "node_scrape_collector_success"

# What we tell otherwise than 1.5 does, as a later version or the kernel has it.
DIFFERENT = re.compile(
    r"node_zfs_arc_memory_available_bytes"  # signed figures: since 1.6
    r"|node_zfs_dbuf_"  # 1.5 looks for the file under another name
    r"|node_zfs_zpool_state .*suspended"  # since 1.6
    # 1.5 leaves SETCLIENTID and its confirmation out and takes their figures for those after them.
    r"|node_nfsd_requests_total .*(SetClientID|SetClientIDConfirm|Verify|Write|RelLockOwner)"
    # 1.5 counts the columns; the kernel gives the number of the CPU, which may be off.
    r"|node_interrupts_total .*'cpu', '[23]'"
)


@contextmanager
def peer(*flags: str) -> Iterator[str]:
    url = f"http://127.0.0.1:{free_port()}"
    command = [
        "prometheus-node-exporter",
        f"--web.listen-address={url.removeprefix('http://')}",
        "--collector.disable-defaults",
        *flags,
    ]
    with served(command, url):
        yield url


def read(text: str) -> Page:
    page: Page = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if not sample.name.startswith(("node_scrape_", "node_exporter_build_info")):
                labels = frozenset((name, value) for name, value in sample.labels.items() if value)
                page[sample.name, labels] = (family.type, float(sample.value))
    return page


def theirs(url: str) -> tuple[Page, dict[str, float]]:
    """node_*'s page and which collectors had success; the peer's own runtime left out."""
    lines = requests.get(f"{url}/metrics", timeout=30).text.splitlines()
    text = "".join(
        f"{line}\n" for line in lines if not re.match(r"(# \w+ )?(go|process|promhttp)_", line)
    )
    success = re.findall(rf'^{_SUCCESS}\{{collector="(.*)"\}} (\d)', text, re.MULTILINE)
    return read(text), {name: float(value) for name, value in success}


def ours(registry: Registry) -> tuple[Page, dict[str, float]]:
    text = "".join(part.text(TEXT) for part in registry.gather())
    success = re.findall(rf'^{_SUCCESS}\{{collector="(.*)"\}} (\d)', text, re.MULTILINE)
    page = {s: v for s, v in read(text).items() if not s[0].startswith("fleetpulse_")}
    return page, {name: float(value) for name, value in success}


def differing(mine: Page, peers: Page) -> list[str]:
    return sorted(
        f"{name} {sorted(labels)}: {mine.get((name, labels))} {peers.get((name, labels))}"
        for name, labels in {*mine, *peers}
        if mine.get((name, labels)) != peers.get((name, labels))
    )


@pytest.mark.parametrize("shape", ["vm", "metal", "laptop", "old"])
def test_collectors_of_the_kernel_tell_the_same(shape: str) -> None:
    folder = DATA / shape
    collectors = [make(Host(folder / "proc", folder / "sys")) for make in COLLECTORS]
    flags = [f"--collector.{collector.name}" for collector in collectors]
    with peer(*flags, f"--path.procfs={folder}/proc", f"--path.sysfs={folder}/sys") as url:
        peers, their_success = theirs(url)
    mine, success = ours(Registry(collectors, 5.0))
    assert success == their_success
    if not their_success["processes"]:
        # Without its limits both fail, the peer after it has told half.
        peers = {series: value for series, value in peers.items() if "processes" not in series[0]}
    odd = [line for line in differing(mine, peers) if not DIFFERENT.match(line)]
    assert odd == []
    assert len(peers) > 20


def test_tcpstat_tells_the_same() -> None:
    """Of this machine, whose other sockets come and go meanwhile: of states that last."""
    registry = Registry([TcpstatCollector(Host())], 5.0)
    with peer("--collector.tcpstat") as url:

        def same() -> bool:
            before, peers, after = _lasting(ours(registry)[0]), theirs(url)[0], ours(registry)[0]
            return before == _lasting(peers) == _lasting(after)

        assert wait_for("both to tell the same", same)
        names = {(name, kind) for (name, _), (kind, _) in theirs(url)[0].items()}
        assert names == {("node_tcp_connection_states", "gauge")}


def _lasting(page: Page) -> Page:
    """Listeners, and what they have room for, which is told as what is to be sent."""
    return {
        series: value
        for series, value in page.items()
        if {value for _, value in series[1]} & {"listen", "tx_queued_bytes", "rx_queued_bytes"}
    }


TEXTFILES = {
    "apt.prom": "# HELP apt_upgrades_pending Packages that can be upgraded.\n"
    "# TYPE apt_upgrades_pending gauge\n"
    'apt_upgrades_pending{arch="amd64",origin="Debian:12"} 3\n'
    'apt_upgrades_pending{arch="all"} 1e+06\n',
    "backup.prom": "# TYPE backup_runs_total counter\nbackup_runs_total 7\n"
    "# TYPE backup_seconds histogram\n"
    'backup_seconds_bucket{job="a",le="1.0"} 1\nbackup_seconds_bucket{job="a",le="10"} 3\n'
    'backup_seconds_bucket{job="a",le="+Inf"} 4\nbackup_seconds_sum{job="a"} 17.5\n'
    'backup_seconds_count{job="a"} 4\n'
    "# TYPE backup_bytes summary\n"
    'backup_bytes{quantile="0.5"} 1e9\nbackup_bytes_sum 3e9\nbackup_bytes_count 3\n',
    "odd.prom": "odd_value NaN\nodd_more +Inf\nodd_less -Inf\nodd_text{t=\"a\\\\b\\\"c\\nd\"} 0\n",
    "same1.prom": 'shared{x="1"} 1\n',
    "same2.prom": 'shared{x="2"} 2\nshared{x="1"} 9\n',
    "empty.prom": "",
    "not.prom.tmp": "tmp 1\n",
}  # fmt: skip
BAD = {
    "broken.prom": "broken_a 1\nbroken b c\n",
    "stamped.prom": "stamped 1 1700000000000\n",
    "short.prom": "short 1",
    "late.prom": "late 1\n# TYPE late gauge\n",
    "twice.prom": "# HELP twice a\n# HELP twice b\ntwice 1\n",
    "kind.prom": "# TYPE kind info\nkind 1\n",
}


def textfiles(folder: Path, files: dict[str, str], *, but: str = "") -> tuple[Page, Page]:
    for name, text in files.items():
        (folder / name).write_text(text)
    with peer("--collector.textfile", f"--collector.textfile.directory={folder}") as url:
        peers = theirs(url)[0]
    mine, _ = ours(Registry([TextfileCollector([str(folder)])], 5.0))
    return (
        {series: value for series, value in mine.items() if series[0] != but},
        {series: value for series, value in peers.items() if series[0] != but},
    )


def test_textfiles_tell_the_same(tmp_path: Path) -> None:
    # Of a sample that is there twice 1.5 tells the first too, but not that something is wrong.
    mine, peers = textfiles(tmp_path, TEXTFILES, but="node_textfile_scrape_error")
    assert {s: repr(v) for s, v in mine.items()} == {s: repr(v) for s, v in peers.items()}
    assert len(mine) > 20


def test_bad_textfiles_are_left_out_by_both(tmp_path: Path) -> None:
    mine, peers = textfiles(tmp_path, {**BAD, "good.prom": "good 1\n"})
    assert mine == peers
    assert mine["node_textfile_scrape_error", frozenset()] == ("gauge", 1)
    assert {name for name, _ in mine} == {
        "good", "node_textfile_mtime_seconds", "node_textfile_scrape_error"
    }  # fmt: skip


@needs("promtool")
def test_promtool_can_read_all_textfiles(tmp_path: Path) -> None:
    for name, text in {**TEXTFILES, **BAD}.items():
        (tmp_path / name).write_text(text)
    part, dropped = Block().take(TextfileCollector([str(tmp_path)]).collect())
    assert not dropped
    command = ["promtool", "check", "metrics"]
    page = part.text(TEXT).encode()
    done = subprocess.run(command, input=page, capture_output=True, timeout=30, check=False)
    # 3: there is something to say of the style. Anything else but 0 is a page it cannot read.
    assert done.returncode in (0, 3), done.stderr.decode()
