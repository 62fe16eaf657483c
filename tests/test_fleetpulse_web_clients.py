"""Clients that are silent, slow, or too many keep nobody out of the small HTTP server."""

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest

from fleetpulse.web.crowd import Crowd, most_connections
from tests.support import drip_until_cut, wait_for
from tests.web_fakes import HUGE, Serve, connect, get, read_all, serving, statuses, talk


@pytest.fixture
def serve() -> Iterator[Serve]:
    with serving() as start:
        yield start


LIMITS = [
    pytest.param(64, 16, id="a quarter of the files"),
    pytest.param(2, 1, id="one at least"),
    pytest.param(1 << 20, 512, id="not without end"),
    pytest.param(-1, 512, id="no limit"),
]


@pytest.mark.parametrize(("descriptors", "connections"), LIMITS)
def test_there_are_no_more_clients_than_room(descriptors: int, connections: int) -> None:
    assert most_connections(descriptors) == connections
    assert 1 <= most_connections() <= 512


class Guest:
    def __init__(self) -> None:
        self.dismissed = False

    def dismiss(self) -> None:
        self.dismissed = True


def crowd_of(limit: int, count: int) -> tuple[Crowd[Guest], list[Guest]]:
    crowd, guests = Crowd[Guest](limit), [Guest() for _ in range(count)]
    for guest in guests:
        crowd.enter(guest)
    return crowd, guests


def dismissed(guests: list[Guest]) -> list[int]:
    return [number for number, guest in enumerate(guests) if guest.dismissed]


def test_of_those_who_have_shown_nothing_the_oldest_goes() -> None:
    _, guests = crowd_of(3, 5)
    assert dismissed(guests) == [0, 1]


def test_who_has_had_an_answer_stays_while_there_are_more_of_the_others() -> None:
    crowd, guests = crowd_of(4, 4)
    crowd.serve(guests[0])
    crowd.served(guests[0])
    more = [Guest() for _ in range(10)]
    for guest in more:
        crowd.enter(guest)
    assert dismissed(guests) == [1, 2, 3]
    assert dismissed(more) == list(range(7))


def test_of_those_who_have_had_an_answer_the_longest_idle_goes() -> None:
    crowd, guests = crowd_of(3, 3)
    for number in (0, 1, 2, 0):
        crowd.serve(guests[number])
        crowd.served(guests[number])
    crowd.enter(Guest())
    assert dismissed(guests) == [1]


def test_who_is_being_served_stays_and_the_newest_has_to_go() -> None:
    crowd, guests = crowd_of(2, 2)
    for guest in guests:
        crowd.serve(guest)
    newest = Guest()
    crowd.enter(newest)
    assert (dismissed(guests), newest.dismissed) == ([], True)
    assert crowd.all() == guests


# Over real sockets


@pytest.mark.integration
def test_silent_and_dripping_clients_keep_nobody_out(serve: Serve) -> None:
    server = serve(patience=600.0, max_connections=40)
    with connect(server) as known, ExitStack() as stack:
        known.sendall(get("/"))
        assert known.recv(1000).endswith(b"landing\n")
        clients = [stack.enter_context(connect(server)) for _ in range(120)]
        for client in clients[1::2]:
            try:
                client.sendall(b"GET / HTTP/1.1\r\nX: ")
            except ConnectionError:
                continue
        assert statuses(talk(server, get("/metrics"))) == [200]
        assert read_all(clients[0]) == b""  # the oldest had to go
        clients[-1].sendall(b"y\r\nHost: x\r\n\r\n")  # the last one is still heard
        assert clients[-1].recv(12) == b"HTTP/1.1 200"
        known.sendall(get("/"))  # and so is the one that was here before
        assert known.recv(1000).endswith(b"landing\n")


@pytest.mark.integration
def test_idle_clients_do_not_fill_the_server(serve: Serve) -> None:
    server = serve(patience=600.0, max_connections=10)
    with ExitStack() as stack:
        for _ in range(30):
            client = stack.enter_context(connect(server))
            client.sendall(get("/"))
            assert client.recv(1000).endswith(b"landing\n")


@pytest.mark.integration
def test_clients_that_drip_are_cut_off(serve: Serve) -> None:
    server = serve(patience=0.3)
    with ExitStack() as stack:
        drip_until_cut([stack.enter_context(connect(server)) for _ in range(8)], 0.02)


@pytest.mark.integration
def test_a_client_that_drips_its_second_request_is_cut_off(serve: Serve) -> None:
    with connect(serve(patience=0.3)) as client:
        client.sendall(get("/"))
        assert client.recv(1000).endswith(b"landing\n")
        drip_until_cut([client], 0.02)


@pytest.mark.integration
@pytest.mark.parametrize(
    ("first", "settings"),
    [
        pytest.param(b"", {"patience": 0.2}, id="silent from the beginning"),
        pytest.param(get("/"), {"patience": 0.2, "idle": 0.3}, id="silent after an answer"),
        pytest.param(get("/") + b"GET", {"patience": 0.2}, id="silent in the next request"),
    ],
)
def test_a_silent_client_is_cut_off(serve: Serve, first: bytes, settings: dict[str, float]) -> None:
    with connect(serve(**settings)) as client:
        client.sendall(first)
        assert len(statuses(read_all(client))) == first.count(b"Host")


@pytest.mark.integration
def test_a_client_that_takes_no_answer_is_cut_off(serve: Serve) -> None:
    server = serve(patience=0.3)
    with connect(server) as client:
        client.sendall(get("/huge"))
        wait_for("the end of the connection", lambda: _is_reset(client))
        assert len(read_all(client)) < len(HUGE)


def _is_reset(client: socket.socket) -> bool:
    """Whether the server has given up; nothing is read."""
    try:
        client.sendall(b"x")
    except ConnectionError:
        return True
    return False


@pytest.mark.integration
def test_a_client_that_sends_far_ahead_is_held_back_and_served(serve: Serve) -> None:
    """Its requests are more than are kept, and nobody else waits for them."""
    count = 6_000
    server = serve()
    with connect(server) as client, closing(client.makefile("rb")) as answers:
        sender = threading.Thread(target=client.sendall, args=(get("/") * count,), daemon=True)
        sender.start()
        assert statuses(talk(server, get("/metrics"))) == [200]
        seen = sum(line == b"landing\n" for line in _lines(answers, count))
        assert seen == count
        sender.join(20)


def _lines(stream: object, count: int) -> Iterator[bytes]:
    seen = 0
    while seen < count:
        line = stream.readline()  # type: ignore[attr-defined]
        seen += line == b"landing\n"
        yield line
