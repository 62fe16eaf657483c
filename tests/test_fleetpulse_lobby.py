"""Who is let in from the lobby, who is sent away, and that nothing is read there."""

import socket
from collections.abc import Iterator
from queue import SimpleQueue

import pytest

from fleetpulse.lobby import Lobby
from tests.support import wait_for

HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Hall:
    """A lobby with the sockets that are admitted from it; its clock stands until it is set."""

    def __init__(self) -> None:
        self.now = 0.0
        self.admitted: SimpleQueue[socket.socket] = SimpleQueue()
        self.lobby = Lobby(self._admit, limit=3, patience=15.0, clock=lambda: self.now)
        self.clients: list[socket.socket] = []

    def _admit(self, connection: socket.socket, address: object) -> None:
        if address == "faulty":
            raise OSError("no thread can be made")
        self.admitted.put(connection)

    def enter(self, address: str = "a") -> socket.socket:
        client, server = socket.socketpair()
        client.settimeout(20)
        self.clients.append(client)
        self.lobby.add(server, address)
        return client


@pytest.fixture
def hall() -> Iterator[Hall]:
    hall = Hall()
    hall.lobby.start()
    yield hall
    hall.lobby.close()
    for client in hall.clients:
        client.close()


def test_a_request_is_let_in_whole_however_it_comes(hall: Hall) -> None:
    for pieces in ([HEAD], [HEAD[:9], HEAD[9:25], HEAD[25:]]):
        client = hall.enter()
        for piece in pieces:
            client.sendall(piece)
        with hall.admitted.get(timeout=20) as connection:
            assert connection.recv(1000) == HEAD


def test_a_head_without_an_end_is_the_readers_to_refuse(hall: Hall) -> None:
    hall.enter().sendall(b"x" * 20_000)
    hall.admitted.get(timeout=20).close()


def test_the_silent_are_sent_away_after_a_while(hall: Hall) -> None:
    client = hall.enter()
    client.sendall(HEAD[:9])
    hall.now = 15.0
    wait_for("its end", lambda: _ended(client))
    assert hall.admitted.empty()


def test_of_too_many_the_first_must_go(hall: Hall) -> None:
    first, *others = [hall.enter() for _ in range(4)]
    assert first.recv(1) == b""
    for client in others:
        client.sendall(HEAD)
        hall.admitted.get(timeout=20).close()


def test_who_leaves_takes_no_place(hall: Hall) -> None:
    for _ in range(10):
        hall.enter().close()
    client = hall.enter()
    client.sendall(HEAD)
    hall.admitted.get(timeout=20).close()


def test_a_fault_at_the_door_ends_nobody_elses_waiting(hall: Hall) -> None:
    faulty, client = hall.enter("faulty"), hall.enter()
    faulty.sendall(HEAD)
    wait_for("the end of the faulty one", lambda: _ended(faulty))
    client.sendall(HEAD)
    hall.admitted.get(timeout=20).close()


def test_it_closes_without_a_start() -> None:
    hall = Hall()
    client = hall.enter()
    hall.lobby.close()
    assert client.recv(1) == b""
    client.close()


def _ended(client: socket.socket) -> bool:
    try:
        return client.recv(1) == b""
    except ConnectionError:
        return True
