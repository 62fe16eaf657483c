"""Debian's VictoriaMetrics, a single node on a free port, while a test asks it something."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from tests.peer_programs import served
from tests.support import free_port

NEEDS_VICTORIA = [
    pytest.mark.peer,
    pytest.mark.integration,
    pytest.mark.skipif(
        not shutil.which("victoria-metrics"),
        reason="victoria-metrics is not installed (Debian package victoria-metrics)",
    ),
]


@contextmanager
def victoria(*flags: str) -> Iterator[str]:
    """Its URL. It keeps everything, whatever its time, and takes all that comes."""
    with tempfile.TemporaryDirectory() as folder:
        address = f"127.0.0.1:{free_port()}"
        command = [
            "victoria-metrics",
            f"-storageDataPath={Path(folder) / 'data'}",
            f"-httpListenAddr={address}",
            "-retentionPeriod=100y",
            *flags,
        ]
        with served(command, f"http://{address}/health"):
            yield f"http://{address}"


def visible(url: str) -> None:
    """What was written can be found from here on: it is gathered for a second else."""
    assert requests.get(f"{url}/internal/force_flush", timeout=20).ok


def forgotten(url: str) -> None:
    """Deletes every series."""
    delete: Callable[..., requests.Response] = requests.post
    match = {"match[]": '{__name__!=""}'}
    assert delete(f"{url}/api/v1/admin/tsdb/delete_series", data=match, timeout=20).ok
    assert delete(f"{url}/internal/resetRollupResultCache", timeout=20).ok
