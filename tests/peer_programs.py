"""Programs of others that run while a test asks them something, and what they are pointed at."""

import contextlib
import json
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import requests

from api.keys import KeyStore, Scope
from tests.support import Process, free_port, wait_for, wait_ready

Series = tuple[tuple[str, str], ...]
Samples = dict[Series, list[tuple[int, str]]]


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


@contextmanager
def prometheus(folder: Path, config: Mapping[str, Any], *flags: str) -> Iterator[str]:
    """The base URL of a real one with that configuration, until the block ends."""
    folder.mkdir(exist_ok=True)
    (folder / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML
    address = f"127.0.0.1:{free_port()}"
    command = [
        "prometheus", f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={folder}/tsdb", f"--web.listen-address={address}", *flags,
    ]  # fmt: skip
    with served(command, f"http://{address}/-/ready"):
        yield f"http://{address}"


class FleetPulse:
    """Roles of a central host as processes, over one data folder, on free ports."""

    def __init__(self, folder: Path, **sections: Any) -> None:
        self.folder, self.data = folder, folder / "data"
        self._ports = {role: free_port() for role in ("scraper", "api", "rules", "bridge")}
        config: dict[str, Any] = {
            role: {"listen": f"127.0.0.1:{port}"} for role, port in self._ports.items()
        }
        config["api"]["rate_limit"] = "unlimited"
        config["rules"] |= {"shipped": False, "evaluation_interval": "1s"}
        for name, section in sections.items():
            config[name] = {**config.get(name, {}), **section}
        self.config = folder / "fleetpulse.yml"
        self.config.write_text(json.dumps(config))
        self._processes: dict[str, Process] = {}

    def url(self, role: str = "api") -> str:
        return f"http://127.0.0.1:{self._ports[role]}"

    def key(self, scope: Scope) -> str:
        """A new key's plaintext."""
        return KeyStore(self.data / "keys" / "keys.json").create(scope)[1]

    def key_file(self, scope: Scope) -> Path:
        path = self.folder / f"{scope}.key"
        path.write_text(self.key(scope))
        return path

    def run(self, *arguments: str) -> str:
        """The output of a `fleetpulse` command over the same files; it must succeed."""
        places = ["--config", str(self.config), "--data-dir", str(self.data)]
        log = self.folder / "command.log"
        process = Process([*arguments, *places], log).start()
        wait_for(f"the end of {arguments}", lambda: process.poll() is not None)
        assert process.poll() == 0, process.output()
        return process.output()

    def start(self, *roles: str) -> Self:
        for role in roles or ("api",):
            arguments = [role, "--config", str(self.config), "--data-dir", str(self.data)]
            process = Process(arguments, self.folder / f"{role}.log").start()
            self._processes[role] = process
            wait_ready(self.url(role), process)
        return self

    def stop(self, *roles: str) -> None:
        for role in roles or tuple(reversed(self._processes)):
            process = self._processes.pop(role)
            try:
                process.stop()
            finally:
                process.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()

    def metric(self, name: str, label: str = "") -> float:
        """The sum of one of the API's own metrics, of all lines that have the label."""
        page = requests.get(f"{self.url()}/metrics", timeout=10).text
        lines = [line for line in page.splitlines() if line.startswith(f"{name}{{")]
        return sum(float(line.rpartition(" ")[2]) for line in lines if label in line)


class ServedPage:
    """A target whose page a test writes. page: makes the text of the scrape of that number."""

    def __init__(self, page: Callable[[int], str]) -> None:
        self.page, self.scrapes = page, 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.scrapes += 1
                body = outer.page(outer.scrapes).encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                with contextlib.suppress(ConnectionError):
                    self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Nothing: the test looks at what is stored."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Answers no more. May be called again."""
        self._server.shutdown()
        self._server.server_close()


def ask(url: str, path: str, **params: Any) -> Any:
    """The data of an answer of Prometheus' API, from whoever speaks it."""
    answer = requests.get(f"{url}/api/v1/{path}", params, timeout=30)
    body = answer.json()
    assert body["status"] == "success", body
    return body["data"]


def raw_samples(url: str, selector: str, end: float, span: str = "1h") -> Samples:
    """The samples themselves, as a range selector shows them: without staleness markers."""
    found = ask(url, "query", query=f"{selector}[{span}]", time=end)
    return {
        tuple(sorted(row["metric"].items())): [
            (round(at * 1000), value) for at, value in row["values"]
        ]
        for row in found["result"]
    }


def vector(url: str, query: str, **params: Any) -> dict[Series, str]:
    """An instant query's answer."""
    found = ask(url, "query", query=query, **params)
    return {tuple(sorted(row["metric"].items())): row["value"][1] for row in found["result"]}
