"""The small HTTP server: requests, and its beginning and end, over real sockets."""

import logging
import queue
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
import requests

from fleetpulse.errors import StartError
from fleetpulse.values import ListenAddress
from fleetpulse.web.http import Request, Response, Route, text
from fleetpulse.web.server import WebServer
from fleetpulse.web.workers import Workers
from tests.support import ROOT, wait_for
from tests.web_fakes import (
    LOCAL,
    PAGE,
    ROUTES,
    Serve,
    connect,
    get,
    read_all,
    serving,
    statuses,
    talk,
)

pytestmark = pytest.mark.integration


@pytest.fixture
def serve() -> Iterator[Serve]:
    with serving() as start:
        yield start


# Requests


def test_a_connection_serves_one_request_after_the_other(serve: Serve) -> None:
    server = serve()
    with requests.Session() as session:
        for _ in range(3):
            answer = session.get(server.addresses[0].url + "/metrics", timeout=20)
            assert (answer.status_code, answer.content) == (200, PAGE)
            assert answer.headers["Content-Type"] == "text/plain; version=0.0.4"
            assert "Connection" not in answer.headers


@pytest.mark.parametrize(
    ("sent", "status", "says"),
    [
        pytest.param(get("/"), 200, "landing", id="a path"),
        pytest.param(get("/?a=b"), 200, "landing", id="a query is not part of the path"),
        pytest.param(get("http://x/"), 200, "landing", id="the form that proxies are sent"),
        pytest.param(get("/none"), 404, "not found", id="no such path"),
        pytest.param(get("*", method="OPTIONS"), 405, "Allow: GET, HEAD", id="OPTIONS"),
        pytest.param(
            get("/", "Content-Length: 1", method="POST") + b"x", 405, "only GET", id="POST"
        ),
        pytest.param(
            get("/", "Content-Length: 1") + b"x", 200, "landing", id="a body is read past"
        ),
        pytest.param(
            get("/", "Content-Length: 20000") + b"x" * 20_000, 413, "body", id="a long body"
        ),
        pytest.param(
            get("/", "Transfer-Encoding: chunked") + b"5000\r\n" + b"x" * 0x5000,
            413,
            "body",
            id="a long body in chunks",
        ),
        pytest.param(
            get("/", "Expect: 100-continue", "Content-Length: 1"), 417, "body", id="Expect"
        ),
        pytest.param(
            get("/", "Content-Length: 5", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
            400,
            "no HTTP",
            id="two lengths",
        ),
        pytest.param(get("/", f"X: {'y' * 16_384}"), 431, "16 KB", id="a long head"),
        pytest.param(b"x" * 20_000, 431, "16 KB", id="a long first line"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", 400, "no HTTP", id="no Host"),
        pytest.param(get("/", "Host: y"), 400, "no HTTP", id="two Hosts"),
        pytest.param(b"\x16\x03\x01\x02\r\n\r\n", 400, "no HTTP", id="TLS to a plain port"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "HTTP/1.1", id="HTTP/2"),
        pytest.param(get("/boom"), 500, "Internal Server Error", id="a handler that fails"),
        pytest.param(get("/split"), 500, "Internal Server Error", id="a header with a line break"),
    ],
)
def test_a_request_and_its_answer(serve: Serve, sent: bytes, status: int, says: str) -> None:
    received = talk(serve(), sent)
    assert (statuses(received), says.encode() in received) == ([status], True)


@pytest.mark.parametrize("sent", [b"", b"GET / HT", get("/", "Content-Length: 9") + b"x"])
def test_what_is_not_whole_gets_no_answer(serve: Serve, sent: bytes) -> None:
    assert talk(serve(), sent) == b""


def test_a_handler_sees_the_decoded_path_the_query_and_joined_headers(serve: Serve) -> None:
    received = talk(serve(), get("/echo%20me?a=%20b", "X: one", "x: two"))
    assert received.endswith(b"GET /echo me ? a=%20b one, two\n")


def test_head_is_get_without_the_body(serve: Serve) -> None:
    received = talk(serve(), get("/metrics", method="HEAD"))
    assert received.endswith(b"Content-Length: 60000\r\n\r\n")


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        pytest.param(get("/"), True, id="HTTP/1.1 stays"),
        pytest.param(get("/", "Connection: close"), False, id="unless the client ends it"),
        pytest.param(get("/", version="1.0"), False, id="HTTP/1.0 ends"),
    ],
)
def test_whether_the_connection_is_kept(serve: Serve, sent: bytes, kept: bool) -> None:
    received = talk(serve(), sent + get("/"))
    assert len(statuses(received)) == (2 if kept else 1)
    assert (b"Connection: close" in received) is not kept


def test_pipelined_requests_are_answered_in_order(serve: Serve) -> None:
    paths = ["/", "/boom", "/metrics", "/none", "/"] * 20
    received = talk(serve(), b"".join(map(get, paths)))
    assert statuses(received) == [200, 500, 200, 404, 200] * 20


def test_a_request_may_come_byte_by_byte(serve: Serve) -> None:
    with connect(serve()) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in get("/", "Connection: close"):
            client.sendall(bytes([byte]))
        assert statuses(read_all(client)) == [200]


