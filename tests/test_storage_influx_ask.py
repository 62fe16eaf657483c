"""What goes wrong while InfluxDB is asked: one clear line, with the store's name and the mend."""

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fleetpulse.errors import QueryError, StorageError
from fleetpulse.storage.influx.answer import Part
from fleetpulse.storage.influx.ask import InfluxAsker, Patience
from fleetpulse.storage.influx.config import Influx1Config, Influx2Config
from fleetpulse.storage.influx.series import code_of
from tests.http_fakes import FakeHttp, Told
from tests.msgpack_fakes import Answered, answer, packed
from tests.support import free_port

MSGPACK = {"Content-Type": "application/x-msgpack"}
JSON = {"Content-Type": "application/json"}
HTML = b"<!DOCTYPE html><html><body>Welcome to nginx!</body></html>"
GOOD = packed(answer(Answered([(n, float(n), None, None) for n in range(50)])))
EMPTY = packed({"results": [{"statement_id": 0}]})


def one(url: str, **more: Any) -> Influx1Config:
    given = {"kind": "influxdb1", "url": url, "database": "d", "username": "u"}
    return Influx1Config.model_validate(given | {"password": "s3cret"} | more)


def two(url: str, **more: Any) -> Influx2Config:
    given = {"kind": "influxdb2", "url": url, "org": "o", "bucket": "b", "token": "s3cret"}
    return Influx2Config.model_validate(given | more)


@contextmanager
def asking(
    config: Influx1Config | Influx2Config, clock: Callable[[], float] = lambda: 0.0
) -> Iterator[InfluxAsker]:
    asker = InfluxAsker(config, clock=clock)
    yield asker
    asker.close()


def parts(asker: InfluxAsker) -> list[Part]:
    return list(asker.parts("SELECT 1", "d", code_of))


def said(config: Influx1Config | Influx2Config, kind: type[Exception] = StorageError) -> str:
    """The error that asking ends in."""
    with asking(config) as asker, pytest.raises(kind) as caught:
        parts(asker)
    text = str(caught.value)
    assert text.startswith(f"{config.kind} at {config.url}: ")
    assert "s3cret" not in text
    assert "\n" not in text
    return text


def fault(text: str) -> bytes:
    return json.dumps({"error": text}).encode()


FAULTS = [
    pytest.param(Told(200, HTML), "is no InfluxDB.*check storage.url", False, id="a page with 200"),
    pytest.param(
        Told(200, HTML, {"Content-Type": "text/html"}), "is no InfluxDB", False, id="said to be one"
    ),
    pytest.param(Told(204), "HTTP 204; what answers is no InfluxDB", False, id="no content"),
    pytest.param(Told(502, HTML), "HTTP 502.*is no InfluxDB", True, id="a proxy's own page"),
    pytest.param(
        Told(302, b"", {"Location": "http://127.0.0.1:9/"}), "HTTP 302.*storage.url", False,
        id="a redirect",
    ),
    pytest.param(
        Told(401, fault("authorization failed")),
        "401: authorization failed; check storage.username and password", False, id="no login",
    ),
    pytest.param(
        Told(403, fault('"u" user is not authorized')), "403: .*reading is allowed", False,
        id="may not read",
    ),
    pytest.param(
        Told(404, b"404 page not found\n", {"Content-Type": "text/plain"}),
        "404: 404 page not found; check storage.url", False, id="another path",
    ),
    pytest.param(
        Told(404, fault("database not found: d")), "`fleetpulse influx setup` makes", False,
        id="no database, 404",
    ),
    pytest.param(
        Told(200, packed(answer(error="database not found: d")), MSGPACK),
        "database not found: d; `fleetpulse influx setup`", False, id="no database, 200",
    ),
    pytest.param(
        Told(200, packed({"results": [{"error": "retention policy not found: raw"}]}), MSGPACK),
        "retention policy not found: raw; `fleetpulse influx setup`", False, id="no policy",
    ),
    pytest.param(
        Told(500, fault("retention policy not found: raw")), "fleetpulse influx setup", False,
        id="no policy, 500",
    ),
    pytest.param(
        Told(400, packed({"error": "error parsing query: x"}), MSGPACK),
        "error parsing query: x", False, id="a fault in MessagePack",
    ),
    pytest.param(Told(503, fault("busy")), "503: busy; .*later", True, id="overloaded"),
    pytest.param(Told(500, b"\xff\xfe"), "HTTP 500", True, id="a fault that is no text"),
    pytest.param(Told(200, b"", MSGPACK), "cannot be read: it is empty", True, id="empty"),
    pytest.param(Told(200, b"", JSON), "cannot be read: it is empty", True, id="empty, JSON"),
    pytest.param(Told(200, b"OK"), "cannot be read: no answer", True, id="a word"),
    pytest.param(Told(200, b"\xc1\xff\x00", MSGPACK), "cannot be read", True, id="garbage"),
    pytest.param(Told(200, GOOD, MSGPACK, cut=300), "cut off; did the server", True, id="cut"),
    pytest.param(Told(200, GOOD[:300], MSGPACK), "cut off; check", True, id="cut, length and all"),
]  # fmt: skip


