import threading
from pathlib import Path
from typing import Any

import pytest

from fleetpulse.errors import StorageError
from fleetpulse.model import Metadata
from tests.api_fakes import NOW, NOW_MS
from tests.push_fakes import TEXT, Push


@pytest.fixture
def push(tmp_path: Path) -> Push:
    return Push(tmp_path)


def test_json_samples_are_stored_under_the_server(push: Push) -> None:
    answer = push.samples(
        {"name": "queue", "labels": {"q": "mail"}, "value": 3},
        {"name": "queue", "labels": {"q": "web"}, "value": 4.5, "timestamp": NOW - 60},
        {"name": "queue", "value": -1, "timestamp": "2023-11-14T22:12:20Z"},
    )
    assert answer.status_code == 202
    assert answer.json == {"accepted": 3, "rejected": 0, "duplicate": 0}
    rest = 'instance="web1", job="push"'
    assert push.stored() == {
        f'queue{{{rest}, q="mail", site="north"}}': [(NOW_MS, 3.0)],
        f'queue{{{rest}, q="web", site="north"}}': [(NOW_MS - 60_000, 4.5)],
        f'queue{{{rest}, site="north"}}': [(NOW_MS - 60_000, -1.0)],
    }


def test_a_page_says_that_the_server_is_up_and_when_it_came(push: Push) -> None:
    push.text("a 1\n", f"?server=web1&timestamp={NOW - 30}")
    labels = '{instance="web1", job="push", site="north"}'
    samples = push.api.writer.samples()
    assert samples[f"up{labels}", NOW_MS - 30_000] == 1.0
    received = f"fleetpulse_push_received_timestamp_seconds{labels}"
    assert samples[received, NOW_MS - 30_000] == NOW


def test_a_text_page_is_stored_and_described_once(push: Push) -> None:
    page = '# HELP a What it is.\n# TYPE a counter\na{x="1"} 5\nb 6 1699999990000\n'
    for _ in range(2):
        assert push.text(page).json == {"accepted": 2, "rejected": 0, "duplicate": 0}
    assert push.stored() == {
        'a{instance="web1", job="push", site="north", x="1"}': [(NOW_MS, 5.0)],
        'b{instance="web1", job="push", site="north"}': [(NOW_MS - 10_000, 6.0)],
    }
    assert [dict(one) for one in push.api.writer.described] == [
        {"a": Metadata("counter", "What it is.")}
    ]


def test_an_openmetrics_page_is_read_as_such(push: Push) -> None:
    kind = {"Content-Type": "application/openmetrics-text; version=1.0.0"}
    page = "# TYPE a counter\na_total 5 1699999990.5\n# EOF\n"
    assert push.text(page, **kind).json["accepted"] == 1  # type: ignore[index]
    (samples,) = push.stored().values()
    assert samples == [(NOW_MS - 9_500, 5.0)]
    assert push.text(page.replace("# EOF\n", ""), **kind).status_code == 400


def test_pages_of_the_same_shape_share_their_layout(push: Push) -> None:
    for value in range(3):
        push.text(f"a {value}\nb {value}\n")
    assert len({id(page.layout) for page in push.api.writer.pages}) == 1


KINDS = [
    pytest.param("application/x-www-form-urlencoded", b"a 1\n", 202, id="as curl sends a page"),
    pytest.param("application/x-www-form-urlencoded", b' {"samples":[]}', 202, id="and JSON"),
    pytest.param("", b"a 1\n", 202, id="of no type"),
    pytest.param("application/xml", b"<a/>", 415, id="of another"),
    pytest.param("application/json", b"a 1\n", 400, id="a page that claims to be JSON"),
]


@pytest.mark.parametrize(("kind", "body", "code"), KINDS)
def test_types(push: Push, kind: str, body: bytes, code: int) -> None:
    headers = {"Content-Type": kind} if kind else {}
    assert push.raw(body, headers, query="?server=web1").status_code == code


