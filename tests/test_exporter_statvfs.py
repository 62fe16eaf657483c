"""Mounts that hang, come back and go: with children that are fakes, in a time of their own."""

import errno
import logging
from collections.abc import Iterable

import pytest

from exporter.statvfs.asker import Asker
from exporter.statvfs.process import Answer
from tests.statvfs_fakes import FIGURES, World


@pytest.fixture
def world() -> World:
    return World()


def mounts(*paths: str, server: str = "a") -> dict[bytes, str]:
    return {path.encode(): server for path in paths}


def row(count: int) -> dict[bytes, str]:
    return mounts(*(f"/{n:02}" for n in range(count)))


def told(answers: dict[bytes, Answer], *good: str) -> bool:
    """Whether these have figures and all others an error."""
    return {path.decode() for path, answer in answers.items() if answer == FIGURES} == set(good)


def ask_in(
    world: World, asker: Asker, asked: dict[bytes, str]
) -> tuple[dict[bytes, Answer], float]:
    start = world.now
    return asker.ask(asked), world.now - start


def test_nothing_to_ask_takes_no_child(world: World) -> None:
    asker = world.asker()
    assert asker.ask({}) == {}
    assert not world.children


def test_one_child_asks_all_and_stays(world: World) -> None:
    asker = world.asker()
    for _ in range(3):
        assert told(asker.ask(mounts("/a", "/b", "/c")), "/a", "/b", "/c")
    (child,) = world.children
    assert child.asked == [b"/a", b"/b", b"/c"] * 3
    assert asker.ask({}) == {}
    assert world.alive == 0, "without such mounts there is no child"


def test_an_error_is_the_mounts_own(world: World) -> None:
    answers = world.asker().ask(mounts("/srv/nas", "/b"))
    failed = answers[b"/srv/nas"]
    assert isinstance(failed, OSError)
    assert failed.errno == errno.EIO
    assert answers[b"/b"] == FIGURES


def test_a_silent_mount_is_told_in_time_and_then_skipped(world: World) -> None:
    asker = world.asker(timeout=2.0)
    world.silent = {b"/b"}
    answers, seconds = ask_in(world, asker, mounts("/a", "/b", "/c"))
    assert told(answers, "/a", "/c")
    assert isinstance(answers[b"/b"], TimeoutError)
    assert seconds == pytest.approx(2.0)
    for _ in range(5):
        answers, seconds = ask_in(world, asker, mounts("/a", "/b", "/c"))
        assert told(answers, "/a", "/c")
        assert seconds == 0.0
    assert sum(b"/b" in child.asked for child in world.children) == 1
    assert world.alive == 2, "the mount's, and the one that asks the others"


def test_a_mount_that_answers_again_is_asked_again_by_its_child(world: World) -> None:
    asker = world.asker()
    world.silent = {b"/a"}
    assert told(asker.ask(mounts("/a")))
    world.silent = set()
    answers, seconds = ask_in(world, asker, mounts("/a"))
    assert told(answers, "/a")
    assert seconds == 0.0
    assert [child.asked for child in world.children] == [[b"/a", b"/a"]]


@pytest.mark.parametrize("dead", [1, 3, 7, 8, 20, 500])
def test_any_number_of_dead_mounts_takes_the_timeout_once(world: World, dead: int) -> None:
    asker, asked = world.asker(timeout=2.0), row(dead)
    world.silent = set(asked)
    answers, seconds = ask_in(world, asker, asked)
    assert told(answers)
    assert len(answers) == dead
    assert seconds == pytest.approx(2.0, abs=0.01)
    assert world.alive == asker.children == min(dead, 8)
    _, seconds = ask_in(world, asker, asked)
    assert seconds == 0.0


def test_those_behind_dead_ones_are_heard(world: World) -> None:
    asker, asked = world.asker(), row(7) | mounts("/good")
    world.silent = set(row(7))
    assert told(asker.ask(asked), "/good")
    assert told(asker.ask(asked), "/good")
    assert world.alive == 8


def test_past_the_limit_mounts_are_errors_without_being_asked(world: World) -> None:
    asker, asked = world.asker(limit=3), row(3) | mounts("/good")
    world.silent = set(row(3))
    for _ in range(2):
        answers = asker.ask(asked)
        assert told(answers)
    assert "too many" in str(answers[b"/good"])
    world.silent = {b"/00", b"/01"}
    assert told(asker.ask(asked), "/02", "/good"), "one that is back does for the others"
    assert len(world.children) == 3


def test_a_slow_mount_that_answers_in_time_counts(world: World) -> None:
    world.silent = {b"/slow"}

    def wait(children: Iterable[object], seconds: float) -> None:
        world.now += seconds
        if world.now > 1001.5:
            world.silent = set()

    asker = Asker(2.0, start=world.start, wait=wait, clock=world.clock)
    assert told(asker.ask(mounts("/slow", "/b")), "/slow", "/b")
    assert world.alive == 1, "the second one is not needed any more"