@pytest.mark.parametrize(("told", "wanted", "retriable"), FAULTS)
def test_each_fault_has_a_clear_line(told: Told, wanted: str, retriable: bool) -> None:
    with FakeHttp(told) as server, asking(one(server.url)) as asker:
        with pytest.raises(StorageError, match=wanted) as caught:
            parts(asker)
        assert caught.value.retriable == retriable
        text = str(caught.value)
        assert text.startswith(f"influxdb1 at {server.url}: ")
        assert "s3cret" not in text
        assert "\n" not in text


QUERY_FAULTS = [
    pytest.param("max-select-series limit exceeded: (9/5)", "execution", "ask for less", id="much"),
    pytest.param("query-timeout limit exceeded", "timeout", "query-timeout", id="slow"),
]


@pytest.mark.parametrize(("words", "kind", "wanted"), QUERY_FAULTS)
def test_limits_of_the_server_are_the_querys_fault(words: str, kind: str, wanted: str) -> None:
    body = packed(answer(error=words))
    with FakeHttp(Told(200, body, MSGPACK)) as server, asking(one(server.url)) as asker:
        with pytest.raises(QueryError, match=wanted) as caught:
            parts(asker)
        assert caught.value.error_type == kind


def test_nobody_there_is_said_with_the_mend() -> None:
    text = said(one(f"http://127.0.0.1:{free_port()}"))
    assert "Connection refused; check storage.url and that the server runs" in text


def test_the_other_version_names_its_own_keys() -> None:
    with FakeHttp(Told(401, b'{"message":"unauthorized access"}')) as server:
        assert "unauthorized access; check storage.token, org" in said(two(server.url))


def test_a_redirect_is_not_followed_and_takes_no_credentials_along() -> None:
    with FakeHttp(Told(200, EMPTY, MSGPACK)) as other:
        for make in (one, two):
            with FakeHttp(Told(307, b"", {"Location": f"{other.url}/query"})) as server:
                said(make(server.url))
                assert len(server.got) == 1
        assert other.got == []


def test_credentials_go_in_the_header_of_each_request(tmp_path: Path) -> None:
    secret = tmp_path / "token"
    with FakeHttp(Told(200, EMPTY, MSGPACK)) as server:
        with asking(two(server.url, token=None, token_file=str(secret))) as asker:
            for word in ("first", "second"):
                secret.write_text(word + "\n")
                assert parts(asker) == []
        with asking(one(server.url)) as asker:
            parts(asker)
        sent = [got.headers["Authorization"] for got in server.got]
        assert sent == ["Token first", "Token second", "Basic dTpzM2NyZXQ="]
        assert not any("s3cret" in got.path or b"s3cret" in got.body for got in server.got)


def test_json_is_read_where_the_server_has_no_messagepack() -> None:
    rows: list[list[object]] = [
        [1, 0.5, None, None],
        [2, None, True, None],
        [3, None, None, "+Inf"],
    ]
    body = json.dumps(answer(Answered(rows, tags={"a": "b"}))).encode()
    with FakeHttp(Told(200, body, JSON)) as server, asking(one(server.url)) as asker:
        (part,) = parts(asker)
    assert (part.name, part.tags, part.times_ms.tolist()) == ("m", {"a": "b"}, [1, 2, 3])


def test_an_answer_larger_than_allowed_is_an_error_of_the_query() -> None:
    body = packed(answer(Answered([(n, 1.0, None, None) for n in range(60_000)])))
    assert len(body) > 1 << 20
    with FakeHttp(Told(200, body, MSGPACK)) as server:
        text = said(one(server.url, max_response="1MiB"), QueryError)
        assert "larger than storage.max_response" in text


def test_a_fault_of_any_length_is_told_of_in_a_line() -> None:
    with FakeHttp(Told(500, b"x" * (4 << 20))) as server:
        assert len(said(one(server.url))) < 600


