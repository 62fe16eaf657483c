"""Programs of others that run while a test asks them something."""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import requests

from tests.support import wait_for


@contextmanager
def served(command: Sequence[str], url: str) -> Iterator[str]:
    """The URL, from when the program answers there."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(f"{command[0]} to answer", lambda: _answers(url))
            yield url
        finally:
            process.terminate()


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).ok
    except requests.ConnectionError:
        return False
