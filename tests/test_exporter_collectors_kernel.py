"""What the kernel tells of interrupts, the scheduler, processes and sockets."""

import os
import re
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.collectors import interrupts, processes, schedstat, socktable, tcpstat
from exporter.collectors.base import Host, NoDataError
from exporter.collectors.interrupts import InterruptsCollector
from exporter.collectors.processes import ProcessesCollector
from exporter.collectors.schedstat import SchedstatCollector
from exporter.collectors.tcpstat import TcpstatCollector
from exporter.collectors.udp_queues import UdpQueuesCollector
from exporter.filters import Filter
from exporter.sources import sockdiag
from tests.exporter_fakes import DATA, page_of
from tests.support import wait_for


def host(shape: str) -> Host:
    return Host(DATA / shape / "proc", DATA / shape / "sys")


INTERRUPTS = [
    pytest.param(
        b"  CPU0 CPU1\n  1: 9 0 IO-APIC 1-edge i8042, x\n",
        {("0", "1-edge i8042, x", "IO-APIC", "1"): 9, ("1", "1-edge i8042, x", "IO-APIC", "1"): 0},
        id="a numbered one has a controller, then what hangs on it",
    ),
    pytest.param(
        b"  CPU0\nNMI: 4 Non-maskable  interrupts\n",
        {("0", "", "Non-maskable interrupts", "NMI"): 4},
        id="a named one is described",
    ),
    pytest.param(b"  CPU0 CPU1\nERR: 0\nMIS: 0\n", {}, id="errors are not of a CPU"),
    pytest.param(
        b"  CPU0 CPU2\n  1: 5 7 GIC a\n",
        {("0", "a", "GIC", "1"): 5, ("2", "a", "GIC", "1"): 7},
        id="a CPU that is off has no column, and the others keep their numbers",
    ),
    pytest.param(
        b"  CPU0\nIPI0:8812345678 Rescheduling interrupts\n",
        {("0", "", "Rescheduling interrupts", "IPI0"): 8812345678},
        id="a large count may touch the colon",
    ),
]


@pytest.mark.parametrize(("raw", "expected"), INTERRUPTS)
def test_interrupts(raw: bytes, expected: dict[tuple[str, ...], int]) -> None:
    assert interrupts.parse(raw, interrupts.Labels(Filter())) == expected


def test_interrupts_follow_a_cpu_that_goes_off() -> None:
    labels = interrupts.Labels(Filter())
    interrupts.parse(b" CPU0 CPU1\n1: 1 2 GIC a\n", labels)
    assert interrupts.parse(b" CPU1\n1: 3 GIC a\n", labels) == {("1", "a", "GIC", "1"): 3}


FILTERS = [
    pytest.param(re.compile("virtio"), None, {"24", "25", "26", "28"}, id="only these"),
    pytest.param(
        None, re.compile("^(NMI|LOC|[0-9]+);"), {"RES", "TLB", "HYP", "PIN"}, id="not these"
    ),
]


@pytest.mark.parametrize(("include", "exclude", "expected"), FILTERS)
def test_interrupts_are_filtered_by_all_their_names(
    include: re.Pattern[str] | None, exclude: re.Pattern[str] | None, expected: set[str]
) -> None:
    page = page_of(InterruptsCollector(host("vm"), include, exclude).collect())
    assert {re.findall('type="(.*)"', series)[0] for series in page} == expected


def test_interrupts_that_never_came_may_be_left_out() -> None:
    page = page_of(InterruptsCollector(host("vm"), include_zeros=False).collect())
    assert page
    assert all(page.values())


def test_schedstat_in_seconds() -> None:
    page = page_of(SchedstatCollector(host("metal")).collect())
    assert page['node_schedstat_running_seconds_total{cpu="0"}'] == 91220.334112233
    assert page['node_schedstat_waiting_seconds_total{cpu="3"}'] == 1400.011223344
    assert page['node_schedstat_timeslices_total{cpu="1"}'] == 45120022
    assert len(page) == 12  # domains are none of ours


def test_a_kernel_without_schedstat_has_no_data() -> None:
    with pytest.raises(NoDataError):
        list(SchedstatCollector(host("vm")).collect())


def test_queues_of_udp_by_version() -> None:
    assert page_of(UdpQueuesCollector(host("metal")).collect()) == {
        'node_udp_queues{ip="v4",queue="tx"}': 4352,
        'node_udp_queues{ip="v4",queue="rx"}': 213205,
        'node_udp_queues{ip="v6",queue="tx"}': 512,
        'node_udp_queues{ip="v6",queue="rx"}': 1280,
    }