def test_a_secret_that_cannot_be_read_is_said_to_be_that(tmp_path: Path) -> None:
    config = two("http://127.0.0.1:9", token=None, token_file=str(tmp_path / "none"))
    with asking(config) as asker, pytest.raises(StorageError, match="cannot read the secret"):
        parts(asker)


# --------------------------------------------------------------------------- slow servers


@contextmanager
def dripping(body: bytes) -> Iterator[str]:
    """A server that sends one byte at a time, until whoever asked has gone."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listening.accept()
        with connection:
            connection.recv(1 << 16)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n"
            connection.sendall(f"{head}Content-Type: application/x-msgpack\r\n\r\n".encode())
            with contextlib.suppress(OSError):
                for byte in body:
                    connection.sendall(bytes([byte]))

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        listening.close()
        thread.join()


class Clock:
    """A second a look."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def test_a_byte_now_and_then_does_not_hold_whoever_asks() -> None:
    body = packed(answer(Answered([(n, 1.0, None, None) for n in range(100_000)])))
    late = pytest.raises(QueryError, match="no whole answer in 20s")
    with (
        dripping(body) as url,
        asking(one(url, query_timeout="20s"), Clock()) as asker,
        late as caught,
    ):
        parts(asker)
    assert caught.value.error_type == "timeout"


def test_a_server_that_says_nothing_is_given_up_on() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        text = said(one(url, query_timeout="50ms"), QueryError)
    assert "no answer within 0.05s" in text


def test_a_request_lasts_no_longer_than_its_query_may() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        late = pytest.raises(QueryError, match=r"no answer within 0\.05s")
        with asking(one(url, query_timeout="1h")) as asker, late as caught:
            list(asker.parts("SELECT", "d", code_of, Patience(seconds=0.05)))
    assert caught.value.error_type == "timeout"


def test_whoever_has_gone_is_read_nothing_more() -> None:
    def gone() -> None:
        raise QueryError("canceled", "gone")

    body = packed(answer(Answered([(1, 1.0, None, None)])))
    told = Told(200, body, {"Content-Type": "application/x-msgpack"})
    left = pytest.raises(QueryError, match="gone")
    with FakeHttp(told) as server, asking(one(server.url)) as asker, left:
        list(asker.parts("SELECT", "d", code_of, Patience(check=gone)))


FORMATS = [(False, "application/x-msgpack"), (True, "application/json")]


@pytest.mark.parametrize(("few", "accept"), FORMATS)
def test_the_format_is_for_many_rows_or_few(few: bool, accept: str) -> None:
    body = json.dumps(answer(Answered([(1, 1.0, None, None)]))).encode()
    with FakeHttp(Told(200, body, JSON)) as server, asking(one(server.url)) as asker:
        (part,) = asker.parts("SELECT", "d", code_of, few=few)
        assert part.columns["value"].tolist() == [1.0]
        (request,) = server.got
    assert request.headers["Accept"] == accept


# --------------------------------------------------------------------------- other statements


def test_rows_of_other_statements_come_of_all_documents() -> None:
    lines = [{"results": [{"series": [{"columns": ["key"], "values": [[n]]}]}]} for n in (1, 2)]
    body = "\n".join(map(json.dumps, lines)).encode()
    with FakeHttp(Told(200, body, JSON)) as server, asking(one(server.url)) as asker:
        found = [row["values"] for row in asker.rows("SHOW SERIES", "d")]
    assert found == [[[1]], [[2]]]


ROW_FAULTS = [
    pytest.param(Told(200, fault("gone"), JSON), "gone", id="an error and no results"),
    pytest.param(Told(200, b"", JSON), "empty", id="nothing at all"),
    pytest.param(Told(200, b'{"results":[{"series":', JSON), "cannot be read", id="cut off"),
    pytest.param(Told(200, b'{"results":[{"series":[3]}]}', JSON), "cannot be read", id="a number"),
    pytest.param(Told(200, b"[]", JSON), "cannot be read", id="a list"),
    pytest.param(
        Told(200, b'{"results":[{"error":"database not found: d"}]}', JSON), "influx setup",
        id="no database",
    ),
    pytest.param(Told(200, HTML), "is no InfluxDB", id="a page"),
]  # fmt: skip


@pytest.mark.parametrize(("told", "wanted"), ROW_FAULTS)
def test_faults_in_the_answers_to_other_statements(told: Told, wanted: str) -> None:
    refused = pytest.raises(StorageError, match=wanted)
    with FakeHttp(told) as server, asking(one(server.url)) as asker, refused:
        list(asker.rows("SHOW SERIES", "d"))
