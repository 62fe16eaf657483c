"""Push mode: what is sent, in which order, and what is kept."""

import gzip
import itertools
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from exporter.post import Answer, Verdict
from exporter.push import Backoff, Pusher, PushPage
from fleetpulse.storage.spool import Spool
from tests.exporter_fakes import FakePost, values
from tests.support import wait_for

LATER = Answer(Verdict.LATER, "HTTP 503: away")
REFUSED = Answer(Verdict.REFUSED, "HTTP 413: too large")

Make = Callable[..., Pusher]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Makes pushers whose pages say `page 1`, `page 2`, … made at 1010, 1020, …"""
    made: list[Pusher] = []
    count, times = itertools.count(1), itertools.count(1010, 10)

    def pusher(post: FakePost, pages: int = 10, path: Path = tmp_path / "spool") -> Pusher:
        made.append(
            Pusher(
                lambda: b"page %d\n" % next(count),
                post,
                lambda: Spool(path, max_items=pages, busy_timeout=0.1),
                3600.0,
                tmp_path / "refused.gz",
                now=lambda: float(next(times)),
                backoff=Backoff(lambda: 1.0),
            )
        )
        made[-1].open()
        return made[-1]

    yield pusher
    for one in made:
        one.stop()


def texts(post: FakePost) -> list[bytes]:
    return [gzip.decompress(body) for _, _, body in post.got]


def test_a_page_is_sent_with_the_time_it_was_made_and_an_id(make: Make) -> None:
    post = FakePost()
    pusher = make(post)
    pusher.make()
    assert pusher.send_waiting() is None
    [(batch_id, at, body)] = post.got
    assert (at, gzip.decompress(body)) == (1010.0, b"page 1\n")
    assert len(batch_id) == 32
    assert pusher.waiting == 0


def test_an_unsent_page_is_sent_again_under_the_same_id_and_in_its_turn(make: Make) -> None:
    post = FakePost([LATER, LATER])
    pusher = make(post)
    pusher.make()
    assert pusher.send_waiting() == 1.0
    pusher.make()
    assert pusher.send_waiting() == 2.0
    assert (pusher.waiting, pusher.trouble) == (2, "HTTP 503: away")
    assert pusher.send_waiting() is None
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
    assert pusher.send_waiting() is None
    assert texts(post) == [b"page 1\n", b"page 2\n"]
    assert gzip.decompress((tmp_path / "refused.gz").read_bytes()) == b"page 1\n"
    assert values(list(pusher.families()))["fleetpulse_push_pages_refused_total"] == 1


def test_when_the_spool_is_full_the_oldest_are_dropped_and_counted(make: Make) -> None:
    post = FakePost([LATER])
    pusher = make(post, pages=2)
    for _ in range(5):
        pusher.make()
    found = values(list(pusher.families()))
    assert found["fleetpulse_push_pages_dropped_total"] == 3
    assert found["fleetpulse_push_spool_pages"] == 2
    assert found["fleetpulse_push_spool_bytes"] > 0
    pusher.send_waiting()
    pusher.send_waiting()
    assert texts(post) == [b"page 4\n", b"page 4\n", b"page 5\n"]


def test_a_restart_sends_what_the_last_run_left(make: Make) -> None:
    first = make(FakePost([LATER]))
    first.make()
    first.send_waiting()
    first.stop()
    post = FakePost()
    assert make(post).send_waiting() is None
    assert texts(post) == [b"page 1\n"]


def test_garbage_on_the_spool_is_set_aside(make: Make, tmp_path: Path) -> None:
    spool = Spool(tmp_path / "other")
    for payload in (b"no page", b"\xff\xfe\n", b"[1]\nx", PushPage.made(b"fine", 1.0).encode()):
        spool.put(payload)
    spool.close()
    post = FakePost()
    pusher = make(post, path=tmp_path / "other")
    assert pusher.send_waiting() is None
    assert texts(post) == [b"fine"]
    assert pusher.stats.refused == 3


def test_what_happened_is_on_the_page(make: Make) -> None:
    pusher = make(FakePost([LATER, Answer(Verdict.SENT, rejected=3)]))
    pusher.make()
    pusher.send_waiting()
    pusher.send_waiting()
    found = values(list(pusher.families()))
    assert found["fleetpulse_push_pages_failed_total"] == 1
    assert found["fleetpulse_push_pages_sent_total"] == 1
    assert found["fleetpulse_push_samples_rejected_total"] == 3
    assert found["fleetpulse_push_last_success_timestamp_seconds"] == 1020.0
    assert found["fleetpulse_push_spool_pages"] == 0


def test_trouble_is_logged_when_it_changes(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    other = Answer(Verdict.LATER, "HTTP 403: not on the whitelist")
    pusher = make(FakePost([LATER, LATER, other, REFUSED, REFUSED]))
    for _ in range(3):
        pusher.make()
    with caplog.at_level(logging.INFO):
        for _ in range(4):
            pusher.send_waiting()
    assert [record.getMessage() for record in caplog.records] == [
        "pages wait on disk: HTTP 503: away",
        "pages wait on disk: HTTP 403: not on the whitelist",
        "pages are taken again, 3 waiting",
        f"page refused, kept as {pusher.refused_path}: HTTP 413: too large",
    ]


def test_being_asked_to_slow_down_is_no_trouble_unless_it_lasts(make: Make) -> None:
    slow = Answer(Verdict.LATER, "HTTP 429: slow down", 7.0, paced=True)
    pusher = make(FakePost([slow, Answer(Verdict.SENT), slow, slow]))
    pusher.make()
    pusher.make()
    assert pusher.send_waiting() == 7.0
    assert pusher.trouble == ""
    pusher.send_waiting()
    assert (pusher.waiting, pusher.trouble) == (1, "")
    pusher.send_waiting()
    assert pusher.trouble == "HTTP 429: slow down"


def test_a_page_that_cannot_be_kept_is_counted(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    pusher = make(FakePost())
    pusher.stop()
    for _ in range(2):
        pusher.make()
    assert pusher.stats.dropped == 2
    assert len(caplog.records) == 1
    assert "the spool is closed" in caplog.text


WAITS = [
    pytest.param([None] * 8, [1, 2, 4, 8, 16, 32, 60, 60], id="doubling, to a minute"),
    pytest.param([None, 30.0, None], [1, 30, 4], id="never less than asked for"),
    pytest.param([0.5, None], [1, 2], id="nor less than planned"),
    pytest.param([1e9], [3600], id="nor a year"),
]


@pytest.mark.parametrize(("asked", "waits"), WAITS)
def test_backoff(asked: list[float | None], waits: list[float]) -> None:
    backoff = Backoff(lambda: 1.0)
    assert [backoff.next(one) for one in asked] == waits
    backoff.reset()
    assert backoff.next(None) == 1


def test_backoff_has_jitter_of_half() -> None:
    assert Backoff(lambda: 0.0).next(None) == 0.5


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
