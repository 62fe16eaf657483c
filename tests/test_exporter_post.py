"""One request to the API: what it carries, and what an answer means."""

import gzip
import logging
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from exporter.push.answer import Verdict
from exporter.push.post import HttpPost, reason
from tests.support import free_port

SECRET = "fp_0123456789abcdef"
BODY = gzip.compress(b"node_load1 1\n", mtime=0)


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
    assert headers["Accept-Encoding"] == "identity"
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
    api.status, api.text = 503, b"x" * 10_000_000
    answer = HttpPost(api.url, key_file, "web1", 5.0, session=session).send("b1", 1.0, BODY)
    assert answer.verdict is Verdict.LATER
    assert len(answer.text) < 300


@pytest.mark.integration
def test_nobody_listening_is_a_reason_to_wait(session: requests.Session, key_file: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}/api/v1/metrics"
    answer = HttpPost(url, key_file, "web1", 5.0, session=session).send("b1", 1.0, BODY)
    assert answer.verdict is Verdict.LATER
    assert answer.text == (
        f"{url}: the connection was refused; does the API run there, and on that port?"
    )


@pytest.mark.integration
def test_a_server_that_says_nothing_is_left_in_time(
    session: requests.Session, key_file: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        answer = HttpPost(url, key_file, "web1", 0.05, session=session).send("b1", 1.0, BODY)
    assert answer.verdict is Verdict.LATER
    assert "no answer in time" in answer.text


@pytest.mark.integration
def test_an_answer_that_is_cut_off_says_nothing(
    api: Api, session: requests.Session, key_file: Path
) -> None:
    api.headers, api.text = {"Content-Length": "500"}, b'{"accepted": 1}'
    answer = HttpPost(api.url, key_file, "web1", 0.2, session=session).send("b1", 1.0, BODY)
    assert answer.verdict is Verdict.LATER


def untrusted() -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed (_ssl.c:992)")
    error.verify_message = "self-signed certificate"
    return error


def wrapped(cause: Exception) -> Exception:
    """As requests has it, with an address in the text that is another each time."""
    error = requests.ConnectionError(f"{object()!r}: Max retries exceeded")
    error.__context__ = cause
    return error


REASONS = [
    pytest.param(TimeoutError("timed out"), "no answer in time", id="a timeout"),
    pytest.param(
        socket.gaierror(-2, "Name or service not known"),
        "the host's name is not found (Name or service not known)", id="no such name",
    ),
    pytest.param(ConnectionRefusedError(111, "no"), "the connection was refused", id="refused"),
    pytest.param(
        untrusted(), "its certificate is not trusted (self-signed certificate); push.url must be "
        "the name it is for, push.ca_file may hold its authority", id="a certificate of a stranger",
    ),
    pytest.param(ssl.SSLError(1, "[SSL] wrong version"), "TLS failed", id="no TLS there"),
    pytest.param(OSError(113, "No route to host"), "OSError: [Errno 113] No route", id="another"),
]  # fmt: skip


@pytest.mark.parametrize(("error", "text"), REASONS)
def test_why_there_is_no_answer_is_the_same_line_each_time(error: Exception, text: str) -> None:
    assert reason(wrapped(error)).startswith(text)
    assert reason(wrapped(error)) == reason(wrapped(error))


def test_an_authority_that_is_not_there_is_named(session: requests.Session, key_file: Path) -> None:
    ca_file = key_file.with_name("ca.pem")
    post = HttpPost("https://127.0.0.1:1/", key_file, "w", 5.0, ca_file=ca_file, session=session)
    answer = post.send("b1", 1.0, BODY)
    assert answer.verdict is Verdict.LATER
    assert str(ca_file) in answer.text


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
    assert answer.denied
    assert answer.text.startswith(str(path))
    assert "write " in answer.text
    assert "Evil" not in answer.text


def test_a_key_that_changes_on_disk_has_another_stamp(key_file: Path) -> None:
    post = HttpPost("http://127.0.0.1:1/", key_file, "web1", 5.0, session=requests.Session())
    before = post.key_stamp()
    assert post.key_stamp() == before
    key_file.write_text("fp_another_that_is_longer")
    changed = post.key_stamp()
    key_file.unlink()
    assert len({str(one) for one in (before, changed, post.key_stamp())}) == 3


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
