"""A real InfluxDB 1 in a temporary folder, for tests that ask it something."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

from tests.support import free_port, wait_for

_CONFIG = """
reporting-disabled = true
bind-address = "127.0.0.1:{backup}"
[meta]
  dir = "{folder}/meta"
[data]
  dir = "{folder}/data"
  wal-dir = "{folder}/wal"
  query-log-enabled = false
  index-version = "inmem"
[http]
  bind-address = "127.0.0.1:{port}"
  log-enabled = false
  auth-enabled = {auth}
[monitor]
  store-enabled = false
[continuous_queries]
  log-enabled = false
  run-interval = "1s"
"""


class InfluxServer:
    """A running server. query() and write() are what a test says to it behind FleetPulse's back."""

    def __init__(self, url: str, login: tuple[str, str] | None = None) -> None:
        self.url, self._login = url, login

    def query(self, text: str, db: str = "") -> list[dict[str, object]]:
        """The series of all statements' results."""
        answer = requests.post(
            f"{self.url}/query",
            params={"q": text, "db": db, "epoch": "ms"},
            auth=self._login,
            timeout=20,
        )
        answer.raise_for_status()
        results = answer.json()["results"]
        assert not any("error" in result for result in results), results
        return [series for result in results for series in result.get("series", [])]

    def write(self, db: str, lines: str) -> None:
        params = {"db": db, "precision": "ms"}
        answer = requests.post(
            f"{self.url}/write", params=params, data=lines.encode(), auth=self._login, timeout=20
        )
        assert answer.status_code == 204, answer.text


@contextmanager
def influxd(folder: Path, *, auth: bool = False, port: int | None = None) -> Iterator[InfluxServer]:
    """Started again in the same folder, it has what it had before."""
    port = port or free_port()
    config = folder / "influxd.conf"
    text = _CONFIG.format(folder=folder, port=port, backup=free_port(), auth=str(auth).lower())
    config.write_text(text)
    command = ["influxd", "-config", str(config)]
    url = f"http://127.0.0.1:{port}"
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for("influxd to answer", lambda: _answers(url, process))
            yield InfluxServer(url)
        finally:
            process.kill()


def _answers(url: str, process: "subprocess.Popen[bytes]") -> bool:
    assert process.poll() is None, "influxd ended"
    try:
        return requests.get(f"{url}/ping", timeout=5).status_code == 204
    except requests.ConnectionError:
        return False
