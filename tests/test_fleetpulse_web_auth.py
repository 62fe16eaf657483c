"""Logins: what a header says, what bcrypt is asked, what is remembered."""

import base64
import logging
import queue
import threading
from collections.abc import Iterator
from pathlib import Path

import bcrypt
import pytest
import requests

from fleetpulse.values import ListenAddress
from fleetpulse.web.auth import Logins, bcrypt_compare, credentials
from fleetpulse.web.http import Route, text
from fleetpulse.web.server import WebServer
from fleetpulse.yamldoc import Secret


def header(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(header("alice", "x"), (b"alice", b"x"), id="user and password"),
        pytest.param(header("alice", "a:b"), (b"alice", b"a:b"), id="colons in the password"),
        pytest.param(header("", ""), (b"", b""), id="both empty"),
        pytest.param("bAsIc YTpi", (b"a", b"b"), id="the scheme in any case"),
        pytest.param("", None, id="no header"),
        pytest.param("Basic", None, id="nothing after the scheme"),
        pytest.param("Bearer YTpi", None, id="another scheme"),
        pytest.param("Basic YWxpY2U=", None, id="no colon"),
        pytest.param("Basic YTpi, Basic YTpi", None, id="two of them"),
        pytest.param("Basic Y!pi", None, id="no base64"),
        pytest.param("Basic ä", None, id="no ASCII"),
    ],
)
def test_credentials_are_read_from_the_header(
    value: str, expected: tuple[bytes, bytes] | None
) -> None:
    assert credentials(value) == expected


class Compare:
    """Says which pairs bcrypt was asked for; the hash of a password is `#password`."""

    def __init__(self) -> None:
        self.asked: list[tuple[bytes, bytes]] = []

    def __call__(self, password: bytes, stored: bytes) -> bool:
        self.asked.append((password, stored))
        return stored == b"#" + password


def logins(compare: Compare, **users: str) -> Logins:
    made = Logins(compare)
    made.set_users({name: Secret(stored) for name, stored in users.items()})
    return made


def ask(of: Logins, value: str) -> bool:
    if (known := of.remembered(value)) is not None:
        return known
    answers: queue.SimpleQueue[bool] = queue.SimpleQueue()
    of.check(value, answers.put)
    return answers.get(timeout=20)


def test_the_right_password_of_the_user_is_let_in_and_asked_once() -> None:
    compare = Compare()
    doors = logins(compare, alice="#red", bob="#blue")
    assert [ask(doors, header("alice", "red")) for _ in range(3)] == [True] * 3
    assert not ask(doors, header("alice", "blue"))
    assert not ask(doors, header("alice", "blue"))
    assert compare.asked == [(b"red", b"#red"), (b"blue", b"#red")]


def test_an_unknown_user_costs_a_comparison_and_is_not_let_in_by_anybodys_password() -> None:
    compare = Compare()
    doors = logins(compare, alice="#red")
    assert not ask(doors, header("mallory", "red"))
    assert compare.asked == [(b"red", b"#red")]


def test_a_changed_hash_is_asked_anew() -> None:
    doors = logins(Compare(), alice="#red")
    assert ask(doors, header("alice", "red"))
    doors.set_users({"alice": Secret("#blue")})
    assert not ask(doors, header("alice", "red"))


def test_wrong_passwords_push_out_no_right_one() -> None:
    compare = Compare()
    doors = logins(compare, alice="#red")
    assert ask(doors, header("alice", "red"))
    assert not any(ask(doors, header("alice", f"guess {number}")) for number in range(150))
    assert doors.remembered(header("alice", "red")) is True
    assert doors.remembered(header("alice", "guess 0")) is None  # the oldest are forgotten


def test_nothing_that_is_remembered_holds_a_password() -> None:
    doors = logins(Compare(), alice="#red")
    ask(doors, header("alice", "open sesame"))
    assert "sesame" not in repr(vars(doors))


def test_a_comparison_that_fails_lets_nobody_in() -> None:
    def broken(password: bytes, stored: bytes) -> bool:
        raise RuntimeError

    doors = Logins(broken)
    doors.set_users({"alice": Secret("#red")})
    assert not ask(doors, header("alice", "red"))


def test_only_so_many_logins_wait() -> None:
    going, asked = threading.Event(), queue.SimpleQueue[bool]()

    def slow(password: bytes, stored: bytes) -> bool:
        return going.wait(20)

    doors = Logins(slow)
    doors.set_users({"alice": Secret("#red")})
    sent = 0
    while not doors.busy:
        doors.check(header("alice", str(sent)), asked.put)
        sent += 1
    assert 2 < sent < 100
    going.set()
    assert [asked.get(timeout=20) for _ in range(sent)] == [True] * sent


@pytest.mark.parametrize(
    ("password", "expected"),
    [
        pytest.param(b"a" * 72, True, id="as long as bcrypt sees"),
        pytest.param(b"a" * 80, True, id="what is past it is cut off, as by htpasswd and Go"),
        pytest.param(b"a" * 71, False, id="shorter"),
        pytest.param(b"a\0b", False, id="a zero byte"),
        pytest.param(b"", False, id="empty"),
    ],
)
def test_bcrypt_sees_72_bytes(password: bytes, expected: bool) -> None:
    assert bcrypt_compare(password, bcrypt.hashpw(b"a" * 72, bcrypt.gensalt(4))) is expected


# The server


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[WebServer]:
    stored = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
    file = tmp_path / "web.yml"
    file.write_text(f"basic_auth_users:\n  alice: {stored}\n")
    page = Route(lambda request: text(200, "page"))
    health = Route(lambda request: text(200, "healthy"), blocking=False)
    routes = {"/metrics": page, "/-/healthy": health}
    server = WebServer("t", [ListenAddress("127.0.0.1", 0)], routes, web_file=file)
    server.start()
    yield server
    server.stop()


@pytest.mark.integration
@pytest.mark.parametrize("path", ["/metrics", "/-/healthy", "/nowhere"])
def test_every_path_needs_a_login(guarded: WebServer, path: str) -> None:
    answer = requests.get(guarded.addresses[0].url + path, timeout=20)
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Basic")


@pytest.mark.integration
def test_a_login_gets_the_page_and_a_wrong_one_does_not(
    guarded: WebServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    url = guarded.addresses[0].url + "/metrics"
    with requests.Session() as session:
        for user, password, status in [
            ("alice", "secret", 200),
            ("alice", "open sesame", 401),
            ("bob", "secret", 401),
            ("alice", "secret", 200),
        ]:
            answer = session.get(url, auth=(user, password), timeout=20)
            assert answer.status_code == status
        head = session.head(url, timeout=20)
        assert (head.status_code, head.content) == (401, b"")
    assert "sesame" not in caplog.text
