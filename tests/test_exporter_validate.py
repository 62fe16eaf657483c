"""Values that cannot be true."""

import math

import pytest

from exporter.validate import validated
from fleetpulse.model import MetricFamily, counter, gauge, untyped
from tests.exporter_fakes import values

SINGLE = [
    pytest.param(gauge("node_load1", "h", 1.5), True, id="a value like any"),
    pytest.param(gauge("node_load1", "h", math.nan), False, id="NaN"),
    pytest.param(gauge("node_load1", "h", math.inf), False, id="infinity"),
    pytest.param(untyped("node_vmstat_x", "h", -math.inf), False, id="minus infinity"),
    pytest.param(counter("node_forks_total", "h", 0), True, id="a counter at zero"),
    pytest.param(counter("node_forks_total", "h", -1), False, id="a negative counter"),
    pytest.param(gauge("node_timex_offset_seconds", "h", -1), True, id="a negative gauge"),
    pytest.param(gauge("node_memory_Dirty_bytes", "h", -1), False, id="less than no bytes"),
    pytest.param(gauge("node_network_speed_bytes", "h", -125000), True, id="an unknown speed"),
]


@pytest.mark.parametrize(("family", "good"), SINGLE)
def test_single_values(family: MetricFamily, good: bool) -> None:
    kept, dropped = validated([family])
    assert [one.name for one in kept] == [family.name] * good
    assert len(dropped) == (not good)


PARTS = [
    pytest.param("filesystem_avail_bytes", "filesystem_size_bytes", id="room for users"),
    pytest.param("filesystem_free_bytes", "filesystem_size_bytes", id="room"),
    pytest.param("filesystem_files_free", "filesystem_files", id="inodes"),
    pytest.param("memory_MemAvailable_bytes", "memory_MemTotal_bytes", id="memory"),
    pytest.param("memory_MemFree_bytes", "memory_MemTotal_bytes", id="free memory"),
    pytest.param("memory_SwapFree_bytes", "memory_SwapTotal_bytes", id="swap"),
    pytest.param("memory_HugePages_Free", "memory_HugePages_Total", id="huge pages"),
]


@pytest.mark.parametrize(("part", "whole"), PARTS)
@pytest.mark.parametrize(("value", "good"), [(10, True), (11, False)])
def test_a_part_is_no_more_than_the_whole(part: str, whole: str, value: float, good: bool) -> None:
    # The part comes first: what is on the page later must be known all the same.
    families = [gauge(f"node_{part}", "h", value), gauge(f"node_{whole}", "h", 10)]
    kept, dropped = validated(families)
    assert len(kept) == 1 + good
    assert values(kept)[f"node_{whole}"] == 10
    assert len(dropped) == (not good)


def test_a_part_is_held_against_the_whole_of_its_own_labels() -> None:
    size = gauge("node_filesystem_size_bytes", "h").add(10, mountpoint="/").add(99, mountpoint="/a")
    free = gauge("node_filesystem_free_bytes", "h").add(50, mountpoint="/").add(50, mountpoint="/a")
    kept, [dropped] = validated([size, free])
    assert values(kept)['node_filesystem_free_bytes{mountpoint="/a"}'] == 50
    assert str(dropped) == 'node_filesystem_free_bytes{mountpoint="/"} 50: more than the whole, 10'


def test_a_series_that_is_there_twice_is_told_once() -> None:
    family = gauge("node_x", "h").add(1, device="a").add(2, device="a").add(3, device="b")
    kept, dropped = validated([family])
    assert values(kept) == {'node_x{device="a"}': 1, 'node_x{device="b"}': 3}
    assert [one.reason for one in dropped] == ["the series is there twice"]
