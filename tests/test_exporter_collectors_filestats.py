"""What file systems count: XFS, ZFS, and NFS from either end."""

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.block import Block
from exporter.collectors import nfs, nfsd, xfs, zfs
from exporter.collectors.base import Host, NoDataError
from exporter.collectors.nfs import NfsCollector
from exporter.collectors.nfsd import NfsdCollector
from exporter.collectors.xfs import XfsCollector
from exporter.collectors.zfs import ZfsCollector
from exporter.page import TEXT
from tests.exporter_fakes import DATA, page_of, samples


def host(shape: str) -> Host:
    return Host(DATA / shape / "proc", DATA / shape / "sys")


def test_xfs_by_device() -> None:
    page = page_of(XfsCollector(host("metal")).collect())
    assert len(page) == 2 * 39
    raw = (DATA / "metal/sys/fs/xfs/sda3/stats/stats").read_bytes()
    written, read = xfs.parse(raw)[b"rw"]
    assert page['node_xfs_write_calls_total{device="sda3"}'] == written
    assert page['node_xfs_read_calls_total{device="sda3"}'] == read
    assert page['node_xfs_inode_operation_attribute_changes_total{device="sda3"}'] == 88


def test_xfs_of_an_old_kernel_has_a_column_less() -> None:
    page = page_of(XfsCollector(host("old")).collect())
    assert 'node_xfs_vnode_remove_total{device="sda2"}' in page


def test_a_host_without_xfs_tells_nothing_and_that_is_no_failure() -> None:
    assert page_of(XfsCollector(host("vm")).collect()) == {}


def test_vnodes_in_use_may_fall_though_they_are_called_a_counter(tmp_path: Path) -> None:
    file = tmp_path / "fs/xfs/sda1/stats/stats"
    file.parent.mkdir(parents=True)
    block, collector = Block(), XfsCollector(Host(sysfs=tmp_path))
    for active in (1000, 999):
        file.write_text(f"vnodes {active} 0 0 0 0 0 0 0\n")
        part, dropped = block.take(collector.collect())
        assert samples(part.text(TEXT))['node_xfs_vnode_active_total{device="sda1"}'] == active
        assert not dropped


def test_zfs_of_the_module() -> None:
    page = page_of(ZfsCollector(host("metal")).collect())
    assert page["node_zfs_arc_hits"] == 98812233445
    assert page["node_zfs_arc_memory_available_bytes"] == -12058624  # a signed one
    assert page["node_zfs_dbuf_cache_count"] == 512
    assert page["node_zfs_fm_erpt_dropped"] == 5  # in the file it is erpt-dropped
    assert page["node_zfs_dmu_tx_dmu_tx_assigned"] == 9031277


def test_zfs_of_pools_and_datasets() -> None:
    page = page_of(ZfsCollector(host("metal")).collect())
    assert page['node_zfs_zpool_nread{zpool="tank"}'] == 83906560
    assert page['node_zfs_zpool_dataset_writes{dataset="tank/db",zpool="tank"}'] == 88
    states = {
        series for series in page if series.startswith("node_zfs_zpool_state{") and page[series]
    }
    assert states == {
        'node_zfs_zpool_state{state="degraded",zpool="backup"}',
        'node_zfs_zpool_state{state="online",zpool="tank"}',
    }


def test_zfs_not_loaded_is_no_data() -> None:
    with pytest.raises(NoDataError):
        list(ZfsCollector(host("vm")).collect())


KSTATS = [
    pytest.param(b"13 1 0x01 2\nname type data\na 4 1\nb 7 x\nc 3 -2\n", {b"a": 1, b"c": -2},
                 id="only 64-bit integers are figures"),
    pytest.param(b"13 1 0x01 2\nname type data\n\na 4\n", {}, id="a line too short is none"),
]  # fmt: skip


@pytest.mark.parametrize(("raw", "expected"), KSTATS)
def test_kstat(raw: bytes, expected: dict[bytes, int]) -> None:
    assert zfs.parse(raw) == expected


