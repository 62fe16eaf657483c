"""One request to the API: what it carries, and what an answer means."""

import gzip
import logging
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from exporter.post import HttpPost, Verdict, judge, retry_after
from tests.support import free_port

SECRET = "fp_0123456789abcdef"
BODY = gzip.compress(b"node_load1 1\n", mtime=0)

JUDGED = [
    pytest.param(202, "SENT", id="taken"),
    pytest.param(200, "SENT", id="taken, as another server may put it"),
    pytest.param(400, "REFUSED", id="not a page"),
    pytest.param(413, "REFUSED", id="too large"),
    pytest.param(415, "REFUSED", id="not that type"),
    pytest.param(422, "REFUSED", id="not those samples"),
    pytest.param(401, "LATER", id="no valid key"),
    pytest.param(403, "LATER", id="not on the whitelist"),
    pytest.param(404, "LATER", id="another address"),
    pytest.param(408, "LATER", id="too slow"),
    pytest.param(429, "LATER", id="too often"),
    pytest.param(500, "LATER", id="a fault of the API"),
    pytest.param(503, "LATER", id="a store that is away"),
    pytest.param(302, "LATER", id="moved"),
]


@pytest.mark.parametrize(("status", "verdict"), JUDGED)
def test_what_a_status_means_for_the_page(status: int, verdict: str) -> None:
    answer = judge(status, {}, b"because", 0.0)
    assert answer.verdict.name == verdict
    assert verdict == "SENT" or str(status) in answer.text


REJECTED = [
    pytest.param(b'{"accepted": 5, "rejected": 2, "duplicate": false}', 2, id="a number"),
    pytest.param(b'{"rejected": [{"index": 1}, {"index": 3}]}', 2, id="one by one"),
    pytest.param(b'{"accepted": 5}', 0, id="none"),
    pytest.param(b"<html>", 0, id="not JSON"),
    pytest.param(b"[3]", 0, id="not an object"),
]


@pytest.mark.parametrize(("body", "count"), REJECTED)
def test_samples_that_were_left_out_are_counted(body: bytes, count: int) -> None:
    assert judge(202, {}, body, 0.0).rejected == count