GONE = [
    pytest.param({}, id="unmounted"),
    pytest.param(mounts("/b"), id="unmounted, others are left"),
    pytest.param(mounts("/a", "/b", server="other"), id="another one is mounted there"),
]


@pytest.mark.parametrize("now", GONE)
def test_the_child_of_a_mount_that_went_is_killed(world: World, now: dict[bytes, str]) -> None:
    asker = world.asker()
    world.silent = {b"/a"}
    asker.ask(mounts("/a", "/b"))
    world.silent = set()
    assert told(asker.ask(now), *(path.decode() for path in now))
    stuck = next(child for child in world.children if child.asked[0] == b"/a")
    assert stuck.killed
    assert world.alive == min(len(now), 1)


def test_what_cannot_be_killed_counts_until_it_is_gone(world: World) -> None:
    asker = world.asker(limit=2)
    world.silent = world.unkillable = {b"/a"}
    asker.ask(mounts("/a"))
    assert asker.ask({}) == {}
    assert (asker.children, world.alive) == (1, 1)
    world.unkillable = set()
    assert asker.ask({}) == {}
    assert (asker.children, world.alive) == (0, 0)


def test_a_mount_is_asked_anew_though_its_child_is_stuck_at_an_older_one(world: World) -> None:
    asker = world.asker()
    world.silent = {b"/a"}
    asker.ask(mounts("/a"))
    asker.ask(mounts("/a"))
    assert len(world.children) == 1
    world.now += 61  # unmounted lazily and mounted again meanwhile, which nobody sees
    _, seconds = ask_in(world, asker, mounts("/a"))
    assert seconds == 0.0, "nobody waits for the new one"
    old, new = world.children
    assert (old.killed, new.killed) == (True, False)
    world.silent = set()
    assert told(asker.ask(mounts("/a")), "/a")


def test_a_mount_that_keeps_killed_children_gets_one_more_and_no_third(world: World) -> None:
    asker = world.asker()
    world.silent = world.unkillable = {b"/a"}
    for _ in range(10):
        asker.ask(mounts("/a"))
        world.now += 61
    assert world.alive == asker.children == 2


def test_a_child_that_was_killed_by_others_is_replaced(world: World) -> None:
    asker = world.asker()
    asker.ask(mounts("/a"))
    world.children[0].dead = True
    assert told(asker.ask(mounts("/a", "/b")), "/a", "/b")
    assert len(world.children) == 2
    assert world.alive == 1


def test_a_stuck_child_that_was_killed_by_others_is_replaced(world: World) -> None:
    asker = world.asker()
    world.silent = {b"/a"}
    asker.ask(mounts("/a"))
    world.children[0].dead = True
    world.silent = set()
    assert told(asker.ask(mounts("/a")), "/a")
    assert world.alive == 1


def test_a_mount_at_which_children_die_costs_two_a_turn(world: World) -> None:
    asker = world.asker()
    asker.ask(mounts("/a"))  # a child that has worked
    world.deadly = {b"/bad"}
    answers = asker.ask(mounts("/a", "/bad"))
    assert told(answers, "/a")
    assert len(world.children) == 2


def test_after_a_child_that_never_worked_there_is_a_pause(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    asker = world.asker()
    world.deadly = {b"/a"}
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            answers, seconds = ask_in(world, asker, mounts("/a"))
            assert told(answers)
            assert seconds == 0.0
    assert len(world.children) == 1
    assert [record.getMessage() for record in caplog.records] == [
        "mounts that may hang are not asked for 30 s: it died of it"
    ]
    world.deadly = set()
    world.now += 31
    assert told(asker.ask(mounts("/a")), "/a")


def test_where_no_process_can_be_had_mounts_are_errors(world: World) -> None:
    asker = world.asker()
    world.refuses = True
    answers = asker.ask(mounts("/a"))
    assert "no process" in str(answers[b"/a"])
    world.refuses = False
    world.now += 31
    assert told(asker.ask(mounts("/a")), "/a")


def test_close_kills_all_but_what_the_kernel_keeps(world: World) -> None:
    asker = world.asker()
    world.silent, world.unkillable = {b"/a", b"/b"}, {b"/b"}
    asker.ask(mounts("/a", "/b", "/c"))
    assert world.alive == 3
    asker.close()
    assert world.alive == asker.children == 1
    assert all(child.killed for child in world.children)
    with pytest.raises(RuntimeError, match="closed"):
        asker.ask(mounts("/c"))
    assert len(world.children) == 3
    world.unkillable = set()
    asker.close()
    assert asker.children == 0


def test_a_fault_in_the_middle_loses_no_child(world: World) -> None:
    def wait(children: Iterable[object], seconds: float) -> None:
        raise MemoryError

    asker = Asker(2.0, start=world.start, wait=wait, clock=world.clock)
    with pytest.raises(MemoryError):
        asker.ask(mounts("/a"))
    assert asker.children == 1
    asker.close()
    assert world.alive == 0
