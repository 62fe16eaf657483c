"""Jobs of which some hang. Where a job must hang it waits for an event that the test sets."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from exporter.deadline import OverdueError, Runner
from tests.support import wait_for


@pytest.fixture
def release() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def lanes(name: str) -> list[str]:
    """Threads of the Runner of that name."""
    return [thread.name for thread in threading.enumerate() if thread.name == f"{name}-lane"]


def hang(release: threading.Event) -> Callable[[], str]:
    def job() -> str:
        assert release.wait(30)
        return "late"

    return job


def test_outcomes_are_in_the_order_of_the_jobs() -> None:
    runner = Runner[int]("t", 5.0)
    outcomes = runner.run({str(n): lambda n=n: n * n for n in range(20)})
    assert [outcome.value for outcome in outcomes.values()] == [n * n for n in range(20)]
    assert list(outcomes) == [str(n) for n in range(20)]


def test_no_jobs_are_done_at_once() -> None:
    assert Runner[int]("t", 5.0).run({}) == {}


def test_an_error_is_an_outcome_and_the_next_job_runs() -> None:
    def bad() -> int:
        raise ZeroDivisionError("x")

    outcomes = Runner[int]("t", 5.0).run({"bad": bad, "good": lambda: 1})
    assert isinstance(outcomes["bad"].error, ZeroDivisionError)
    assert outcomes["good"].value == 1


def test_jobs_run_in_one_thread_while_they_behave() -> None:
    outcomes = Runner[int]("t", 5.0, patience=4.0).run(
        {str(n): threading.get_ident for n in range(10)}
    )
    assert len({outcome.value for outcome in outcomes.values()}) == 1


def test_a_stuck_job_holds_up_no_other(release: threading.Event) -> None:
    runner = Runner[str]("t", 0.2, patience=0.01)
    jobs = {"a": hang(release), "b": lambda: "b", "c": hang(release), "d": lambda: "d"}
    outcomes = runner.run(jobs)
    assert [outcomes[name].value for name in "bd"] == ["b", "d"]
    for name in "ac":
        assert isinstance(outcomes[name].error, OverdueError)
        assert outcomes[name].seconds >= 0.2


def test_a_stuck_job_is_not_started_again_before_it_is_back(release: threading.Event) -> None:
    runner = Runner[str]("t", 0.05, patience=0.01)
    started: list[int] = []

    def job() -> str:
        started.append(1)
        assert release.wait(30)
        return "back"

    for _ in range(3):
        assert isinstance(runner.run({"a": job})["a"].error, OverdueError)
    assert len(started) == 1
    release.set()
    wait_for("the job to be back", lambda: runner.run({"a": job})["a"].value == "back")
    assert len(started) >= 2  # of which one may have been late again


def test_a_slow_job_that_ends_in_time_counts(release: threading.Event) -> None:
    runner = Runner[str]("t", 30.0, patience=0.01)
    outcomes = runner.run({"slow": hang(release), "next": lambda: (release.set(), "next")[1]})
    assert [outcome.value for outcome in outcomes.values()] == ["late", "next"]


def test_a_job_that_becomes_slow_between_two_looks_holds_up_no_other(
    release: threading.Event,
) -> None:
    looks = itertools.count()  # on a busy host, much time may pass from one to the next
    runner = Runner[str]("t", 20.0, patience=0.01, clock=lambda: next(looks) * 0.02)
    begun = time.monotonic()
    outcomes = runner.run({"slow": hang(release), "next": lambda: (release.set(), "next")[1]})
    assert [outcome.value for outcome in outcomes.values()] == ["late", "next"]
    assert time.monotonic() - begun < 15


def test_one_lane_waits_for_the_next_run() -> None:
    runner = Runner[int]("reused", 5.0)
    ids = {runner.run({"a": threading.get_ident})["a"].value for _ in range(20)}
    assert len(ids) == 1
    assert len(lanes("reused")) == 1
    runner.close()
    wait_for("the lane's end", lambda: not lanes("reused"))


def test_of_several_lanes_one_stays(release: threading.Event) -> None:
    runner = Runner[str]("several", 30.0, patience=0.01)

    def freeing() -> str:
        release.set()
        return "free"

    outcomes = runner.run({"a": hang(release), "b": hang(release), "c": freeing})
    assert [outcome.value for outcome in outcomes.values()] == ["late", "late", "free"]
    wait_for("the others' end", lambda: len(lanes("several")) == 1)
    assert runner.run({"d": lambda: "d"})["d"].value == "d"
    runner.close()


def test_a_stuck_job_keeps_one_thread_however_many_runs_follow(release: threading.Event) -> None:
    runner = Runner[str]("stuck", 0.3, patience=0.01)
    jobs = {"a": hang(release), "b": lambda: "b"}
    for _ in range(10):
        outcomes = runner.run(jobs)
        assert isinstance(outcomes["a"].error, OverdueError)
        assert outcomes["b"].value == "b"
    assert len(lanes("stuck")) == 2
    release.set()
    wait_for("the stuck one's end", lambda: len(lanes("stuck")) == 1)
    runner.close()


def test_a_job_that_comes_back_in_a_later_run_does_not_disturb_it(
    release: threading.Event,
) -> None:
    runner = Runner[str]("late", 0.5, patience=0.01)
    back = threading.Event()

    def late() -> str:
        assert release.wait(30)
        back.set()
        return "of the first run"

    def meanwhile() -> str:
        release.set()
        assert back.wait(30)
        return "of the second run"

    assert runner.run({"a": late})["a"].value is None
    outcomes = runner.run({"a": late, "b": meanwhile})
    assert isinstance(outcomes["a"].error, OverdueError)
    assert outcomes["b"].value == "of the second run"
    wait_for("its next turn", lambda: runner.run({"a": lambda: "anew"})["a"].value == "anew")
    runner.close()


def test_after_close_no_thread_stays(release: threading.Event) -> None:
    runner = Runner[str]("closed", 0.05, patience=0.01)
    runner.run({"a": hang(release), "b": lambda: "b"})
    runner.close()
    assert runner.run({"c": lambda: "c"})["c"].value == "c"
    wait_for("all but the stuck one", lambda: len(lanes("closed")) == 1)
    release.set()
    wait_for("the end of all", lambda: not lanes("closed"))


def test_close_during_a_run_lets_it_end() -> None:
    runner = Runner[str]("closing", 5.0)

    def closing() -> str:
        runner.close()
        return "closed"

    outcomes = runner.run({"a": closing, "b": lambda: "b"})
    assert [outcome.value for outcome in outcomes.values()] == ["closed", "b"]
    wait_for("the lane's end", lambda: not lanes("closing"))


def test_where_no_thread_can_be_had_each_job_has_an_error() -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    outcomes = Runner[str]("none", 5.0, start_thread=refuse).run({"a": str, "b": str})
    assert [str(outcome.error) for outcome in outcomes.values()] == ["can't start new thread"] * 2


def test_where_no_second_thread_can_be_had_the_first_does_all(release: threading.Event) -> None:
    started: list[threading.Thread] = []

    def refuse_more(thread: threading.Thread) -> None:
        if started:
            release.set()
            raise RuntimeError("can't start new thread")
        started.append(thread)
        thread.start()

    runner = Runner[str]("single", 30.0, patience=0.01, start_thread=refuse_more)
    outcomes = runner.run({"a": hang(release), "b": lambda: "b", "c": lambda: "c"})
    assert [outcome.value for outcome in outcomes.values()] == ["late", "b", "c"]
    runner.close()


def test_many_runs_with_jobs_that_hang_now_and_then() -> None:
    """No job runs twice at once, none is lost, and in the end there is one lane."""
    runner = Runner[int]("many", 0.02, patience=0.002)
    at_work, doubled = set[int](), []

    def job(number: int) -> int:
        if number in at_work:
            doubled.append(number)
        at_work.add(number)
        if number % 3 == 0:
            threading.Event().wait(0.001 * (number % 40))  # some end in time, some do not
        at_work.discard(number)
        return number

    for _ in range(30):
        outcomes = runner.run({str(n): partial(job, n) for n in range(24)})
        for key, outcome in outcomes.items():
            assert outcome.value == int(key) or isinstance(outcome.error, OverdueError)
    assert not doubled
    wait_for("the lanes' end", lambda: len(lanes("many")) == 1)
    runner.close()