TEXTS = [
    pytest.param(503, b'{"status":"error","error":"no room"}', "HTTP 503: no room", id="JSON"),
    pytest.param(502, b"<h1>Bad\n Gateway</h1>", "HTTP 502: <h1>Bad Gateway</h1>", id="a proxy's"),
    pytest.param(500, b"a\x1b[2Jb\x00", "HTTP 500: a[2Jb", id="no control characters"),
    pytest.param(500, b"x" * 999, "HTTP 500: " + "x" * 200, id="not at length"),
    pytest.param(
        401, b'{"error":"key has expired"}',
        "HTTP 401: the key is not accepted; put a valid one of scope push into push.key_file; "
        "key has expired", id="with the mend",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("status", "body", "text"), TEXTS)
def test_what_the_log_will_say(status: int, body: bytes, text: str) -> None:
    assert judge(status, {}, body, 0.0).text == text


RETRY_AFTER = [
    pytest.param("7", 7.0, id="seconds"),
    pytest.param("Wed, 21 Oct 2015 07:28:00 GMT", 60.0, id="a date"),
    pytest.param("Wed, 21 Oct 2014 07:28:00 GMT", 0.0, id="a date that is past"),
    pytest.param("", None, id="missing"),
    pytest.param("soon", None, id="neither"),
    pytest.param("-3", None, id="negative"),
]


@pytest.mark.parametrize(("value", "seconds"), RETRY_AFTER)
def test_retry_after(value: str, seconds: float | None) -> None:
    assert retry_after(value, 1445412420.0) == seconds


class Api(ThreadingHTTPServer):
    """Answers every POST as told and keeps what came."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status, self.headers, self.text = 202, dict[str, str](), b'{"rejected": 0}'
        self.got: list[tuple[str, dict[str, str], bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/api/v1/metrics"


class _Handler(BaseHTTPRequestHandler):
    server: Api

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((self.path, dict(self.headers.items()), body))
        self.send_response(self.server.status)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(self.server.text)))
        self.end_headers()
        with suppress(ConnectionError):  # the client reads only so much
            self.wfile.write(self.server.text)

    def do_GET(self) -> None:
        self.do_POST()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def api() -> Iterator[Api]:
    server = Api()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with requests.Session() as one:
        yield one


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "push.key"
    path.write_text(SECRET + "\n")
    path.chmod(0o600)
    return path


@pytest.mark.integration
def test_the_request(api: Api, session: requests.Session, key_file: Path) -> None:
    post = HttpPost(api.url, key_file, "web 1", 5.0, session=session)
    assert post.send("b1", 1700000000.125, BODY).verdict is Verdict.SENT
    [(path, headers, body)] = api.got
    assert urlsplit(path).path == "/api/v1/metrics"
    assert parse_qs(urlsplit(path).query) == {
        "server": ["web 1"],
        "batch_id": ["b1"],
        "timestamp": ["1700000000.125"],
    }
    assert headers["Authorization"] == f"Bearer {SECRET}"
    assert headers["Content-Encoding"] == "gzip"
    assert headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert body == BODY


@pytest.mark.integration
def test_the_key_is_read_anew_for_each_page(
    api: Api, session: requests.Session, key_file: Path
) -> None:
    post = HttpPost(api.url, key_file, "web1", 5.0, session=session)
    post.send("b1", 1.0, BODY)
    key_file.write_text("fp_another")
    post.send("b2", 2.0, BODY)
    sent = [headers["Authorization"] for _, headers, _ in api.got]
    assert sent == [f"Bearer {SECRET}", "Bearer fp_another"]


@pytest.mark.integration
def test_the_key_follows_no_redirect(api: Api, session: requests.Session, key_file: Path) -> None:
    api.status, api.headers = 307, {"Location": f"{api.url}?elsewhere"}
    answer = HttpPost(api.url, key_file, "web1", 5.0, session=session).send("b1", 1.0, BODY)
    assert answer.verdict is Verdict.LATER
    assert "push.url" in answer.text
    assert len(api.got) == 1


@pytest.mark.integration
def test_a_rate_limit_says_when_to_come_back(
    api: Api, session: requests.Session, key_file: Path
) -> None:
    api.status, api.headers = 429, {"Retry-After": "17"}
    answer = HttpPost(api.url, key_file, "web1", 5.0, session=session).send("b1", 1.0, BODY)
    assert (answer.verdict, answer.retry_after) == (Verdict.LATER, 17.0)


@pytest.mark.integration
def test_an_endless_answer_is_not_read_to_its_end(
    api: Api, session: requests.Session, key_file: Path
) -> None:
    api.status, api.text = 400, b"x" * 10_000_000
    answer = HttpPost(api.url, key_file, "web1", 5.0, session=session).send("b1", 1.0, BODY)
    assert answer.verdict is Verdict.REFUSED
    assert len(answer.text) < 300


@pytest.mark.integration
def test_nobody_listening_is_a_reason_to_wait(session: requests.Session, key_file: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}/api/v1/metrics"
    answer = HttpPost(url, key_file, "web1", 5.0, session=session).send("b1", 1.0, BODY)
    assert answer.verdict is Verdict.LATER
    assert "Connection refused" in answer.text


KEYS = [
    pytest.param(b"", id="empty"),
    pytest.param(b"two words", id="two words"),
    pytest.param(b"a\nX-Evil: 1", id="a line too many"),
    pytest.param("schlüssel".encode(), id="not ASCII"),
    pytest.param(b"\xff\xfe", id="no text"),
    pytest.param(None, id="no file"),
]


@pytest.mark.parametrize("content", KEYS)
def test_without_a_usable_key_nothing_is_sent(
    tmp_path: Path, session: requests.Session, content: bytes | None
) -> None:
    path = tmp_path / "push.key"
    if content is not None:
        path.write_bytes(content)
    answer = HttpPost("http://127.0.0.1:1/", path, "web1", 5.0, session=session).send("b", 1.0, b"")
    assert answer.verdict is Verdict.LATER
    assert answer.text.startswith(str(path))
    assert "Evil" not in answer.text


@pytest.mark.integration
def test_a_key_that_all_can_read_is_warned_of_once(
    api: Api, session: requests.Session, key_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    key_file.chmod(0o644)
    post = HttpPost(api.url, key_file, "web1", 5.0, session=session)
    with caplog.at_level(logging.DEBUG):
        post.send("b1", 1.0, BODY)
        post.send("b2", 1.0, BODY)
    assert [record.getMessage() for record in caplog.records if "chmod" in record.message] == [
        f"{key_file}: every user can read this key; chmod 600 it"
    ]
    assert SECRET not in caplog.text