def test_a_failing_handler_is_logged_and_the_connection_goes_on(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    assert statuses(talk(serve(), get("/boom") + get("/"))) == [500, 200]
    assert "GET /boom failed" in caplog.text
    assert "RuntimeError: boom" in caplog.text


def test_past_max_requests_only_what_does_not_block_is_answered(serve: Serve) -> None:
    going, began = threading.Event(), threading.Semaphore(0)

    def wait(request: Request) -> Response:
        began.release()
        going.wait(20)
        return text(200, "waited")

    server = serve(routes={**ROUTES, "/wait": Route(wait)}, max_requests=2)
    with connect(server) as one, connect(server) as two:
        for client in (one, two):
            client.sendall(get("/wait", "Connection: close"))
            assert began.acquire(timeout=20)
        refused = talk(server, get("/metrics"))
        assert (statuses(refused), b"Retry-After: " in refused) == ([503], True)
        assert b"2 requests" in refused
        assert statuses(talk(server, get("/"))) == [200]
        going.set()
        assert [statuses(read_all(client)) for client in (one, two)] == [[200], [200]]
    assert statuses(talk(server, get("/metrics"))) == [200]


def test_max_requests_0_sets_no_limit(serve: Serve) -> None:
    together = threading.Barrier(50)

    def meet(request: Request) -> Response:
        together.wait(20)
        return text(200, "met")

    server = serve(routes={"/meet": Route(meet)}, max_requests=0)
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(server)) for _ in range(50)]
        for client in clients:
            client.sendall(get("/meet", "Connection: close"))
        assert [statuses(read_all(client)) for client in clients] == [[200]] * 50


# Beginning and end


def test_all_addresses_are_those_of_ipv6_too(serve: Serve) -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("this system has no IPv6")
    server = serve(ListenAddress("", 0))
    port = server.addresses[0].port
    for host in ("127.0.0.1", "[::1]"):
        assert requests.get(f"http://{host}:{port}/", timeout=20).text == "landing\n"


def test_it_listens_on_several_addresses(serve: Serve) -> None:
    server = serve(LOCAL, ListenAddress("localhost", 0))
    assert len({address.port for address in server.addresses}) == 2
    for address in server.addresses:
        assert requests.get(address.url, timeout=20).text == "landing\n"


def test_a_taken_address_is_one_clear_line_and_leaves_the_others_free(serve: Serve) -> None:
    taken = serve().addresses[0]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = ListenAddress("127.0.0.1", probe.getsockname()[1])
    with pytest.raises(StartError, match=rf"cannot listen on {taken}: .*; stop what uses") as said:
        serve(free, taken)
    assert "\n" not in str(said.value)
    serve(free)


def test_a_name_that_nobody_knows_is_one_clear_line(serve: Serve) -> None:
    with pytest.raises(StartError, match=r"cannot listen on nowhere\.invalid:1"):
        serve(ListenAddress("nowhere.invalid", 1))


def test_stop_ends_silent_clients_and_lets_answers_out(serve: Serve) -> None:
    going, began = threading.Event(), threading.Event()

    def wait(request: Request) -> Response:
        began.set()
        going.wait(20)
        return text(200, "waited")

    server = serve(routes={"/wait": Route(wait)})
    with connect(server) as busy, connect(server) as silent:
        busy.sendall(get("/wait"))
        assert began.wait(20)
        stopper = threading.Thread(target=server.stop)
        stopper.start()
        assert read_all(silent) == b""
        going.set()
        received = read_all(busy)
        assert (statuses(received), b"Connection: close" in received) == ([200], True)
        stopper.join(20)
    with pytest.raises(ConnectionRefusedError):
        connect(server)
    server.stop()


def test_stop_does_not_wait_for_a_handler_that_hangs(serve: Serve) -> None:
    hanging, began = threading.Event(), threading.Event()

    def hang(request: Request) -> Response:
        began.set()
        hanging.wait(60)
        return text(200, "late")

    server = serve(routes={"/hang": Route(hang)}, grace=0.1)
    with connect(server) as client:
        client.sendall(get("/hang"))
        assert began.wait(20)
        server.stop()
        assert read_all(client) == b""
    hanging.set()


def test_stop_without_a_start() -> None:
    WebServer("t", [LOCAL], ROUTES).stop()


def test_threads_are_begun_as_needed_and_leave_when_idle() -> None:
    workers, done = Workers("idle", 4, linger=0.05), threading.Semaphore(0)
    for _ in range(6):
        workers.submit(done.release)
    assert all(done.acquire(timeout=20) for _ in range(6))

    def gone() -> bool:
        return not any(thread.name.startswith("idle-") for thread in threading.enumerate())

    wait_for("the end of idle threads", gone)
    workers.submit(done.release)
    assert done.acquire(timeout=20)


def test_who_asks_again_after_an_answer_finds_the_thread_free() -> None:
    workers, answers = Workers("again", 4), queue.SimpleQueue[int]()

    def job() -> Callable[[], None]:
        return lambda: answers.put(threading.get_ident())

    threads = set[int]()
    for _ in range(50):
        workers.submit(job)
        threads.add(answers.get(timeout=20))
    assert len(threads) == 1
    workers.close()


def test_a_failing_job_does_not_end_its_thread(caplog: pytest.LogCaptureFixture) -> None:
    workers, done = Workers("jobs", 1), threading.Event()
    workers.submit(lambda: {}["nothing"])
    workers.submit(done.set)
    assert done.wait(20)
    assert "a job of jobs failed" in caplog.text
    workers.close()


def test_the_server_loads_no_large_library() -> None:
    unwanted = ["pydantic", "prometheus_client", "http.server", "requests", "bcrypt", "tempfile"]
    code = f"import sys, fleetpulse.web.server; print(sys.modules.keys() & {unwanted!r})"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert loaded.stdout == "set()\n", loaded.stderr


def test_no_request_is_logged(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    talk(serve(), get("/?token=secret"))
    assert "secret" not in caplog.text
