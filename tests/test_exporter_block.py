"""Values that cannot be true, and counters that fall."""

import math

import pytest

from exporter.block import Block, Dropped
from exporter.families import Family, Found, Rows, counter, gauge, untyped
from exporter.page import TEXT
from tests.exporter_fakes import samples


def taken(block: Block, *found: Found) -> tuple[dict[str, float], list[Dropped]]:
    part, dropped = block.take(found)
    return samples(part.text(TEXT)), dropped


SINGLE = [
    pytest.param(gauge("node_load1", "h"), 1.5, "", id="a value like any"),
    pytest.param(gauge("node_load1", "h"), math.nan, "not_finite", id="NaN"),
    pytest.param(gauge("node_load1", "h"), math.inf, "not_finite", id="infinity"),
    pytest.param(untyped("node_vmstat_x", "h"), -math.inf, "not_finite", id="minus infinity"),
    pytest.param(Family("x", "h", "gauge", raw=True), math.inf, "", id="infinity that is meant"),
    pytest.param(counter("node_forks_total", "h"), 0, "", id="a counter at zero"),
    pytest.param(counter("node_forks_total", "h"), -1, "below_range", id="a negative counter"),
    pytest.param(gauge("node_timex_offset_seconds", "h"), -1, "", id="a negative gauge"),
    pytest.param(gauge("node_memory_Dirty_bytes", "h"), -1, "below_range", id="less than no bytes"),
    pytest.param(gauge("node_speed_bytes", "h", least=-8), -8, "", id="bytes that may be negative"),
    pytest.param(gauge("node_power_capacity", "h", most=100), 100, "", id="at the most"),
    pytest.param(gauge("node_power_capacity", "h", most=100), 101, "above_range", id="over it"),
    pytest.param(counter("node_big_total", "h"), 2**64 - 1, "", id="a whole 64-bit counter"),
]


@pytest.mark.parametrize(("family", "value", "reason"), SINGLE)
def test_a_value_that_cannot_be_true_is_dropped(family: Family, value: float, reason: str) -> None:
    found, dropped = taken(Block(), (family, value))
    assert found == ({} if reason else {family.name: float(value)})
    assert [one.reason for one in dropped] == [reason] * bool(reason)


SIZE = gauge("node_filesystem_size_bytes", "h", "mountpoint")
FREE = gauge("node_filesystem_free_bytes", "h", "mountpoint", whole=SIZE)


def test_a_part_is_held_against_the_whole_of_its_own_labels() -> None:
    # The part comes first: what is on the page later must be known all the same.
    found, [dropped] = taken(
        Block(), (FREE, {("/",): 50, ("/a",): 50}), (SIZE, {("/",): 10, ("/a",): 50})
    )
    assert found == {
        'node_filesystem_free_bytes{mountpoint="/a"}': 50,
        'node_filesystem_size_bytes{mountpoint="/"}': 10,
        'node_filesystem_size_bytes{mountpoint="/a"}': 50,
    }
    assert str(dropped) == 'node_filesystem_free_bytes{mountpoint="/"} 50: above_whole'


def test_a_part_without_its_whole_is_told() -> None:
    assert taken(Block(), (FREE, {("/",): 50})) == (
        {'node_filesystem_free_bytes{mountpoint="/"}': 50},
        [],
    )


PACKETS = counter("node_packets_total", "h", "device")

WALKS = [
    pytest.param([1000, 1500], [1000, 1500], 0, id="it rises"),
    pytest.param([1000, 1000], [1000, 1000], 0, id="it stands"),
    pytest.param([1000, 999, 1001], [1000, 1000, 1001], 1, id="it slips back and its last stays"),
    pytest.param([1000, 999, 998, 999], [1000, 1000, 1000, 1000], 3, id="while it is behind"),
    pytest.param(
        [1000, 999, *[995] * 10, 996],
        [*[1000] * 11, 995, 996],
        10,
        id="but not for ever: then it was no slip",
    ),
    pytest.param(
        [1000, *[999] * 9, 1001, *[999] * 10],
        [*[1000] * 10, *[1001] * 11],
        19,
        id="each slip has its own time",
    ),
    pytest.param([1000, math.nan, 999], [1000, None, 1000], 2, id="NaN between is not remembered"),
    pytest.param([1000, 0, 1], [1000, 0, 1], 0, id="to zero it was reset"),
    pytest.param([1000, 490, 600], [1000, 490, 600], 0, id="below half as well"),
    pytest.param([2, 1, 1], [2, 1, 1], 0, id="a driver reset that had counted little"),
    pytest.param(
        [4.2e9, 3.6e9, 3.1e9],
        [4.2e9, 3.6e9, 3.1e9],
        0,
        id="a meter of 32 bits that wraps once an interval",
    ),
    pytest.param(
        [8e12, 6e12, 6.1e12], [8e12, 6e12, 6.1e12], 0, id="a card that forgot some of its queues"
    ),
    pytest.param([9e5, 7e5, 8e5], [9e5, 7e5, 8e5], 0, id="another device under its name"),
]


