"""Push mode: what is sent, in which order, and what is kept."""

import gzip
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.push.answer import Answer, Verdict
from exporter.push.once import push_once
from exporter.push.page import PushPage
from exporter.push.pusher import Pusher
from exporter.push.sender import Pause
from fleetpulse.errors import StartError, StorageError
from fleetpulse.storage.spool import Spool
from tests.exporter_fakes import FakePost, page_of
from tests.pusher_fakes import DENIED, LATER, REFUSED, Clock, Make, making
from tests.support import wait_for


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make(tmp_path: Path, clock: Clock) -> Iterator[Make]:
    yield from making(tmp_path, clock)


def texts(post: FakePost) -> list[bytes]:
    return [gzip.decompress(body) for _, _, body in post.got]


def test_a_page_is_sent_with_the_time_it_was_made_and_an_id(make: Make) -> None:
    post = FakePost()
    pusher = make(post)
    pusher.make()
    assert pusher.turn() is None
    [(batch_id, at, body)] = post.got
    assert (at, gzip.decompress(body)) == (1010.0, b"page 1\n")
    assert len(batch_id) == 32
    assert pusher.waiting == 0


def test_an_unsent_page_is_sent_again_under_the_same_id_and_in_its_turn(make: Make) -> None:
    post = FakePost([LATER, LATER])
    pusher = make(post)
    pusher.make()
    assert pusher.turn() == Pause(1.0)
    pusher.make()
    assert pusher.turn() == Pause(1.0)
    assert (pusher.waiting, pusher.trouble) == (2, "HTTP 503: away")
    assert pusher.turn() is None
    assert texts(post) == [b"page 1\n"] * 3 + [b"page 2\n"]
    ids = [batch_id for batch_id, _, _ in post.got]
    assert len(set(ids[:3])) == 1
    assert ids[3] != ids[0]
    assert [at for _, at, _ in post.got][2:] == [1010.0, 1020.0]
    assert (pusher.waiting, pusher.trouble) == (0, "")


def test_a_refused_page_is_set_aside_and_blocks_nothing(make: Make, tmp_path: Path) -> None:
    post = FakePost([REFUSED])
    pusher = make(post)
    pusher.make()
    pusher.make()
    assert pusher.turn() is None
    assert texts(post) == [b"page 1\n", b"page 2\n"]
    assert gzip.decompress((tmp_path / "refused.gz").read_bytes()) == b"page 1\n"
    assert page_of(pusher.families())["fleetpulse_push_pages_refused_total"] == 1


