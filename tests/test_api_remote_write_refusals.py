"""Remote write: what is refused, and how the sender is told."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from fleetpulse.errors import StorageError
from tests.api_fakes import NOW_MS
from tests.remote_write_fakes import (
    LOAD,
    LOAD_TEXT,
    UP,
    UP_TEXT,
    V1,
    WRITTEN,
    Pairs,
    Request2,
    Writer,
    block,
    hosts,
    integer,
    label,
    pairs,
    request,
    sample,
    series,
    snap,
)

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