def test_a_host_without_ipv6_tells_its_ipv4() -> None:
    assert set(page_of(UdpQueuesCollector(host("old")).collect())) == {
        'node_udp_queues{ip="v4",queue="tx"}',
        'node_udp_queues{ip="v4",queue="rx"}',
    }


def test_a_host_without_either_has_no_data(tmp_path: Path) -> None:
    with pytest.raises(NoDataError):
        list(UdpQueuesCollector(Host(tmp_path)).collect())


def refused(_family: int) -> Iterator[sockdiag.Socket]:
    raise OSError(93, "Protocol not supported")


def test_states_from_the_tables_where_netlink_is_kept_from_us() -> None:
    page = page_of(TcpstatCollector(host("vm"), refused).collect())
    assert page == {
        'node_tcp_connection_states{state="established"}': 3,
        'node_tcp_connection_states{state="listen"}': 3,
        'node_tcp_connection_states{state="time_wait"}': 2,
        'node_tcp_connection_states{state="rx_queued_bytes"}': 2049,
        'node_tcp_connection_states{state="tx_queued_bytes"}': 36,
    }


def test_every_state_has_its_name() -> None:
    page = page_of(TcpstatCollector(host("metal"), refused).collect())
    states = {re.findall('state="(.*)"', series)[0] for series in page}
    assert states == {
        "established", "syn_sent", "syn_recv", "fin_wait1", "fin_wait2", "time_wait", "close",
        "close_wait", "last_ack", "listen", "closing", "rx_queued_bytes", "tx_queued_bytes",
    }  # fmt: skip
    assert page['node_tcp_connection_states{state="syn_recv"}'] == 2  # 12 is one in the making


def test_without_ipv6_only_ipv4_is_asked_for() -> None:
    asked: list[int] = []

    def sockets(family: int) -> list[sockdiag.Socket]:
        asked.append(family)
        return [(10, 1, 128), (1, 20, 4)]

    page = page_of(TcpstatCollector(host("old"), sockets).collect())
    assert asked == [sockdiag.INET]
    assert page['node_tcp_connection_states{state="rx_queued_bytes"}'] == 21
    assert page['node_tcp_connection_states{state="tx_queued_bytes"}'] == 132


def test_no_socket_no_series() -> None:
    assert page_of(TcpstatCollector(host("old"), lambda _family: []).collect()) == {}


def message(kind: int, body: bytes, length: int | None = None) -> bytes:
    length = 16 + len(body) if length is None else length
    padding = bytes(-len(body) % 4)
    return struct.pack("=IHHII", length, kind, 2, 1, 0) + body + padding


def answer(state: int, received: int, sent: int, attributes: bytes = b"") -> bytes:
    body = struct.pack("=BBBB48xIIIII", 2, state, 0, 0, 0, received, sent, 0, 7)
    return message(sockdiag._BY_FAMILY, body + attributes)


ANSWERS = [
    pytest.param(answer(1, 5, 6) + answer(10, 0, 128), ([(1, 5, 6), (10, 0, 128)], True),
                 id="more pieces follow until there is word of the end"),
    pytest.param(answer(1, 5, 6, b"\5\0\1\0x") + answer(6, 0, 0) + message(3, bytes(4)),
                 ([(1, 5, 6), (6, 0, 0)], False), id="attributes are skipped, and their padding"),
    pytest.param(message(3, bytes(4)), ([], False), id="no socket at all"),
]  # fmt: skip


@pytest.mark.parametrize(("piece", "expected"), ANSWERS)
def test_netlink_answers(piece: bytes, expected: object) -> None:
    assert sockdiag.parse(piece) == expected


BROKEN = [
    pytest.param(message(2, struct.pack("=i", -2)), OSError, id="a refusal"),
    pytest.param(message(2, b""), ValueError, id="a refusal without a number"),
    pytest.param(message(20, bytes(56), length=4), ValueError, id="shorter than its heading"),
    pytest.param(message(20, bytes(56), length=900), ValueError, id="longer than the piece"),
    pytest.param(message(20, bytes(20)), ValueError, id="too short for a socket"),
    pytest.param(b"", ValueError, id="nothing"),
    pytest.param(answer(1, 0, 0) + b"\0\0", ValueError, id="cut short"),
]