def test_a_refused_page_that_cannot_be_set_aside_blocks_nothing_either(
    make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pusher = make(FakePost([REFUSED]), refused=tmp_path / "missing" / "refused.gz")
    pusher.make()
    assert pusher.turn() is None
    assert pusher.waiting == 0
    assert "missing/refused.gz: No such file" in caplog.text


def test_when_the_spool_is_full_the_oldest_are_dropped_and_counted(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    post = FakePost([LATER])
    pusher = make(post, pages=2)
    for _ in range(5):
        pusher.make()
    found = page_of(pusher.families())
    assert found['fleetpulse_push_pages_dropped_total{reason="items"}'] == 3
    assert found['fleetpulse_push_pages_dropped_total{reason="age"}'] == 0
    assert found["fleetpulse_push_spool_pages"] == 2
    assert found["fleetpulse_push_spool_bytes"] > 0
    pusher.turn()
    pusher.turn()
    assert texts(post) == [b"page 4\n", b"page 4\n", b"page 5\n"]
    told = [one.getMessage() for one in caplog.records if "drops" in one.getMessage()]
    assert len(told) == 1
    assert told[0].startswith("the spool drops pages unsent (items); 2 wait, of ")


def test_a_restart_sends_what_the_last_run_left(make: Make) -> None:
    first = make(FakePost([LATER]))
    first.make()
    first.turn()
    first.stop()
    post = FakePost()
    assert make(post).turn() is None
    assert texts(post) == [b"page 1\n"]


def test_garbage_on_the_spool_is_set_aside(make: Make, tmp_path: Path) -> None:
    spool = Spool(tmp_path / "other")
    for payload in (b"no page", b"\xff\xfe\n", b"[1]\nx", b"[" * 99_999 + b"\n"):
        spool.put(payload)
    spool.put(PushPage.made(b"fine", 1.0).encode())
    spool.close()
    post = FakePost()
    pusher = make(post, path=tmp_path / "other")
    assert pusher.turn() is None
    assert texts(post) == [b"fine"]
    assert pusher.stats.refused == 4


def test_what_happened_is_on_the_page(make: Make) -> None:
    pusher = make(FakePost([LATER, Answer(Verdict.SENT, rejected=3, status=202)]))
    pusher.make()
    pusher.turn()
    found = page_of(pusher.families())
    assert found["fleetpulse_push_last_http_status"] == 503
    assert found["fleetpulse_push_backoff_seconds"] == 1.0
    assert found["fleetpulse_push_spool_oldest_age_seconds"] > 0
    pusher.turn()
    found = page_of(pusher.families())
    assert found["fleetpulse_push_pages_failed_total"] == 1
    assert found["fleetpulse_push_pages_sent_total"] == 1
    assert found["fleetpulse_push_samples_rejected_total"] == 3
    assert found["fleetpulse_push_last_success_timestamp_seconds"] == 1020.0
    assert found["fleetpulse_push_last_http_status"] == 202
    assert found["fleetpulse_push_backoff_seconds"] == 0.0
    assert found["fleetpulse_push_spool_pages"] == 0
    assert found["fleetpulse_push_spool_oldest_age_seconds"] == 0


def test_the_figures_are_there_before_the_start(make: Make) -> None:
    found = page_of(make(FakePost(), opened=False).families())
    assert set(found.values()) == {0}


def test_trouble_is_logged_when_it_changes(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    other = Answer(Verdict.LATER, "HTTP 403: not on the whitelist", denied=True)
    pusher = make(FakePost([LATER, LATER, other, REFUSED, REFUSED]))
    for _ in range(3):
        pusher.make()
    with caplog.at_level(logging.INFO):
        for _ in range(4):
            pusher.turn()
    assert [record.getMessage() for record in caplog.records] == [
        "pages wait on disk (3): HTTP 503: away",
        "pages wait on disk (3): HTTP 403: not on the whitelist",
        "pages are taken again, 2 waiting",
        "page refused, kept as " + str(caplog.records[-1].args[0]) + ": HTTP 413: too large",  # type: ignore[index]
    ]


def test_being_asked_to_slow_down_is_no_trouble_unless_it_lasts(make: Make) -> None:
    slow = Answer(Verdict.LATER, "HTTP 429: slow down", 7.0, paced=True)
    pusher = make(FakePost([slow, Answer(Verdict.SENT), slow, slow]))
    pusher.make()
    pusher.make()
    assert pusher.turn() == Pause(7.0)
    assert pusher.trouble == ""
    pusher.turn()
    assert (pusher.waiting, pusher.trouble) == (1, "")
    pusher.turn()
    assert pusher.trouble == "HTTP 429: slow down"


class FullSpool(Spool):
    """A disk without room, until there is."""

    full = True  # set at the class: whoever uses it makes one of its own

    def put(self, payload: bytes) -> int:
        if self.full:
            raise StorageError(f"{self.path.name}: database or disk is full", retriable=True)
        return super().put(payload)

    def peek(self, limit: int) -> list[tuple[int, bytes]]:
        if self.full:
            raise StorageError(f"{self.path.name}: disk I/O error", retriable=True)
        return super().peek(limit)


def test_a_page_that_cannot_be_kept_is_counted_and_told_once(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    class Full(FullSpool):
        pass

    post = FakePost()
    pusher = make(post, kind=Full)
    for _ in range(3):
        pusher.make()
        assert pusher.turn() == Pause(1.0)
    found = page_of(pusher.families())
    assert found['fleetpulse_push_pages_dropped_total{reason="not_kept"}'] == 3
    assert [record.getMessage() for record in caplog.records] == [
        "pages cannot be kept and are lost: spool: database or disk is full",
        "pages cannot be read from disk: spool: disk I/O error",
    ]
    Full.full = False
    pusher.make()
    assert pusher.turn() is None
    assert texts(post) == [b"page 4\n"]


# The API's answers, the exit code, what is said
ONCE = [
    pytest.param([], 0, "2 pages sent, 0 waiting", id="all is sent"),
    pytest.param([LATER], 0, "2 pages sent, 0 waiting", id="at the second attempt"),
    pytest.param(
        [LATER] * 99, 1, "0 pages sent, 2 waiting: HTTP 503: away", id="nobody takes them"
    ),
    pytest.param(
        [DENIED], 1, "0 pages sent, 2 waiting: HTTP 401: revoked", id="a person has to act first"
    ),
    pytest.param([REFUSED], 1, "1 page sent, 0 waiting, 1 not taken", id="one is refused"),
    pytest.param(
        [Answer(Verdict.SENT), Answer(Verdict.LATER, "HTTP 503: later", 100.0)], 1,
        "1 page sent, 1 waiting: HTTP 503: later", id="asked to wait past the end",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("answers", "code", "line"), ONCE)
def test_once(make: Make, clock: Clock, answers: list[Answer], code: int, line: str) -> None:
    before = make(FakePost())
    before.make()
    before.stop()
    said: list[str] = []
    pusher = make(FakePost(list(answers)), opened=False)
    done = push_once(pusher, steady=clock.now, sleep=clock.wait, say=said.append)
    assert (done, said) == (code, [line])
    assert clock.time <= 130


def test_once_leaves_the_spool_to_whoever_holds_it(make: Make) -> None:
    make(FakePost())
    with pytest.raises(StartError, match="another process uses this spool"):
        push_once(make(FakePost(), opened=False))


def test_the_threads_make_and_send(tmp_path: Path) -> None:
    post = FakePost()
    pusher = Pusher(
        lambda: b"page\n", post, lambda: Spool(tmp_path / "s"), 3600.0, tmp_path / "refused"
    )
    pusher.start()
    try:
        wait_for("a page to be sent", lambda: pusher.stats.sent == 1 and pusher.waiting == 0)
    finally:
        pusher.stop()
    assert texts(post) == [b"page\n"]


def test_a_fault_of_the_program_does_not_end_the_sender(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(FakePost):
        def send(self, batch_id: str, at: float, body: bytes) -> Answer:
            self.got.append((batch_id, at, body))
            raise RuntimeError("a bug")

    post = Broken()
    pusher = Pusher(
        lambda: b"page\n", post, lambda: Spool(tmp_path / "s"), 3600.0, tmp_path / "refused"
    )
    pusher.start()
    try:
        wait_for("a failure to be counted", lambda: pusher.stats.failed)
    finally:
        pusher.stop()
    assert "a bug" in caplog.text
    again = Spool(tmp_path / "s")
    assert len(again) == 1
    again.close()
