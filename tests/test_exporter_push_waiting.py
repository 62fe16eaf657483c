"""Push mode: how long it waits, for whom, what it says of that, and whether it is well."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.push.answer import Answer, Verdict
from exporter.push.backoff import Backoff
from exporter.push.news import News
from exporter.push.sender import Pause, Sender
from exporter.push.stats import PushStats
from tests.exporter_fakes import FakePost
from tests.pusher_fakes import DENIED, LATER, Clock, Make, making


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make(tmp_path: Path, clock: Clock) -> Iterator[Make]:
    yield from making(tmp_path, clock)


def answer(asked: float | None) -> Answer:
    return Answer(Verdict.LATER, retry_after=asked)


# What Retry-After asked for, where there was one; the shortest and the longest wait it makes
WAITS = [
    pytest.param([None] * 8, [1] * 8, [2, 4, 8, 16, 32, 60, 60, 60], id="doubling, to a minute"),
    pytest.param([None, 30.0, None], [1, 30, 1], [2, 33, 8], id="never less than asked for"),
    pytest.param([0.0], [1], [2], id="but never at once"),
    pytest.param([1e9, float("inf")], [3600] * 2, [3601, 3603], id="nor in a year"),
]


@pytest.mark.parametrize(("asked", "shortest", "longest"), WAITS)
def test_backoff_lies_anywhere_between(
    asked: list[float | None], shortest: list[float], longest: list[float]
) -> None:
    low, high = Backoff(lambda: 0.0), Backoff(lambda: 1.0)
    assert [low.next(answer(one)) for one in asked] == shortest
    assert [high.next(answer(one)) for one in asked] == longest
    high.reset()
    assert high.next(answer(None)) == 2


def test_a_key_that_is_refused_is_tried_again_slowly() -> None:
    low, high = Backoff(lambda: 0.0), Backoff(lambda: 1.0)
    assert [low.next(DENIED) for _ in range(3)] == [240] * 3
    assert [high.next(DENIED) for _ in range(3)] == [360] * 3


def test_a_revoked_key_is_a_line_an_hour_and_twelve_attempts(
    make: Make, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    post = FakePost([DENIED] * 100)
    pusher = make(post, pages=1000)
    while clock.time < 100 + 2 * 3600:
        pusher.make()
        pause = pusher.turn()
        assert pause is not None
        pusher.sender.rest(pause, clock.wait)
    assert len(post.got) == 30  # 240 s apart, the shortest there is
    told = [record.getMessage() for record in caplog.records]
    assert told == [f"pages wait on disk ({count}): HTTP 401: revoked" for count in (1, 16)]


def test_a_new_key_ends_the_wait_for_it(make: Make, clock: Clock) -> None:
    post = FakePost([DENIED], key="old")
    pusher = make(post)
    pusher.make()
    pause = pusher.turn()
    assert pause == Pause(240.0, "old")
    clock.then[117.5] = lambda: setattr(post, "key", "new")
    pusher.sender.rest(pause, clock.wait)
    assert clock.time == 118.0
    assert pusher.turn() is None
    assert pusher.waiting == 0


def test_a_key_exchanged_while_the_old_one_was_on_its_way_ends_the_wait_at_once(
    make: Make, clock: Clock
) -> None:
    class Exchanged(FakePost):
        def send(self, batch_id: str, at: float, body: bytes) -> Answer:
            self.key = "new"
            return DENIED

    pusher = make(Exchanged(key="old"))
    pusher.make()
    pause = pusher.turn()
    assert pause is not None
    pusher.sender.rest(pause, clock.wait)
    assert clock.time == 101.0


def test_other_waits_look_at_nothing_meanwhile(clock: Clock, tmp_path: Path) -> None:
    waits: list[float] = []
    sender = Sender(FakePost(), PushStats(), tmp_path / "refused", now=clock.now)
    sender.rest(Pause(33.0), lambda seconds: bool(waits.append(seconds)))
    assert waits == [33.0]
    sender.rest(Pause(33.0, "key"), lambda seconds: waits.append(seconds) is None)
    assert waits == [33.0, 1.0]  # which was told to end


# What is said each half an hour, and which of it is worth a line
NEWS = [
    pytest.param(["", ""], "..", id="all is well, as it was"),
    pytest.param(["a", "a", "a", "a"], "x.x.", id="what lasts, each hour"),
    pytest.param(["a", "b", "b", "a"], "xx.x", id="what is new"),
    pytest.param(["a", "", "", ""], "xx..", id="the end of it, once"),
]


@pytest.mark.parametrize(("said", "told"), NEWS)
def test_news(said: list[str], told: str) -> None:
    times = itertools.count(0, 1800)
    news = News(lambda: float(next(times)))
    assert "".join("x" if news.is_news(text) else "." for text in said) == told


def test_it_is_healthy_as_long_as_pages_are_made(make: Make, clock: Clock) -> None:
    pusher = make(FakePost([LATER] * 9))
    assert pusher.healthy()  # not started
    pusher.make()
    clock.time += 30
    assert pusher.healthy()
    clock.time += 1
    assert not pusher.healthy()
    pusher.make()
    pusher.turn()
    assert pusher.healthy()  # that nothing gets through is no fault of it


def test_it_is_not_healthy_while_an_attempt_to_send_hangs(make: Make, clock: Clock) -> None:
    seen: list[bool] = []

    class Hanging(FakePost):
        def send(self, batch_id: str, at: float, body: bytes) -> Answer:
            for _ in range(2):
                clock.time += 290
                pusher.make()
                seen.append(pusher.healthy())
            return Answer(Verdict.SENT)

    pusher = make(Hanging())
    pusher.make()
    pusher.turn(lambda: not seen)
    assert seen == [True, False]
    assert pusher.healthy()
