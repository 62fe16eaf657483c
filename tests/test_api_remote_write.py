"""Remote write through the API's door: what is stored, and as what."""

import math
from pathlib import Path

import pytest

from fleetpulse.model import Metadata, Part, is_stale
from tests.api_fakes import NOW_MS
from tests.remote_write_fakes import (
    LOAD,
    LOAD_TEXT,
    STALE,
    UP,
    UP_TEXT,
    WRITTEN,
    Writer,
    hosts,
    metadata,
    pairs,
    request,
    series,
    snap,
)


def test_samples_are_stored_with_the_labels_as_sent(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    answer = writer.send(series(UP, (NOW_MS, 1.0)), series(LOAD, (NOW_MS, 0.5)))
    assert (answer.status_code, answer.data) == (204, b"")
    assert answer.headers[WRITTEN] == "2"
    assert writer.stored() == {UP_TEXT: [(0, 1.0)], LOAD_TEXT: [(0, 0.5)]}


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(0.0, id="zero, which protobuf leaves out"),
        pytest.param(-0.0, id="minus zero, which it does not"),
        pytest.param(math.inf, id="infinity"),
        pytest.param(-1e300, id="large and negative"),
        pytest.param(5e-324, id="the least there is"),
    ],
)
def test_a_value_is_stored_to_the_bit(tmp_path: Path, value: float) -> None:
    writer = Writer(tmp_path)
    for turn in range(3):  # new to the receiver, then known
        assert writer.send(series(UP, (NOW_MS + turn, value))).status_code == 204
    kept = [found for _, found in writer.stored()[UP_TEXT]]
    assert [one.hex() for one in kept] == [value.hex()] * 3


@pytest.mark.parametrize("turns", [pytest.param(1, id="new"), pytest.param(2, id="known")])
def test_the_staleness_marker_keeps_its_bits(tmp_path: Path, turns: int) -> None:
    writer = Writer(tmp_path)
    for turn in range(turns):
        writer.send(series(UP, (NOW_MS + turn, STALE)), series(LOAD, (NOW_MS + turn, math.nan)))
    kept = writer.stored()
    assert all(is_stale(value) for _, value in kept[UP_TEXT])
    assert all(math.isnan(value) and not is_stale(value) for _, value in kept[LOAD_TEXT])


@pytest.mark.parametrize(
    "at_ms",
    [
        pytest.param(NOW_MS - 86_400_000, id="a day ago"),
        pytest.param(NOW_MS + 599_000, id="nearly ten minutes ahead"),
    ],
)
def test_times_within_bounds_are_taken(tmp_path: Path, at_ms: int) -> None:
    writer = Writer(tmp_path)
    assert writer.send(series(UP, (at_ms, 1.0))).status_code == 204
    assert writer.stored() == {UP_TEXT: [(at_ms - NOW_MS, 1.0)]}


def test_out_of_order_samples_and_several_of_a_series_are_taken(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    writer.send(series(UP, (NOW_MS, 3.0)))
    answer = writer.send(series(UP, (NOW_MS - 2000, 1.0), (NOW_MS - 1000, 2.0)))
    assert answer.status_code == 204
    assert writer.stored() == {UP_TEXT: [(-2000, 1.0), (-1000, 2.0), (0, 3.0)]}


def test_of_two_samples_at_one_time_the_last_counts(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    for _ in range(2):
        assert writer.send(series(UP, (NOW_MS, 1.0)), series(UP, (NOW_MS, 2.0))).status_code == 204
    assert writer.stored() == {UP_TEXT: [(0, 2.0)]}


def test_a_repeated_request_changes_nothing(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    body = snap(request(*hosts(NOW_MS, 1.0)))
    writer.raw(body)
    before = writer.stored()
    assert writer.raw(body).status_code == 204
    assert writer.stored() == before


def test_targets_of_one_shape_share_a_layout_however_requests_are_cut(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    first = hosts(NOW_MS, 1.0)
    for cut in (first[:3], first[3:5], first[5:]):
        assert writer.send(*cut).status_code == 204
    writer.api.writer.pages.clear()
    second = hosts(NOW_MS + 15_000, 5.0)
    writer.send(*second[:6])
    writer.send(*second[6:])
    pages = writer.api.writer.pages
    wholes = [page.layout for page in pages if not isinstance(page.layout, Part)]
    parts = [page.layout for page in pages if isinstance(page.layout, Part)]
    assert [len(page.values) for page in pages] == [4, 2, 2, 4]
    assert {id(one) for one in wholes} == {id(part.whole) for part in parts}
    assert len(writer.stored()) == 12


def test_a_large_target_is_several_pages(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    for turn in range(2):
        writer.api.writer.pages.clear()
        writer.send(*hosts(NOW_MS + turn, 1.0, count=1, lines=2500))
        assert [len(page.values) for page in writer.api.writer.pages] == [1024, 1024, 452]
    assert len(writer.stored()) == 2500


def test_series_without_job_and_instance_are_taken(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    assert writer.send(series(pairs("total"), (NOW_MS, 1.0))).status_code == 204
    assert writer.stored() == {"total": [(0, 1.0)]}


def test_target_labels_may_be_told(tmp_path: Path) -> None:
    writer = Writer(tmp_path, target_labels=["instance", "cluster"])
    writer.send(series(pairs("up", instance="a", cluster="north", job="x"), (NOW_MS, 1.0)))
    (page,) = writer.api.writer.pages
    assert dict(page.target) == {"cluster": "north", "instance": "a"}


def test_names_may_be_any_utf8(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    labels = [("__name__", "größe.total"), ("http.status", "200"), ("é", "ü")]
    assert writer.send(series(labels, (NOW_MS, 1.0))).status_code == 204
    assert list(writer.stored()) == ['größe.total{http.status="200", é="ü"}']


def test_labels_need_not_be_sorted_and_empty_ones_do_not_count(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    labels = [("job", "node"), ("empty", ""), ("instance", "web1"), ("__name__", "up")]
    writer.send(series(labels, (NOW_MS, 1.0)))
    writer.send(series(UP, (NOW_MS + 1, 2.0)))
    assert writer.stored() == {UP_TEXT: [(0, 1.0), (1, 2.0)]}


def test_metadata_is_told_to_the_store_when_it_is_new(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    for help_text in ("Seconds.", "Seconds.", "Seconds of CPU."):
        told = metadata(1, "cpu_seconds", help_text, "seconds")
        assert writer.raw(snap(request(metadata=[told, metadata(99, "odd")]))).status_code == 204
    first, second = writer.api.writer.described
    assert first == {
        "cpu_seconds": Metadata("counter", "Seconds.", "seconds"),
        "odd": Metadata("untyped"),
    }
    assert second == {"cpu_seconds": Metadata("counter", "Seconds of CPU.", "seconds")}
