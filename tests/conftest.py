"""What holds for all tests."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

# hypothesis always tries the same examples, and never judges by the clock.
settings.register_profile("fleetpulse", deadline=None, derandomize=True)
settings.load_profile("fleetpulse")


@pytest.fixture(autouse=True)
def usual_umask() -> Iterator[None]:
    """A command that ran in this process has set its own, which other tests shall not have."""
    before = os.umask(0o022)
    yield
    os.umask(before)