@pytest.mark.parametrize(("seen", "told", "dropped"), WALKS)
def test_a_counter_falls_only_by_a_reset(
    seen: list[float], told: list[float | None], dropped: int
) -> None:
    block, walked, count = Block(), list[float | None](), 0
    for value in seen:
        found, lost = taken(block, (PACKETS, {("eth0",): value}))
        walked.append(found.get('node_packets_total{device="eth0"}'))
        count += len(lost)
    assert walked == told
    assert count == dropped


def test_a_counter_is_remembered_when_another_device_comes() -> None:
    block = Block()
    taken(block, (PACKETS, {("eth0",): 1000}))
    found, [dropped] = taken(block, (PACKETS, {("br0",): 5, ("eth0",): 999}))
    assert found['node_packets_total{device="eth0"}'] == 1000
    assert dropped.reason == "went_backwards"


def test_a_guarded_counter_is_its_collectors_to_guard() -> None:
    guarded = counter("node_cpu_seconds_total", "h", guarded=True)
    block = Block()
    taken(block, (guarded, 100))
    assert taken(block, (guarded, 90)) == ({"node_cpu_seconds_total": 90}, [])
    assert taken(block, (guarded, -1))[1][0].reason == "below_range"


def test_a_gauge_may_fall() -> None:
    load, block = gauge("node_load1", "h"), Block()
    taken(block, (load, 9))
    assert taken(block, (load, 8)) == ({"node_load1": 8}, [])


def test_a_family_of_another_collector_is_left_out() -> None:
    mine, other = gauge("mine", "h"), gauge("node_load1", "h")
    block = Block(lambda name: name == "mine")
    found, [dropped] = taken(block, (other, 3), (mine, 1))
    assert found == {"mine": 1}
    assert dropped.reason == "name_taken"


def test_a_family_that_is_told_twice_is_a_fault() -> None:
    load = gauge("node_load1", "h")
    with pytest.raises(ValueError, match="told twice: node_load1"):
        Block().take([(load, 1), (gauge("other", "h"), 1), (load, 2)])


def test_what_is_dropped_at_each_turn_leaves_the_rest_as_it_is() -> None:
    block, bad, good = Block(), gauge("bad", "h"), gauge("good", "h")
    parts = [block.take([(bad, math.nan), (good, n)])[0] for n in range(3)]
    assert [samples(part.text(TEXT)) for part in parts] == [{"good": n} for n in range(3)]
    assert parts[1].shape is parts[2].shape
    assert taken(block, (bad, 1), (good, 9)) == ({"bad": 1, "good": 9}, [])


def test_not_a_number_is_dropped_beside_one_that_is_meant() -> None:
    raw, plain = Family("raw", "h", "gauge", raw=True), gauge("node_load1", "h")
    page, dropped = taken(Block(), (raw, math.nan), (plain, math.nan))
    assert list(page) == ["raw"]
    assert [str(one) for one in dropped] == ["node_load1 nan: not_finite"]


def test_a_family_is_refused_for_any_of_its_names() -> None:
    histogram = Family("wait", "h", "histogram", ("le",), raw=True)
    rows: Rows = {("_bucket", "+Inf"): 1, ("_sum", ""): 1, ("_count", ""): 1}
    page, dropped = taken(Block(lambda name: name != "wait_count"), (histogram, rows))
    assert page == {}
    assert [str(one) for one in dropped] == [
        'wait_bucket{le="+Inf"} 1: name_taken', "wait_sum 1: name_taken", "wait_count 1: name_taken"
    ]  # fmt: skip
