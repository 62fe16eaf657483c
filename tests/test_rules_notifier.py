"""The way of alerts to the bridges."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from prometheus_client import CollectorRegistry

from fleetpulse.errors import NotifyError
from fleetpulse.model import Alert, Labels
from rules.metrics import NotifierMetrics
from rules.notifier import BridgeSender, HttpPost, Notifier, SendQueue, encode, rfc3339
from tests.rules_fakes import FakePost, labels
from tests.support import wait_for

URL = "http://bridge:9093"
AWAY = NotifyError("connection refused", retriable=True)
REFUSED = NotifyError("HTTP 400: bad alert", retriable=False)


def alert(name: str, starts_at: float = 1.0, **more: str) -> Alert:
    return Alert(labels(alertname=name, **more), labels(summary="s"), starts_at, 61.5, "http://g")


class Rig:
    """A sender without its thread, and its metrics."""

    def __init__(self, post: FakePost, capacity: int = 100, external: Labels = Labels()) -> None:  # noqa: B008
        self.registry = CollectorRegistry()
        metrics = NotifierMetrics(self.registry)
        self.sender = BridgeSender(URL, post, metrics, external, timeout=1.0, capacity=capacity)

    def metric(self, name: str) -> float | None:
        full = f"fleetpulse_rules_notifications_{name}"
        return self.registry.get_sample_value(full, {"alertmanager": URL})


def names(post: FakePost) -> list[list[str]]:
    return [[one["labels"]["alertname"] for one in json.loads(body)] for _, body in post.bodies]


def test_the_body_is_alertmanagers() -> None:
    body = encode([alert("A", dc="own")], labels(dc="eu", cluster="x"))
    assert json.loads(body) == [
        {
            "labels": {"alertname": "A", "dc": "own", "cluster": "x"},
            "annotations": {"summary": "s"},
            "startsAt": "1970-01-01T00:00:01.000Z",
            "endsAt": "1970-01-01T00:01:01.500Z",
            "generatorURL": "http://g",
        }
    ]


def test_times_are_rfc3339() -> None:
    assert rfc3339(1_764_000_000.1239) == "2025-11-24T16:00:00.124Z"


def test_a_batch_goes_out_once() -> None:
    post = FakePost()
    rig = Rig(post)
    rig.sender.queue.add([alert("A"), alert("B")])
    assert rig.sender.send_batch()
    assert rig.sender.send_batch()
    assert names(post) == [["A", "B"]]
    assert post.bodies[0][0] == f"{URL}/api/v2/alerts"
    assert (rig.metric("sent_total"), rig.metric("queue_length")) == (2, 0)


def test_what_was_not_taken_waits_in_its_place() -> None:
    post = FakePost([AWAY])
    rig = Rig(post)
    rig.sender.queue.add([alert("A"), alert("B")])
    assert not rig.sender.send_batch()
    rig.sender.queue.add([alert("C"), alert("A", starts_at=2.0)])
    assert rig.metric("queue_length") == 3
    assert rig.sender.send_batch()
    assert names(post) == [["A", "B", "C"]]
    assert json.loads(post.bodies[0][1])[0]["startsAt"] == "1970-01-01T00:00:02.000Z"
    assert (rig.metric("errors_total"), rig.metric("dropped_total")) == (2, 0)


def test_what_is_refused_for_good_is_dropped_and_counted() -> None:
    post = FakePost([REFUSED])
    rig = Rig(post)
    rig.sender.queue.add([alert("A")])
    assert rig.sender.send_batch()
    rig.sender.queue.add([alert("B")])
    rig.sender.send_batch()
    assert names(post) == [["B"]]
    assert rig.metric("dropped_total") == 1


def test_the_wait_between_attempts_grows_to_a_limit() -> None:
    rig = Rig(FakePost([AWAY] * 8))
    rig.sender.queue.add([alert("A")])
    waits = []
    for _ in range(8):
        rig.sender.send_batch()
        waits.append(rig.sender.back_off())
    assert waits == [1, 2, 4, 8, 16, 30, 30, 30]


def test_a_full_queue_drops_the_oldest_and_counts() -> None:
    post = FakePost()
    rig = Rig(post, capacity=2)
    rig.sender.queue.add([alert("A"), alert("B"), alert("C")])
    rig.sender.send_batch()
    assert names(post) == [["B", "C"]]
    assert rig.metric("dropped_total") == 1


def test_what_comes_back_to_a_full_queue_is_the_oldest() -> None:
    dropped: list[float] = []
    queue = SendQueue(2, dropped.append)
    queue.add([alert("A")])
    taken = queue.take(1)
    queue.add([alert("B"), alert("C")])
    queue.put_back(taken)
    assert [one.labels.get("alertname") for one in queue.take(9)] == ["B", "C"]
    assert dropped == [1]


def test_the_latest_word_of_an_alert_counts() -> None:
    queue = SendQueue(9, lambda _: None)
    queue.add([alert("A", 1.0)])
    taken = queue.take(9)
    queue.add([alert("A", 2.0)])
    queue.put_back(taken)
    assert [one.starts_at for one in queue.take(9)] == [2.0]


def test_every_bridge_gets_every_alert_and_what_waits_is_sent_at_the_end() -> None:
    posts: dict[str, FakePost] = {}
    metrics = NotifierMetrics(CollectorRegistry())

    def create(url: str) -> BridgeSender:
        posts[url] = FakePost()
        return BridgeSender(url, posts[url], metrics, Labels(), timeout=1.0)

    notifier = Notifier(create)
    notifier.set_urls(["http://a", "http://b"])
    notifier.send([alert("A")])
    wait_for("both bridges", lambda: all(post.bodies for post in posts.values()))
    notifier.set_urls(["http://b", "http://c"])
    assert posts["http://a"].closed
    notifier.send([alert("B")])
    notifier.stop()
    assert names(posts["http://a"]) == [["A"]]
    assert [name for batch in names(posts["http://b"]) for name in batch] == ["A", "B"]
    assert names(posts["http://c"]) == [["B"]]


def test_the_thread_tries_again_until_it_works() -> None:
    post = FakePost([AWAY])
    metrics = NotifierMetrics(CollectorRegistry())
    notifier = Notifier(lambda url: BridgeSender(url, post, metrics, Labels(), timeout=1.0))
    notifier.set_urls([URL])
    try:
        notifier.send([alert("A")])
        wait_for("the second attempt", lambda: bool(post.bodies))
    finally:
        notifier.stop()
    assert names(post) == [["A"]]


class Bridge(ThreadingHTTPServer):
    """Answers with a given status and headers; keeps the bodies."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status = 200
        self.headers: dict[str, str] = {}
        self.requests: list[tuple[str, str | None, bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Bridge

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append((self.path, self.headers["Content-Type"], body))
        self.send_response(self.server.status)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "3")
        self.end_headers()
        self.wfile.write(b"why")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def bridge() -> Iterator[Bridge]:
    with Bridge() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def post() -> Iterator[HttpPost]:
    poster = HttpPost()
    yield poster
    poster.close()


@pytest.mark.integration
def test_http_post(bridge: Bridge, post: HttpPost) -> None:
    post(f"{bridge.url}/api/v2/alerts", b"[]", 5.0)
    assert bridge.requests == [("/api/v2/alerts", "application/json", b"[]")]


@pytest.mark.integration
@pytest.mark.parametrize(
    ("status", "retriable"),
    [(400, False), (404, False), (408, True), (429, True), (500, True), (503, True)],
)
def test_http_answers(bridge: Bridge, post: HttpPost, status: int, retriable: bool) -> None:
    bridge.status = status
    with pytest.raises(NotifyError, match=f"HTTP {status}: why") as caught:
        post(bridge.url, b"[]", 5.0)
    assert caught.value.retriable is retriable


@pytest.mark.integration
def test_a_redirect_is_not_followed(bridge: Bridge, post: HttpPost) -> None:
    bridge.status, bridge.headers = 307, {"Location": f"{bridge.url}/elsewhere"}
    with pytest.raises(NotifyError, match="HTTP 307"):
        post(bridge.url, b"[]", 5.0)
    assert len(bridge.requests) == 1


@pytest.mark.integration
def test_nobody_there_is_worth_a_retry(post: HttpPost) -> None:
    with pytest.raises(NotifyError, match="refused") as caught:
        post("http://127.0.0.1:9", b"[]", 5.0)
    assert caught.value.retriable