def test_kstat_without_a_heading_is_none() -> None:
    with pytest.raises(ValueError, match="no heading"):
        zfs.parse(b"a 4 1\n")


def test_a_datasets_name_may_hold_spaces() -> None:
    assert zfs.dataset(b"name type data\ndataset_name   7    tank/my files\nreads 4 1\n") == (
        "tank/my files"
    )


def test_nfs_of_the_client() -> None:
    page = page_of(NfsCollector(host("metal")).collect())
    assert page['node_nfs_packets_total{protocol="tcp"}'] == 745117
    assert page["node_nfs_rpc_retransmissions_total"] == 12
    assert page['node_nfs_requests_total{method="GetAttr",proto="3"}'] == 60318
    assert page['node_nfs_requests_total{method="Clone",proto="4"}'] == 10


def test_nfs_of_an_old_client_counts_fewer_procedures() -> None:
    page = page_of(NfsCollector(host("old")).collect())
    assert page['node_nfs_requests_total{method="SecinfoNoName",proto="4"}'] == 0
    assert page['node_nfs_requests_total{method="SetClientID",proto="4"}'] == 1
    assert page['node_nfs_requests_total{method="Read",proto="2"}'] == 0


def test_nfs_of_the_server() -> None:
    page = page_of(NfsdCollector(host("metal")).collect())
    assert page["node_nfsd_disk_bytes_read_total"] == 612340731904
    assert page["node_nfsd_server_threads"] == 16
    assert page["node_nfsd_read_ahead_cache_not_found_total"] == 11
    assert page['node_nfsd_rpc_errors_total{error="auth"}'] == 2
    # By the numbers that RFC 7530 gives them.
    assert page['node_nfsd_requests_total{method="SetAttr",proto="4"}'] == 512
    assert page['node_nfsd_requests_total{method="Write",proto="4"}'] == 33901
    assert not [series for series in page if 'method="Null"' in series]


def test_nfs_of_a_new_server_has_lines_that_we_need_not_know() -> None:
    lines = nfs.lines_of(b"th 8 0 0.000\nwdeleg_getattr 16\nnews 1 2 3\n")
    page = page_of(nfsd.figures(lines))
    assert page['node_nfsd_requests_total{method="WdelegGetattr",proto="4"}'] == 16


@pytest.mark.parametrize("collector", [NfsCollector, NfsdCollector])
def test_without_nfs_there_is_no_data(collector: type[NfsCollector | NfsdCollector]) -> None:
    with pytest.raises(NoDataError):
        list(collector(host("vm")).collect())


def parsed_nfs(raw: bytes) -> object:
    return list(nfs.figures(nfs.lines_of(raw)))


def parsed_nfsd(raw: bytes) -> object:
    return list(nfsd.figures(nfs.lines_of(raw)))


@pytest.mark.parametrize(
    ("parse", "path"),
    [
        pytest.param(xfs.parse, "metal/sys/fs/xfs/md0/stats/stats", id="xfs"),
        pytest.param(zfs.parse, "metal/proc/spl/kstat/zfs/arcstats", id="zfs"),
        pytest.param(zfs.parse_io, "metal/proc/spl/kstat/zfs/tank/io", id="zfs io"),
        pytest.param(zfs.dataset, "metal/proc/spl/kstat/zfs/tank/objset-0x36", id="zfs objset"),
        pytest.param(parsed_nfs, "metal/proc/net/rpc/nfs", id="nfs"),
        pytest.param(parsed_nfsd, "metal/proc/net/rpc/nfsd", id="nfsd"),
    ],
)
@given(data=st.data())
def test_a_broken_file_is_a_value_error_or_less(parse, path: str, data: st.DataObject) -> None:  # type: ignore[no-untyped-def]
    raw = (DATA / path).read_bytes()
    place = st.integers(0, len(raw))
    at, to, between = data.draw(st.tuples(place, place, st.binary(max_size=8)))
    broken = data.draw(st.just(raw[:at] + between + raw[to:]) | st.binary(max_size=200))
    with suppress(ValueError):
        parse(broken)
