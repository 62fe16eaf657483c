"""A few rounds of benchmarks/crash_spool.py."""

import pytest

from benchmarks.crash_spool import run
from tests.support import needs

pytestmark = [pytest.mark.peer, pytest.mark.integration, needs("influxd")]


def test_writers_and_a_server_killed_at_random_lose_nothing_that_was_taken() -> None:
    outcome = run(rounds=3, seed=7)
    assert outcome.waited >= 180  # half an hour of pages while the server was away
    assert (outcome.lost, outcome.wrong) == (0, 0)
