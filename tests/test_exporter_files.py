"""Files of the kernel that are kept open from page to page, and what may happen to them."""

import errno
import os
from pathlib import Path

import pytest

from exporter.collectors.base import Files, Host
from exporter.collectors.bonding import BondingCollector
from exporter.collectors.netclass import NetclassCollector
from exporter.collectors.netdev import NetdevCollector
from tests.exporter_fakes import page_of


def always(_folder: str) -> bool:
    return True


def kept_open(folder: Path) -> int:
    """How many of this process' files are below the folder."""
    links = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
    targets = [os.readlink(link) for link in links if os.path.islink(link)]
    return sum(target.startswith(str(folder)) for target in targets)


@pytest.mark.parametrize(("keeps", "open_files"), [(True, 1), (False, 0)])
def test_only_a_kernels_files_stay_open(tmp_path: Path, keeps: bool, open_files: int) -> None:
    (tmp_path / "a").write_bytes(b"1")
    files = Files(str(tmp_path), 100, keeps=lambda _folder: keeps)
    assert files.read("a") == b"1"
    (tmp_path / "a").write_bytes(b"23")
    assert files.read("a") == b"23"
    assert kept_open(tmp_path) == open_files
    files.close()
    assert kept_open(tmp_path) == 0


class Leaves:
    """pread(2) of a file that leaves once it was read; another one may come under its name."""

    def __init__(self, error: int) -> None:
        self._error, self._left = error, 0

    def __call__(self, descriptor: int, size: int, start: int) -> bytes:
        file = os.fstat(descriptor).st_ino
        if file == self._left:
            raise OSError(self._error, os.strerror(self._error))
        self._left = self._left or file
        return os.pread(descriptor, size, start)


LEFT = [
    pytest.param(errno.ENODEV, id="a device of /sys left and came back"),
    pytest.param(errno.EIO, id="a module with a file in /proc was loaded anew"),
    pytest.param(errno.ENOENT, id="a module with a sysctl was loaded anew"),
    pytest.param(errno.ENOTCONN, id="the server of a faked /proc was started anew"),
]


@pytest.mark.parametrize("error", LEFT)
def test_what_left_and_came_back_is_opened_anew(tmp_path: Path, error: int) -> None:
    (tmp_path / "a").write_bytes(b"1")
    files = Files(str(tmp_path), 100, 100, keeps=always, pread=Leaves(error))
    assert files.read("a") == b"1"
    (tmp_path / "a").unlink()
    (tmp_path / "a").write_bytes(b"another")
    assert files.read("a") == b"another"
    assert kept_open(tmp_path) == 1
    files.close()


@pytest.mark.parametrize("error", LEFT)
def test_of_many_what_left_is_opened_anew(tmp_path: Path, error: int) -> None:
    (tmp_path / "a").write_bytes(b"1")
    files = Files(str(tmp_path), 100, 100, keeps=always, pread=Leaves(error))
    assert files.each([("x", "a")]) == {"x": b"1"}
    (tmp_path / "a").unlink()
    assert files.each([("x", "a")]) == {}
    assert kept_open(tmp_path) == 0
    files.close()


def test_what_cannot_be_read_now_stays_open(tmp_path: Path) -> None:
    (tmp_path / "speed").write_bytes(b"1000")
    leaves = Leaves(errno.EINVAL)
    files = Files(str(tmp_path), 100, 100, keeps=always, pread=leaves)
    assert files.read("speed") == b"1000"
    with pytest.raises(OSError, match="Invalid argument"):
        files.read("speed")
    assert kept_open(tmp_path) == 1
    files.close()


@pytest.fixture
def net(tmp_path: Path) -> Path:
    """Two devices, as /sys has them: links in class/net."""
    folder = tmp_path / "class/net"
    folder.mkdir(parents=True)
    for name, mtu in (("eth0", 1500), ("eth1", 9000)):
        device = tmp_path / "devices" / name
        (device / "statistics").mkdir(parents=True)
        (device / "mtu").write_text(str(mtu))
        (device / "statistics/rx_nohandler").write_text(str(mtu))
        (folder / name).symlink_to(device)
    return folder


def test_a_device_that_was_renamed_does_not_answer_for_the_one_with_its_name(net: Path) -> None:
    collector = NetclassCollector(Host(sysfs=net.parents[1], keeps=always))
    assert page_of(collector.collect())['node_network_mtu_bytes{device="eth0"}'] == 1500
    (net / "eth0").rename(net / "lan0")
    (net / "eth1").rename(net / "eth0")
    page = page_of(collector.collect())
    assert page['node_network_mtu_bytes{device="eth0"}'] == 9000
    assert page['node_network_mtu_bytes{device="lan0"}'] == 1500
    assert 'node_network_mtu_bytes{device="eth1"}' not in page


def test_nor_are_its_packets_counted_as_the_others(net: Path) -> None:
    sysfs = net.parents[1]
    (sysfs / "net").mkdir()
    heading, figures = "Inter-|\n face |\n", " 0" * 16
    (sysfs / "net/dev").write_text(f"{heading}eth0:{figures}\n")
    collector = NetdevCollector(Host(sysfs, sysfs, keeps=always), None)
    unhandled = 'node_network_receive_nohandler_total{device="eth0"}'
    assert page_of(collector.collect())[unhandled] == 1500
    (net / "eth0").rename(net / "lan0")
    (net / "eth1").rename(net / "eth0")
    assert page_of(collector.collect())[unhandled] == 9000


def test_a_slave_that_was_renamed_is_not_counted_twice(net: Path) -> None:
    bond = net / "bond0"
    (bond / "bonding").mkdir(parents=True)
    (net / "bonding_masters").write_text("bond0\n")
    (bond / "bonding/slaves").write_text("eth0 eth1\n")
    for name, state in (("eth0", "up"), ("eth1", "down")):
        status = net.parents[1] / "devices" / name / "bonding_slave"
        status.mkdir()
        (status / "mii_status").write_text(state)
        (bond / f"lower_{name}").symlink_to(status.parent)
    collector = BondingCollector(Host(sysfs=net.parents[1], keeps=always))
    active = 'node_bonding_active{master="bond0"}'
    assert page_of(collector.collect())[active] == 1
    (bond / "lower_eth0").rename(bond / "lower_lan0")
    (bond / "lower_eth1").rename(bond / "lower_eth0")
    (bond / "bonding/slaves").write_text("lan0 eth0\n")
    assert page_of(collector.collect())[active] == 1


def test_nothing_is_kept_open_of_a_device_that_went_elsewhere(net: Path) -> None:
    host = Host(sysfs=net.parents[1], keeps=always)
    collector = NetclassCollector(host)
    page_of(collector.collect())
    both = kept_open(net.parents[1])
    (net / "eth1").rename(net.parent / "in_a_container")
    page_of(collector.collect())
    assert 0 < kept_open(net.parents[1]) < both
