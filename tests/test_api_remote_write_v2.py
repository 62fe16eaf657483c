"""Remote write of version 2.0 through the API's door."""

from pathlib import Path

import pytest

from fleetpulse.model import Metadata, is_stale
from tests.api_fakes import NOW_MS
from tests.remote_write_fakes import (
    LOAD,
    LOAD_TEXT,
    STALE,
    UP,
    UP_TEXT,
    V2,
    WRITTEN,
    Request2,
    Writer,
    block,
    integer,
    pairs,
    request,
    sample,
    series,
    snap,
)


def test_samples_are_stored_and_counted(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    for turn in range(3):
        points = [(NOW_MS + turn, 1.5), (NOW_MS + 10 + turn, 0.0)]
        message = Request2().add(UP, points[0], kind=2).add(LOAD, points[1])
        answer = writer.send2(message.add(LOAD, *points))
        assert answer.status_code == 204
        assert answer.headers[WRITTEN] == "4"
    kept = writer.stored()
    assert [at for at, _ in kept[UP_TEXT]] == [0, 1, 2]
    assert [at for at, _ in kept[LOAD_TEXT]] == [0, 1, 2, 10, 11, 12]


def test_both_versions_write_the_same_series(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    writer.send(series(UP, (NOW_MS, 1.0)))
    writer.send2(Request2().add(UP, (NOW_MS + 1, STALE)))
    kept = writer.stored()[UP_TEXT]
    assert kept[0] == (0, 1.0)
    assert is_stale(kept[1][1])
    assert writer.api.metric("fleetpulse_api_remote_write_series") == 1


def test_symbols_may_be_in_another_order_each_time(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    for turn, first in enumerate(("web1", "node", "up", "job")):
        message = Request2()
        message.ref(first)
        assert writer.send2(message.add(UP, (NOW_MS + turn, 1.0))).status_code == 204
    assert [at for at, _ in writer.stored()[UP_TEXT]] == [0, 1, 2, 3]


def test_more_symbols_than_a_byte_counts(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    for turn in range(2):
        message = Request2()
        for n in range(300):
            labels = pairs(f"m{n}", job="node", instance="h", text=f"t{n}")
            message.add(labels, (NOW_MS + turn, float(n)))
        assert writer.send2(message).status_code == 204
    assert len(writer.stored()) == 300
    text = 'm299{instance="h", job="node", text="t299"}'
    assert writer.stored()[text] == [(0, 299.0), (1, 299.0)]


def test_start_timestamps_are_read_and_not_kept(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    answer = writer.send2(Request2().add(UP, (NOW_MS, 1.0, NOW_MS - 5000)))
    assert answer.status_code == 204
    assert writer.stored() == {UP_TEXT: [(0, 1.0)]}
    ignored = "fleetpulse_api_remote_write_ignored_total"
    assert writer.api.metric(ignored, kind="start_timestamps") == 1


def test_metadata_comes_with_the_series(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    message = Request2().add(UP, (NOW_MS, 1.0), kind=2, help_text="Is it up?")
    message.add(pairs("cpu_seconds_total"), (NOW_MS, 1.0), kind=1, unit="seconds")
    writer.send2(message)
    writer.send2(message)
    assert writer.api.writer.described == [
        {
            "up": Metadata("gauge", "Is it up?", ""),
            "cpu_seconds_total": Metadata("counter", "", "seconds"),
        }
    ]


@pytest.mark.parametrize(
    ("more", "told"),
    [
        pytest.param(block(3, integer(1, 1)), "1 histograms", id="a native histogram"),
        pytest.param(b"", "0 empty", id="no sample at all"),
    ],
)
def test_a_series_without_floats_is_refused(tmp_path: Path, more: bytes, told: str) -> None:
    writer = Writer(tmp_path)
    answer = writer.send2(Request2().add(LOAD, more=more).add(UP, (NOW_MS, 1.0)))
    assert answer.status_code == 400
    assert told in answer.text
    assert writer.stored() == {UP_TEXT: [(0, 1.0)]}


def test_exemplars_are_ignored(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    exemplar = block(4, block(1, b"\x01\x02") + b"\x11" + bytes(8))
    for turn in range(2):
        message = Request2().add(UP, (NOW_MS + turn, 1.0), more=exemplar)
        assert writer.send2(message).status_code == 204
    assert [at for at, _ in writer.stored()[UP_TEXT]] == [0, 1]


@pytest.mark.parametrize(
    "refs",
    [
        pytest.param(b"\x01", id="odd in number"),
        pytest.param(b"\x01\x63", id="beyond the symbols"),
    ],
)
def test_references_to_nothing_are_refused(tmp_path: Path, refs: bytes) -> None:
    writer = Writer(tmp_path)
    message = Request2().add(UP, (NOW_MS, 1.0))
    message.series.append(block(1, refs) + block(2, sample(NOW_MS, 1.0)))
    answer = writer.send2(message)
    assert answer.status_code == 400
    assert "labels_refs" in answer.text
    assert writer.stored() == {UP_TEXT: [(0, 1.0)]}


def test_references_may_come_one_by_one(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    message = Request2()
    refs = b"".join(integer(1, ref) for ref in message.refs(UP))
    message.series.append(refs + block(2, sample(NOW_MS, 1.0)))
    assert writer.send2(message).status_code == 204
    assert writer.stored() == {UP_TEXT: [(0, 1.0)]}


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(block(4, b"x"), id="a first symbol that is not empty"),
        pytest.param(block(5, b"\x0a\x01\xff"), id="a reference without an end"),
        pytest.param(
            block(5, b"\x0a\x01\xff") + block(5, b"\x0a\x02\x01\x01"),
            id="a reference without an end before another series",
        ),
        pytest.param(block(5, b"\x0a\x06" + b"\xff" * 5 + b"\x01"), id="a huge reference"),
        pytest.param(block(5, b"\x0a\x09x"), id="references beyond the series"),
        pytest.param(b"\x2a\x7f", id="a series beyond the end"),
        pytest.param(b"\x2a", id="a tag alone"),
        pytest.param(block(5, b"\x0a"), id="a tag alone in a series"),
        pytest.param(block(5, b"\x2a\x02\x08\x01\x10\x01\x12"), id="cut off after metadata"),
        pytest.param(block(5, b"\x0d" + bytes(4)), id="references of another type"),
    ],
)
def test_a_broken_message_is_refused_whole(tmp_path: Path, body: bytes) -> None:
    writer = Writer(tmp_path)
    assert writer.raw(snap(body), V2).status_code == 400
    assert writer.stored() == {}


def test_a_message_of_version_1_announced_as_2_says_nothing(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    answer = writer.raw(snap(request(series(UP, (NOW_MS, 1.0)))), V2)
    assert (answer.status_code, answer.headers[WRITTEN]) == (204, "0")