BAD_SAMPLES = [
    pytest.param({"name": "a", "value": "3"}, "value: '3' is no finite number", id="text"),
    pytest.param({"name": "a", "value": None}, "value: None is no", id="null"),
    pytest.param({"name": "a"}, "value: None is no", id="no value"),
    pytest.param({"name": "a", "value": True}, "value: True is no", id="true"),
    pytest.param({"name": "a", "value": 10**400}, "finite", id="larger than any float"),
    pytest.param({"name": "a", "value": float("nan")}, "finite", id="NaN"),
    pytest.param({"name": "1a", "value": 1}, "name: '1a' is no metric name", id="a bad name"),
    pytest.param({"value": 1}, "name: None is no metric name", id="no name"),
    pytest.param({"name": "a", "labels": [], "value": 1}, "", id="an empty list for labels"),
    pytest.param({"name": "a", "labels": ["x"], "value": 1}, "labels: must be", id="a list"),
    pytest.param({"name": "a", "labels": {"1": "x"}, "value": 1}, "no label name", id="label"),
    pytest.param(
        {"name": "a", "labels": {"__name__": "up"}, "value": 1}, "no label name", id="the name"
    ),
    pytest.param({"name": "a", "labels": {"x": 1}, "value": 1}, "write it in quotes", id="number"),
    pytest.param({"name": "a", "labels": {"x": "\ud800"}, "value": 1}, "surrogate", id="half"),
    pytest.param({"name": "a", "value": 1, "timestamp": "noon"}, "timestamp: cannot", id="noon"),
    pytest.param({"name": "a", "value": 1, "timestamp": True}, "is no time", id="true for a time"),
    pytest.param(
        {"name": "a", "value": 1, "timestamp": NOW + 601}, "in the future", id="11 minutes ahead"
    ),
    pytest.param({"name": "a", "value": 1, "timestamp": NOW_MS}, "send seconds", id="milliseconds"),
    pytest.param(
        {"name": "a", "value": 1, "timestamp": NOW - 8 * 86400}, "older than", id="8 days old"
    ),
    pytest.param("a 1", "a sample must be an object", id="no object"),
]


@pytest.mark.parametrize(("sample", "message"), BAD_SAMPLES)
def test_a_bad_sample_is_named_and_the_others_stay(push: Push, sample: Any, message: str) -> None:
    answer = push.samples({"name": "good", "value": 1}, sample, {"name": "fine", "value": 2}).json
    assert answer is not None
    if not message:
        assert answer["accepted"] == 3
        return
    assert (answer["accepted"], answer["rejected"]) == (2, 1)
    (fault,) = answer["errors"]
    assert fault["index"] == 1
    assert message in fault["error"]
    assert len(push.stored()) == 2


def test_of_many_faults_all_are_counted_and_some_told(push: Push) -> None:
    answer = push.samples(*[{"name": "a", "value": "x"}] * 500).json
    assert answer is not None
    assert (answer["rejected"], len(answer["errors"])) == (500, 50)
    assert push.api.metric("fleetpulse_api_push_samples_total", result="rejected") == 500


def test_bad_lines_of_a_page_are_named_and_the_others_stay(push: Push) -> None:
    answer = push.text("a 1\nb text\n# comment\nc{ 1\nd 4\n").json
    assert answer is not None
    assert (answer["accepted"], answer["rejected"]) == (2, 2)
    assert [fault["line"] for fault in answer["errors"]] == [2, 4]
    assert [name[0] for name in push.stored()] == ["a", "d"]


def test_a_page_of_bad_lines_is_refused_as_a_whole(push: Push) -> None:
    answer = push.text("<html>\n" * 100)
    assert answer.status_code == 400
    assert "line 21" in answer.json["error"]  # type: ignore[index]
    assert push.api.writer.pages == []


def test_times_in_a_page_have_the_same_bounds(push: Push) -> None:
    answer = push.text(f"a 1 {NOW_MS}\nb 2 {NOW_MS + 700_000}\nc 3 5\n").json
    assert answer is not None
    assert (answer["accepted"], answer["rejected"]) == (1, 2)
    assert "c: timestamp: older" in answer["errors"][1]["error"]


@pytest.mark.parametrize("timestamp", ["noon", str(NOW + 700), "5", str(NOW_MS)])
def test_a_page_at_an_impossible_time_is_refused(push: Push, timestamp: str) -> None:
    assert push.text("a 1\n", f"?server=web1&timestamp={timestamp}").status_code == 400
    assert push.api.writer.pages == []


def test_a_series_may_come_with_several_times(push: Push) -> None:
    push.samples(
        *({"name": name, "value": turn, "timestamp": NOW - 10 * turn}
          for turn in range(3) for name in ("a", "b"))
    )  # fmt: skip
    expected = [(NOW_MS - 20_000, 2.0), (NOW_MS - 10_000, 1.0), (NOW_MS, 0.0)]
    assert list(push.stored().values()) == [expected, expected]
    assert len(push.api.writer.pages) == 3, "a page for each time"
    assert len({id(page.layout) for page in push.api.writer.pages}) == 1
    for page in push.api.writer.pages:
        assert len(set(page.layout.lines)) == len(page.layout.lines)


