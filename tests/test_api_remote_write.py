"""Remote write through the API's door: what is stored, what is refused, and how it is told."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from fleetpulse.errors import StorageError
from fleetpulse.model import Metadata, Part, is_stale
from tests.api_fakes import NOW_MS
from tests.remote_write_fakes import (
    STALE,
    V1,
    V2,
    Pairs,
    Request2,
    Writer,
    block,
    integer,
    label,
    metadata,
    number,
    pairs,
    request,
    sample,
    series,
    snap,
)  # fmt: skip

UP = pairs("up", job="node", instance="web1")
LOAD = pairs("load", job="node", instance="web1")
UP_TEXT = 'up{instance="web1", job="node"}'
LOAD_TEXT = 'load{instance="web1", job="node"}'
WRITTEN = "X-Prometheus-Remote-Write-Samples-Written"


def hosts(at_ms: int, value: float, count: int = 3, lines: int = 4) -> list[bytes]:
    """What a scraper of some hosts would send of one scrape."""
    return [
        series(pairs(f"m{n}", job="node", instance=f"h{host}"), (at_ms, value + n))
        for host in range(count)
        for n in range(lines)
    ]


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


BAD_SERIES: list[Any] = [
    pytest.param([("job", "node")], "no __name__", id="without a name"),
    pytest.param([("__name__", ""), ("job", "node")], "no __name__", id="with an empty name"),
    pytest.param([*UP, ("job", "other")], "label job comes twice", id="with a label twice"),
    pytest.param([*UP, ("", "x")], "a label has no name", id="with a nameless label"),
    pytest.param([*UP, ("a" * 33, "x")], "label_name_length_limit", id="with a long name"),
    pytest.param([*UP, ("a", "x" * 65)], "label_value_length_limit", id="with a long value"),
    pytest.param([*UP, *((f"l{n}", "x") for n in range(8))], "label_limit", id="with many labels"),
]
LIMITS = {"label_limit": 8, "label_name_length_limit": 32, "label_value_length_limit": 64}


@pytest.mark.parametrize(("labels", "told"), BAD_SERIES)
@pytest.mark.parametrize("version", [pytest.param(1, id="v1"), pytest.param(2, id="v2")])
def test_a_bad_series_is_refused_and_the_others_stored(
    tmp_path: Path, labels: Pairs, told: str, version: int
) -> None:
    writer = Writer(tmp_path, **LIMITS)
    for turn in range(2):
        points = [(NOW_MS + turn, 1.0)]
        if version == 1:
            answer = writer.send(series(UP, *points), series(labels, *points))
        else:
            answer = writer.send2(Request2().add(UP, *points).add(labels, *points))
        assert answer.status_code == 400
        assert answer.headers[WRITTEN] == "1"
        assert answer.json is not None
        assert told in answer.json["error"]
        assert answer.json["error"].startswith("1 samples stored; refused: 1 label")
    assert writer.stored() == {UP_TEXT: [(0, 1.0), (1, 1.0)]}


def test_labels_that_are_no_utf8_are_refused(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    bad = block(1, label("__name__", "up")) + block(1, block(1, b"job") + block(2, b"\xff"))
    answer = writer.send(bad + block(2, sample(NOW_MS, 1.0)), series(UP, (NOW_MS, 1.0)))
    assert answer.status_code == 400
    assert answer.headers[WRITTEN] == "1"


@pytest.mark.parametrize(
    ("at_ms", "reason"),
    [
        pytest.param(NOW_MS - 8 * 86_400_000, "too_old", id="older than is kept"),
        pytest.param(NOW_MS + 601_000, "too_far_ahead", id="more than ten minutes ahead"),
        pytest.param(-1, "too_old", id="before 1970"),
        pytest.param(NOW_MS * 1000, "too_far_ahead", id="microseconds"),
        pytest.param(0, "too_old", id="no time at all"),
    ],
)
def test_times_out_of_bounds_are_refused(tmp_path: Path, at_ms: int, reason: str) -> None:
    writer = Writer(tmp_path)
    answer = writer.send(series(UP, (at_ms, 1.0)), series(LOAD, (NOW_MS, 1.0)))
    assert answer.status_code == 400
    assert answer.json is not None
    assert f"1 {reason}" in answer.json["error"]
    assert writer.stored() == {LOAD_TEXT: [(0, 1.0)]}
    name = "fleetpulse_api_remote_write_samples_refused_total"
    assert writer.api.metric(name, reason=reason) == 1


def test_new_series_beyond_the_limit_are_refused_and_known_ones_go_on(tmp_path: Path) -> None:
    writer = Writer(tmp_path, max_series=2)
    old, new = hosts(NOW_MS, 1.0, count=1, lines=2), hosts(NOW_MS, 1.0, count=1, lines=3)
    assert writer.send(*old).status_code == 204
    assert writer.send(*new).status_code == 400
    assert writer.send(*old).status_code == 204
    assert writer.api.metric("fleetpulse_api_remote_write_series") == 2


def test_series_that_ended_make_room_for_others(tmp_path: Path) -> None:
    writer = Writer(tmp_path, max_series=4)
    assert writer.send(*hosts(NOW_MS, 1.0, count=1)).status_code == 204
    for minutes in (10, 20):
        writer.api.time += 600
        late = pairs("m0", job="node", instance="h0")
        assert writer.send(series(late, (NOW_MS + minutes * 60_000, 1.0))).status_code == 204
    assert writer.api.metric("fleetpulse_api_remote_write_series") == 1
    at_ms = round(writer.api.time * 1000)
    writer.api.writer.pages.clear()
    assert writer.send(*hosts(at_ms, 7.0, count=1)).status_code == 204
    assert [value for ((_, value),) in writer.stored().values()] == [7.0, 8.0, 9.0, 10.0]


def test_native_histograms_are_refused_and_exemplars_ignored(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    exemplar = block(3, block(1, label("trace_id", "abc")) + b"\x11" + bytes(8))
    histogram = block(4, integer(1, 3) + integer(15, NOW_MS))
    one, other = series(LOAD, more=histogram), series(UP, (NOW_MS, 1.0), more=exemplar)
    answer = writer.send(one, other)
    assert answer.status_code == 400
    assert "1 histograms" in answer.text
    assert answer.headers["X-Prometheus-Remote-Write-Histograms-Written"] == "0"
    assert answer.headers["X-Prometheus-Remote-Write-Exemplars-Written"] == "0"
    assert writer.stored() == {UP_TEXT: [(0, 1.0)]}
    assert writer.send(other).status_code == 204
    ignored = "fleetpulse_api_remote_write_ignored_total"
    assert writer.api.metric(ignored, kind="exemplars") == 2


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


def test_unknown_fields_are_skipped(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    odd = block(9, b"x") + integer(8, 7) + number(7 << 3 | 5) + bytes(4)
    body = odd + block(1, series(UP, (NOW_MS, 1.0), more=odd)) + odd
    assert writer.raw(snap(body)).status_code == 204
    assert writer.stored() == {UP_TEXT: [(0, 1.0)]}


def test_fields_may_come_in_any_order(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    named = [block(1, label(*pair)) for pair in UP]
    for turn in range(3):
        points = [block(2, sample(NOW_MS + 2 * turn + n, 1.0)) for n in range(2)]
        body = named[0] + points[0] + b"".join(named[1:]) + points[1]
        assert writer.send(body, series(UP, (NOW_MS + 100, 1.0))).status_code == 204
    assert [at for at, _ in writer.stored()[UP_TEXT]] == [0, 1, 2, 3, 4, 5, 100]


def test_what_looks_like_a_sample_and_is_none_is_no_sample(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    writer.send(series(UP, (NOW_MS, 1.0)))
    # 18 bytes after known labels, whose second is a sample's length: an unknown field of 16 bytes.
    odd = number(15 << 3 | 2) + number(16) + bytes(16)
    assert writer.send(series(UP, more=odd)).status_code == 204
    assert writer.stored() == {UP_TEXT: [(0, 1.0)]}


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"\x0a", id="a tag alone"),
        pytest.param(b"\x0a\x7f" + bytes(10), id="a series beyond the end"),
        pytest.param(b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", id="a length of 64 bits"),
        pytest.param(b"\xff" * 12, id="a number without an end"),
        pytest.param(block(1, b"\x0a\x20x"), id="a label beyond its series"),
        pytest.param(block(1, b"\x13\x00"), id="a group"),
        pytest.param(block(1, b"\x10\x01"), id="a sample that is a number"),
        pytest.param(b"\x08\x01", id="a series that is a number"),
        pytest.param(b"\x00\x00", id="field 0"),
        pytest.param(block(1, block(2, b"\x09\x01")), id="a value of too few bytes"),
    ],
)
@pytest.mark.parametrize("tail", [b"", block(1, series(UP, (NOW_MS, 1.0)))], ids=["alone", "more"])
def test_a_broken_message_is_refused_whole(tmp_path: Path, body: bytes, tail: bytes) -> None:
    writer = Writer(tmp_path)
    answer = writer.raw(snap(tail + body))
    assert answer.status_code == 400
    assert "no message of remote write 1.0" in answer.text
    assert writer.stored() == {}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param(b"", 400, id="nothing, as vmagent asks for its own protocol"),
        pytest.param(b"\xff" * 8, 400, id="no snappy"),
        pytest.param(b"\x05\x00a", 400, id="cut off"),
        pytest.param(b"\xff\xff\xff\xff\x0f\x00", 413, id="a bomb of 4 GB"),
        pytest.param(snap(bytes(70 << 20)), 413, id="a bomb that is one"),
        pytest.param(bytes((16 << 20) + 1), 413, id="too large as it is"),
        pytest.param(snap(request(*hosts(NOW_MS, 1.0, lines=10)) * 2000), 413, id="many samples"),
        pytest.param(snap(b""), 204, id="a request without series"),
    ],
)
def test_bodies(tmp_path: Path, body: bytes, status: int) -> None:
    writer = Writer(tmp_path, max_samples=50_000)
    assert writer.raw(body).status_code == status
    assert writer.stored() == {}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param({}, 204, id="nothing told"),
        pytest.param({"Content-Type": "application/x-protobuf"}, 204, id="the type alone"),
        pytest.param({**V1, "X-Prometheus-Remote-Write-Version": "9"}, 204, id="another version"),
        pytest.param(
            {**V1, "Content-Type": "application/x-protobuf;proto=prometheus.WriteRequest"},
            204,
            id="the message told",
        ),
        pytest.param(
            {**V1, "Content-Type": 'application/x-protobuf; proto="prometheus.WriteRequest"'},
            204,
            id="the message in quotes",
        ),
        pytest.param({**V1, "Content-Type": "application/json"}, 415, id="JSON"),
        pytest.param(
            {**V1, "Content-Type": "application/x-protobuf;proto=io.prometheus.write.v3.Request"},
            415,
            id="a later message",
        ),
        pytest.param({**V1, "Content-Encoding": "zstd"}, 415, id="zstd, as vmagent tries"),
        pytest.param({**V1, "Content-Encoding": "gzip"}, 415, id="gzip"),
    ],
)
def test_headers(tmp_path: Path, headers: Mapping[str, str], status: int) -> None:
    writer = Writer(tmp_path)
    assert writer.raw(snap(request(series(UP, (NOW_MS, 1.0)))), headers).status_code == status


@pytest.mark.parametrize(
    ("retriable", "status", "after"),
    [pytest.param(True, 503, "5", id="away"), pytest.param(False, 500, None, id="broken")],
)
def test_a_store_that_fails_is_told_so_that_the_sender_tries_again(
    tmp_path: Path, retriable: bool, status: int, after: str | None
) -> None:
    writer = Writer(tmp_path)
    writer.api.writer.failure = StorageError("the disk is full", retriable=retriable)
    answer = writer.send(series(UP, (NOW_MS, 1.0)))
    assert (answer.status_code, answer.headers.get("Retry-After")) == (status, after)
    name = "fleetpulse_api_remote_write_requests_total"
    assert writer.api.metric(name, version="1.0", result="failed") == 1
    writer.api.writer.failure = None
    assert writer.send(series(UP, (NOW_MS, 1.0))).status_code == 204
    assert writer.stored() == {UP_TEXT: [(0, 1.0)]}


def test_a_sender_is_told_to_wait_where_all_places_are_taken(tmp_path: Path) -> None:
    writer = Writer(tmp_path, max_concurrency=1, max_wait=0)
    answers = []

    def meanwhile() -> None:
        writer.api.writer.when_writing = lambda: None
        answers.append(writer.send(series(LOAD, (NOW_MS, 1.0))))

    writer.api.writer.when_writing = meanwhile
    assert writer.send(series(UP, (NOW_MS, 1.0))).status_code == 204
    assert answers[0].status_code == 503
    assert answers[0].headers["Retry-After"] == "2"


def test_the_receiver_can_be_turned_off(tmp_path: Path) -> None:
    assert Writer(tmp_path, enabled=False).send(series(UP, (NOW_MS, 1.0))).status_code == 404


@pytest.mark.parametrize(
    ("scope", "server", "status"),
    [
        pytest.param("push", None, 204, id="a push key"),
        pytest.param("admin", None, 204, id="an admin key"),
        pytest.param("push", "web1", 204, id="a key of the series' instance"),
        pytest.param("push", "web2", 403, id="a key of another instance"),
        pytest.param("read", None, 403, id="a read key"),
    ],
)
@pytest.mark.parametrize(
    "target_labels", [["job", "instance"], ["job"]], ids=["usual", "instance in the line"]
)
def test_which_keys_open_it(
    tmp_path: Path, scope: Any, server: str | None, status: int, target_labels: list[str]
) -> None:
    writer = Writer(tmp_path, target_labels=target_labels)
    key = writer.api.key(scope, server)
    body = snap(request(series(UP, (NOW_MS, 1.0))))
    assert writer.raw(body, key=key).status_code == status
    assert bool(writer.stored()) == (status == 204)


def test_without_a_key_it_is_closed(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    body = snap(request(series(UP, (NOW_MS, 1.0))))
    assert writer.api.client().post("/api/v1/write", data=body, headers=V1).status_code == 401


def test_a_sender_with_a_key_is_not_slowed_by_the_rate_limit(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    writer.api.config = writer.api.config.model_copy(update={"rate_limit": "2/hour"})
    answers = [writer.send(series(UP, (NOW_MS, 1.0))).status_code for _ in range(5)]
    wrong = [writer.raw(b"", key="fp_nonsense").status_code for _ in range(3)]
    assert (answers, wrong) == ([204] * 5, [401, 401, 429])


class TestVersion2:
    def test_samples_are_stored_and_counted(self, tmp_path: Path) -> None:
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

    def test_both_versions_write_the_same_series(self, tmp_path: Path) -> None:
        writer = Writer(tmp_path)
        writer.send(series(UP, (NOW_MS, 1.0)))
        writer.send2(Request2().add(UP, (NOW_MS + 1, STALE)))
        kept = writer.stored()[UP_TEXT]
        assert kept[0] == (0, 1.0)
        assert is_stale(kept[1][1])
        assert writer.api.metric("fleetpulse_api_remote_write_series") == 1

    def test_symbols_may_be_in_another_order_each_time(self, tmp_path: Path) -> None:
        writer = Writer(tmp_path)
        for turn, first in enumerate(("web1", "node", "up", "job")):
            message = Request2()
            message.ref(first)
            assert writer.send2(message.add(UP, (NOW_MS + turn, 1.0))).status_code == 204
        assert [at for at, _ in writer.stored()[UP_TEXT]] == [0, 1, 2, 3]

    def test_more_symbols_than_a_byte_counts(self, tmp_path: Path) -> None:
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

    def test_start_timestamps_are_read_and_not_kept(self, tmp_path: Path) -> None:
        writer = Writer(tmp_path)
        answer = writer.send2(Request2().add(UP, (NOW_MS, 1.0, NOW_MS - 5000)))
        assert answer.status_code == 204
        assert writer.stored() == {UP_TEXT: [(0, 1.0)]}
        ignored = "fleetpulse_api_remote_write_ignored_total"
        assert writer.api.metric(ignored, kind="start_timestamps") == 1

    def test_metadata_comes_with_the_series(self, tmp_path: Path) -> None:
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
    def test_a_series_without_floats_is_refused(
        self, tmp_path: Path, more: bytes, told: str
    ) -> None:
        writer = Writer(tmp_path)
        answer = writer.send2(Request2().add(LOAD, more=more).add(UP, (NOW_MS, 1.0)))
        assert answer.status_code == 400
        assert told in answer.text
        assert writer.stored() == {UP_TEXT: [(0, 1.0)]}

    def test_exemplars_are_ignored(self, tmp_path: Path) -> None:
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
    def test_references_to_nothing_are_refused(self, tmp_path: Path, refs: bytes) -> None:
        writer = Writer(tmp_path)
        message = Request2().add(UP, (NOW_MS, 1.0))
        message.series.append(block(1, refs) + block(2, sample(NOW_MS, 1.0)))
        answer = writer.send2(message)
        assert answer.status_code == 400
        assert "labels_refs" in answer.text
        assert writer.stored() == {UP_TEXT: [(0, 1.0)]}

    def test_references_may_come_one_by_one(self, tmp_path: Path) -> None:
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
    def test_a_broken_message_is_refused_whole(self, tmp_path: Path, body: bytes) -> None:
        writer = Writer(tmp_path)
        assert writer.raw(snap(body), V2).status_code == 400
        assert writer.stored() == {}

    def test_a_message_of_version_1_announced_as_2_says_nothing(self, tmp_path: Path) -> None:
        writer = Writer(tmp_path)
        answer = writer.raw(snap(request(series(UP, (NOW_MS, 1.0)))), V2)
        assert (answer.status_code, answer.headers[WRITTEN]) == (204, "0")


def _messages() -> dict[str, bytes]:
    usual = [*hosts(NOW_MS, 0.0, count=2), series(UP, (NOW_MS, 1.0), (NOW_MS + 1, STALE))]
    first = request(*usual, metadata=[metadata(1, "m1", "Help.")])
    second = Request2().add(UP, (NOW_MS, 1.0), kind=1, help_text="Help.")
    second.add(LOAD, (NOW_MS, 0.0)).add(LOAD, (NOW_MS + 1, 2.0, 5), (NOW_MS + 2, 3.0))
    return {"1.0": first, "2.0": second.bytes()}


@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_whatever_comes_is_answered(tmp_path: Path, version: str) -> None:
    """Each byte of a message once as it must not be: refused, or taken for what it then says."""
    writer = Writer(tmp_path)
    message, headers = _messages()[version], V1 if version == "1.0" else V2
    assert writer.raw(snap(message), headers).status_code == 204
    for place in range(len(message)):
        for octet in (0x00, 0x0A, 0x12, 0x7F, 0x80, 0xFF):
            broken = message[:place] + bytes([octet]) + message[place + 1 :]
            assert writer.raw(snap(broken), headers).status_code in (204, 400), (place, octet)
        assert writer.raw(snap(message[:place]), headers).status_code in (204, 400), place
