"""Jobs of which some hang. Where a job must hang it waits for an event that the test sets."""

import threading
from collections.abc import Callable, Iterator

import pytest

from exporter.deadline import OverdueError, Runner
from tests.support import wait_for


@pytest.fixture
def release() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


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
    assert len(started) == 2


def test_a_slow_job_that_ends_in_time_counts(release: threading.Event) -> None:
    runner = Runner[str]("t", 30.0, patience=0.01)
    outcomes = runner.run({"slow": hang(release), "next": lambda: (release.set(), "next")[1]})
    assert [outcome.value for outcome in outcomes.values()] == ["late", "next"]