def test_of_the_same_series_and_time_the_last_counts(push: Push) -> None:
    push.samples({"name": "a", "value": 1}, {"name": "a", "value": 2})
    assert list(push.stored().values()) == [[(NOW_MS, 2.0)]]


FORGERIES = [
    pytest.param({"instance": "web2"}, 'exported_instance="web2", instance="web1"', id="instance"),
    pytest.param({"job": "node"}, 'exported_job="node", instance="web1"', id="job"),
    pytest.param({"site": "south"}, 'exported_site="south"', id="a configured label"),
    pytest.param({"instance": ""}, 'instance="web1"', id="taking it away"),
    pytest.param(
        {"instance": "x", "exported_instance": "y"},
        'exported_exported_instance="x", exported_instance="y", instance="web1"',
        id="when exported_ is there as well",
    ),
]


@pytest.mark.parametrize(("labels", "expected"), FORGERIES)
def test_nobody_writes_under_another_name(
    push: Push, labels: dict[str, str], expected: str
) -> None:
    push.samples({"name": "a", "labels": labels, "value": 1})
    (name,) = push.stored()
    assert expected in name
    assert 'instance="web1"' in name
    assert 'job="push"' in name


def test_a_sender_cannot_say_itself_that_it_is_down(push: Push) -> None:
    push.text("up 0\na 1\n")
    (page,) = push.api.writer.pages
    names = [line.name for line in page.layout.lines]
    assert names == ["a", "up", "fleetpulse_push_received_timestamp_seconds"]
    assert list(page.values) == [1.0, 1.0, NOW]


def test_a_batch_that_comes_twice_is_stored_once(push: Push) -> None:
    document = {"server": "web1", "batch_id": "b1", "samples": [{"name": "a", "value": 1}]}
    assert push.json(document).json == {"accepted": 1, "rejected": 0, "duplicate": 0}
    push.api.time += 5
    assert push.json(document).json == {"accepted": 0, "rejected": 0, "duplicate": 1}
    assert list(push.stored().values()) == [[(NOW_MS, 1.0)]]
    assert push.api.metric("fleetpulse_api_push_samples_total", result="duplicate") == 1


def test_pages_have_batch_ids_too_and_each_server_its_own(push: Push) -> None:
    assert push.text("a 1\n", "?server=web1&batch_id=7").json["accepted"] == 1  # type: ignore[index]
    assert push.text("a 1\n", "?server=web1&batch_id=7").json["duplicate"] == 1  # type: ignore[index]
    other = push.api.key("push", "web2")
    answer = push.raw(b"a 1\n", TEXT, other, "?server=web2&batch_id=7").json
    assert answer == {"accepted": 1, "rejected": 0, "duplicate": 0}


def test_a_batch_that_was_not_stored_may_come_again(push: Push) -> None:
    push.api.writer.failure = StorageError("disk is full", retriable=True)
    document = {"server": "web1", "batch_id": "b1", "samples": [{"name": "a", "value": 1}]}
    answer = push.json(document)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    push.api.writer.failure = None
    assert push.json(document).json["accepted"] == 1  # type: ignore[index]


def test_a_batch_that_comes_again_while_it_is_stored_is_stored_once(push: Push) -> None:
    document = {"server": "web1", "batch_id": "b1", "samples": [{"name": "a", "value": 1}]}
    answers: list[Any] = []
    repeat = threading.Thread(target=lambda: answers.append(push.json(document).json))
    second_write = threading.Event()

    def hold() -> None:
        push.api.writer.when_writing = second_write.set
        repeat.start()
        second_write.wait(0.2)  # must not come while the first is under way

    push.api.writer.when_writing = hold
    answers.append(push.json(document).json)
    repeat.join(30)
    assert sorted(answer["accepted"] for answer in answers) == [0, 1]
    assert sorted(answer["duplicate"] for answer in answers) == [0, 1]
    assert len(push.api.writer.pages) == 1


def test_only_the_last_batches_are_remembered(tmp_path: Path) -> None:
    push = Push(tmp_path, remembered_batches=2)
    for name in ("1", "2", "3"):
        push.text("a 1\n", f"?server=web1&batch_id={name}")
    assert push.text("a 1\n", "?server=web1&batch_id=2").json["duplicate"] == 1  # type: ignore[index]
    assert push.text("a 1\n", "?server=web1&batch_id=1").json["accepted"] == 1  # type: ignore[index]