@pytest.mark.parametrize(("piece", "error"), BROKEN)
def test_broken_netlink_answers(piece: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        sockdiag.parse(piece)


def test_netlink_and_the_tables_agree() -> None:
    """On this machine, on sockets of our own; the tables do not know a listener's room."""
    try:
        list(sockdiag.tcp_sockets(sockdiag.INET))
    except OSError as err:
        pytest.skip(f"this kernel has no sock_diag for us: {err}")
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
        server.accept()[0],
    ):
        client.sendall(b"x" * 1000)

        def same() -> bool:
            # Others on this machine come and go between the two.
            asked = page_of(TcpstatCollector(Host()).collect())
            read = page_of(TcpstatCollector(Host(), refused).collect())
            return all(
                asked[series] == read[series] >= least
                for series, least in (
                    ('node_tcp_connection_states{state="listen"}', 1),
                    ('node_tcp_connection_states{state="established"}', 2),
                    ('node_tcp_connection_states{state="rx_queued_bytes"}', 1000),
                )
            )

        wait_for("both to tell the same", same)


def test_processes_and_threads_by_state() -> None:
    assert page_of(ProcessesCollector(host("vm")).collect()) == {
        "node_processes_pids": 5,
        "node_processes_max_processes": 4194304,
        "node_processes_threads": 7,
        "node_processes_max_threads": 31452,
        'node_processes_state{state="I"}': 1,
        'node_processes_state{state="S"}': 3,
        'node_processes_state{state="Z"}': 1,
        'node_processes_threads_state{thread_state="I"}': 1,
        'node_processes_threads_state{thread_state="R"}': 1,
        'node_processes_threads_state{thread_state="S"}': 4,
        'node_processes_threads_state{thread_state="Z"}': 1,
    }


def test_processes_that_end_meanwhile_are_left_out(tmp_path: Path) -> None:
    stat = (DATA / "vm/proc/412/stat").read_bytes()
    for pid in (7, 8, 9):
        (tmp_path / str(pid)).mkdir()
    (tmp_path / "7/stat").write_bytes(stat)  # its threads are gone
    (tmp_path / "8/stat").write_bytes(stat)
    (tmp_path / "8/task/81").mkdir(parents=True)  # and here one of them
    census = processes.count(str(tmp_path))
    assert (census.pids, census.threads, dict(census.thread_states)) == (2, 6, {b"S": 2})


def test_this_process_is_among_those_counted() -> None:
    census = processes.count("/proc")
    assert census.pids >= 1
    assert sum(census.states.values()) == census.pids
    assert sum(census.thread_states.values()) >= census.pids
    assert len(os.listdir("/proc/self/fd")) < 100  # none was kept open


STATS = [
    pytest.param(b"1 (init) S 0 " + b"0 " * 15 + b"1 0 7\n", (b"S", 1), id="a plain name"),
    pytest.param(b"1 (a) R (b) D 0 " + b"0 " * 15 + b"12 0\n", (b"D", 12), id="brackets in it"),
]


@pytest.mark.parametrize(("raw", "expected"), STATS)
def test_stat(raw: bytes, expected: tuple[bytes, int]) -> None:
    assert processes.parse(raw) == expected


def mangled(path: str) -> st.SearchStrategy[bytes]:
    """A file with a piece of it replaced, or anything at all."""
    raw = (DATA / path).read_bytes()
    place = st.integers(0, len(raw))
    spoilt = st.builds(
        lambda at, to, between: raw[:at] + between + raw[to:], place, place, st.binary(max_size=8)
    )
    return spoilt | st.binary(max_size=200)


def parsed_interrupts(raw: bytes) -> object:
    return interrupts.parse(raw, interrupts.Labels(Filter()))


@pytest.mark.parametrize(
    ("parse", "path"),
    [
        pytest.param(parsed_interrupts, "metal/proc/interrupts", id="interrupts"),
        pytest.param(schedstat.parse, "metal/proc/schedstat", id="schedstat"),
        pytest.param(socktable.parse, "metal/proc/net/udp6", id="udp_queues"),
        pytest.param(tcpstat.parse, "vm/proc/net/tcp", id="tcpstat"),
        pytest.param(processes.parse, "vm/proc/412/stat", id="processes"),
    ],
)
@given(data=st.data())
def test_a_broken_file_is_a_value_error_or_less(parse, path: str, data: st.DataObject) -> None:  # type: ignore[no-untyped-def]
    raw = data.draw(mangled(path))
    with suppress(ValueError):
        list(parse(raw))


@given(st.binary(max_size=400))
def test_a_broken_netlink_answer_is_an_error_or_less(piece: bytes) -> None:
    with suppress(ValueError, OSError):
        sockdiag.parse(piece)
