"""Push mode in real processes: the API ends, the exporter is killed, and no page is lost."""

import contextlib
import sqlite3
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest
import requests

from tests.exporter_fakes import samples
from tests.support import Process, free_port, wait_for, wait_ready

pytestmark = pytest.mark.integration

_CONFIG = """
exporter:
  listen: "127.0.0.1:{exporter}"
  push: {{url: "{url}", key_file: push.key, server: web-1, interval: 1s}}
api:
  listen: "127.0.0.1:{api}"
  rate_limit: unlimited
  push: {{servers: [{{name: web-1}}]}}
"""


class Host:
    """An exporter that pushes each second, and the API it pushes to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        api, exporter = free_port(), free_port()
        self.api_url, self.url = f"http://127.0.0.1:{api}", f"http://127.0.0.1:{exporter}"
        config = textwrap.dedent(_CONFIG).format(api=api, exporter=exporter, url=self.api_url)
        (folder / "fleetpulse.yml").write_text(config)
        self.api, self.exporter = self._role("api"), self._role("exporter")

    def make_key(self) -> None:
        data = str(self.folder / "data")
        command = ["keys", "create", "--scope", "push", "--server", "web-1", "--data-dir", data]
        process = Process(command, self.folder / "keys.log").start()
        wait_for("a key", lambda: process.poll() is not None)
        path = self.folder / "push.key"
        path.touch(mode=0o600)
        path.write_text(process.output().split()[-1])

    def start_api(self) -> None:
        wait_ready(self.api_url, self.api.start())

    def start_exporter(self) -> None:
        wait_ready(self.url, self.exporter.start())

    def figure(self, name: str) -> float:
        """Of push mode, from the exporter's own page."""
        page = requests.get(f"{self.url}/metrics", timeout=10).text
        return samples(page)[f"fleetpulse_push_{name}"]

    def wait_waiting(self, least: int) -> None:
        wait_for(f"{least} pages to wait", lambda: self.figure("spool_pages") >= least)

    def pages_put(self) -> tuple[int, int]:
        """How many ever, by the numbers that the spool gives, and how many are still there.

        The exporter must have ended.
        """
        path = self.folder / "data" / "exporter" / "push.spool"
        with contextlib.closing(sqlite3.connect(path)) as spool:
            query = "SELECT seq FROM sqlite_sequence WHERE name = 'items'"
            (number,) = spool.execute(query).fetchone()
            (left,) = spool.execute("SELECT count(*) FROM items").fetchone()
        return int(number), int(left)

    def stored(self, expr: str) -> list[list[Any]]:
        """Times and values of the one series of a range expression."""
        answer = requests.get(f"{self.api_url}/api/v1/query", {"query": expr}, timeout=10).json()
        (series,) = answer["data"]["result"]
        pairs: list[list[Any]] = series.get("values") or [series["value"]]
        return pairs

    def _role(self, role: str) -> Process:
        config, data = self.folder / "fleetpulse.yml", self.folder / "data"
        arguments = [role, "--config", str(config), "--data-dir", str(data)]
        return Process(arguments, self.folder / f"{role}.log")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.exporter.kill()
        self.api.kill()


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with Host(tmp_path) as host:
        host.make_key()
        yield host


def test_the_api_ends_the_exporter_is_killed_and_every_page_is_there_once(host: Host) -> None:
    host.start_api()
    host.start_exporter()
    wait_for("pages to be sent", lambda: host.figure("pages_sent_total") >= 2)
    assert host.api.stop() == 0
    host.wait_waiting(3)
    host.exporter.kill()
    host.start_exporter()
    host.wait_waiting(6)
    host.start_api()
    wait_for("the spool to be empty", lambda: host.figure("spool_pages") == 0)
    assert host.exporter.stop() == 0
    put, left = host.pages_put()
    assert left <= 1  # made while it was told to end
    pages = host.stored('node_load1{instance="web-1"}[1h]')
    times = [at for at, _ in pages]
    assert len(pages) == put - left >= 8
    assert times == sorted(set(times))
    (count,) = host.stored('count_over_time(node_load1{instance="web-1"}[1h])')
    assert int(count[1]) == put - left
    received = host.stored('fleetpulse_push_received_timestamp_seconds{instance="web-1"}[1h]')
    assert len([at for at, when in received if float(when) - at > 2]) >= 4  # they waited
    assert "Traceback" not in host.exporter.output()
