"""What is made of /proc/mdstat."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.collectors.base import Host, NoDataError
from exporter.collectors.mdadm import Array, MdadmCollector, families, parse
from tests.exporter_hardware import SHAPES, page

DISKS = "raid1 sdb1[1] sda1[0]"
STATUS = "      1000 blocks super 1.2 [2/2] [UU]"


def mdstat(*lines: str) -> bytes:
    return "\n".join(("Personalities : [raid1]", *lines, "", "unused devices: <none>", "")).encode()


# state, required, active, failed, spare, blocks, synced
ARRAYS = [
    pytest.param(mdstat(f"md0 : active {DISKS}", STATUS),
                 ("active", 2, 2, 0, 0, 1000, 1000), id="a healthy mirror is in step"),
    pytest.param(mdstat("md0 : active raid1 sdb1[1](F) sda1[0]", "      1000 blocks [2/1] [U_]"),
                 ("active", 2, 1, 1, 0, 1000, 1000), id="a failed disk is required, not active"),
    pytest.param(mdstat("md0 : active raid1 sdc1[2](S) sdb1[1] sda1[0]", STATUS),
                 ("active", 2, 2, 0, 1, 1000, 1000), id="a spare disk is not required"),
    pytest.param(mdstat("md0 : active raid1 sdb1[1](W)(J) sda1[0](R)", STATUS),
                 ("active", 2, 2, 0, 0, 1000, 1000), id="other marks of disks mean neither"),
    pytest.param(mdstat(f"md0 : active (read-only) {DISKS}", STATUS),
                 ("active", 2, 2, 0, 0, 1000, 1000), id="read-only is active"),
    pytest.param(mdstat(f"md0 : active (auto-read-only) {DISKS}", STATUS, "      \tresync=PENDING"),
                 ("resync", 2, 2, 0, 0, 1000, 0), id="pending: nothing in step"),
    pytest.param(mdstat(f"md0 : active {DISKS}", STATUS, "      \tresync=DELAYED"),
                 ("resync", 2, 2, 0, 0, 1000, 0), id="delayed: nothing in step"),
    pytest.param(mdstat(f"md0 : active {DISKS}", STATUS, "      \tresync=REMOTE"),
                 ("resync", 2, 2, 0, 0, 1000, 0), id="another node of a cluster does it"),
    pytest.param(mdstat(f"md0 : active {DISKS}", STATUS, "      \trecovery=DELAYED"),
                 ("recovering", 2, 2, 0, 0, 1000, 0), id="a recovery may wait as well"),
    pytest.param(mdstat(f"md0 : active {DISKS}", STATUS,
                        "      [=>...]  recovery =  8.5% (85/1000) finish=17.0min speed=9K/sec",
                        "      bitmap: 0/1 pages [0KB], 65536KB chunk"),
                 ("recovering", 2, 2, 0, 0, 1000, 85), id="a recovery says how far it is"),
    pytest.param(mdstat(f"md0 : active {DISKS}", STATUS, "      bitmap: 0/1 pages [0KB]",
                        "      [=>...]  resync =100.0% (1000/1000) finish=0.0min speed=9K/sec"),
                 ("resync", 2, 2, 0, 0, 1000, 1000), id="in whatever line"),
    pytest.param(mdstat(f"md0 : active {DISKS}", STATUS,
                        "      [=>...]  check =  0.5% (5/1000) finish=17.0min speed=9K/sec"),
                 ("check", 2, 2, 0, 0, 1000, 5), id="a check"),
    pytest.param(mdstat(f"md0 : active {DISKS}", STATUS,
                        "      [=>...]  reshape =  0.5% (5/1000) finish=17.0min speed=9K/sec"),
                 ("active", 2, 2, 0, 0, 1000, 1000), id="an array that is reshaped is active"),
    pytest.param(mdstat("md0 : active raid0 sdb[1] sda[0]", "      1000 blocks 512k chunks"),
                 ("active", 2, 2, 0, 0, 1000, 1000), id="stripes require each disk they name"),
    pytest.param(mdstat("md0 : active linear sdc[2] sdb[1] sda[0]", "      1000 blocks 0k round"),
                 ("active", 3, 3, 0, 0, 1000, 1000), id="as do disks in a row"),
    pytest.param(mdstat("md0 : broken raid0 sdb[1] sda[0]", "      1000 blocks 512k chunks"),
                 ("broken", 2, 2, 0, 0, 1000, 1000), id="a broken one is in none of the states"),
    pytest.param(mdstat("md127 : inactive sdb[1](S) sda[0](S)", "      1000 blocks super ext:imsm"),
                 ("inactive", 0, 0, 0, 2, 1000, 1000), id="a container holds spares alone"),
    pytest.param(mdstat("md0 : inactive"), ("inactive", 0, 0, 0, 0, 0, 0), id="one without disks"),
]  # fmt: skip


@pytest.mark.parametrize(("raw", "expected"), ARRAYS)
def test_an_array(raw: bytes, expected: tuple[str, int, int, int, int, int, int]) -> None:
    (array,) = parse(raw)
    state, required, active, failed, spare, blocks, synced = expected
    assert array == Array(array.name, state, required, active, failed, spare, blocks, synced)
    assert array.name in ("md0", "md127")


def test_all_arrays_of_a_host_are_found() -> None:
    arrays = parse((SHAPES / "metal/proc/mdstat").read_bytes())
    assert [array.name for array in arrays] == [f"md{n}" for n in (*range(9), 126, 127)]


def test_one_state_is_1() -> None:
    rows = dict(families([Array("md0", "check", 2, 2, 0, 0, 9, 5)]))
    states = next(rows[family] for family in rows if family.name == "node_md_state")
    assert states == {
        ("md0", "active"): 0,
        ("md0", "inactive"): 0,
        ("md0", "recovering"): 0,
        ("md0", "resync"): 0,
        ("md0", "check"): 1,
    }


REFUSED = [
    pytest.param(b"      1000 blocks [2/2] [UU]\n", id="a line of no array"),
    pytest.param(b"md0\n", id="no state"),
    pytest.param(b"md0 active raid1\n", id="no colon"),
]


@pytest.mark.parametrize("raw", REFUSED)
def test_what_the_kernel_does_not_write_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"^/proc/mdstat: "):
        parse(raw)


def test_a_kernel_without_arrays() -> None:
    assert page(MdadmCollector(Host(SHAPES / "laptop/proc"))) == ""


def test_a_kernel_without_raid_has_no_data() -> None:
    with pytest.raises(NoDataError, match="no software RAID"):
        page(MdadmCollector(Host(SHAPES / "none")))


TRUE = (SHAPES / "metal/proc/mdstat").read_bytes()


@given(st.binary(max_size=40), st.integers(0, len(TRUE)), st.integers(0, 200))
def test_a_broken_file_is_read_or_refused(junk: bytes, at: int, lost: int) -> None:
    try:
        arrays = parse(TRUE[:at] + junk + TRUE[at + lost :])
    except ValueError:
        return
    assert all(array.synced >= 0 for array in arrays)
