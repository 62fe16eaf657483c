"""A few rounds of benchmarks/crash_store.py."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.integration
def test_processes_killed_at_random_lose_nothing_committed() -> None:
    command = [sys.executable, "-m", "benchmarks.crash_store", "--rounds", "3", "--seed", "7"]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "lost: 0, corrupt reads: 0" in done.stdout
