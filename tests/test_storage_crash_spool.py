"""A few rounds of benchmarks/crash_spool.py."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import needs

ROOT = Path(__file__).parent.parent


def crash(*arguments: str) -> str:
    command = [sys.executable, "-m", "benchmarks.crash_spool", "--rounds", "4", *arguments]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.integration
def test_writers_killed_at_random_lose_nothing_whatever_the_store_does() -> None:
    told = crash("--seed", "7")
    assert "lost: 0, wrong: 0" in told
    assert "out of order: 0" in told


@pytest.mark.integration
@pytest.mark.peer
@needs("influxd")
def test_a_real_influxdb_killed_as_well_has_everything_in_the_end() -> None:
    assert "lost: 0, wrong: 0" in crash("--seed", "7", "--influxd")
