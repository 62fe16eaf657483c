import http.server
import json
import shutil
import socket
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from fleetpulse.errors import ConfigError
from fleetpulse.model import METRIC_NAME, STALE_NAN, Labels, Page
from fleetpulse.storage.drain import SendError
from fleetpulse.storage.influx import InfluxConfig, InfluxPost, InfluxWriter
from fleetpulse.yamlconf import parse_model

NOW_MS = 1_700_000_000_000
URL = "http://influx.test:8086"


def config(**more: Any) -> InfluxConfig:
    settings = {"kind": "influxdb2", "url": URL, "org": "o", "bucket": "b", "token": "s3cret"}
    return InfluxConfig.model_validate({**settings, **more})


def page(*values: float, at_ms: int = NOW_MS, **target: str) -> Page:
    lines = {
        Labels.of({METRIC_NAME: "m", "n": str(index)}): value for index, value in enumerate(values)
    }
    return Page.of(Labels.of(target), at_ms, lines)


def wait_for(condition: Callable[[], Any], seconds: float = 10.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come to pass in time"
        time.sleep(0.01)
    return found


class Sent:
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.failing = False

    def __call__(self, lines: bytes, timeout: float) -> None:
        if self.failing:
            raise SendError("away")
        self.lines += lines.decode().splitlines()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool" / "scraper.db"


def test_a_full_batch_is_sent_at_once(path: Path) -> None:
    sent, registry = Sent(), CollectorRegistry()
    writer = InfluxWriter(config(batch_size=4, flush_interval="1h"), path, registry, send=sent)
    writer.write([page(1.0, 2.0, job="x")])
    wait_for(lambda: len(sent.lines) == 2)  # the first turn is at the start
    writer.write([page(3.0, 4.0)])
    writer.write([page(5.0, 6.0)])
    wait_for(lambda: len(sent.lines) == 6)
    wait_for(lambda: registry.get_sample_value("fleetpulse_storage_influx_samples_sent_total"))
    assert sent.lines[0] == f"m,n=0,job=x value=1.0 {NOW_MS}"
    writer.close()


def test_a_small_batch_is_sent_after_the_interval(path: Path) -> None:
    sent = Sent()
    writer = InfluxWriter(
        config(batch_size=100, flush_interval="50ms"), path, CollectorRegistry(), send=sent
    )
    writer.start()
    writer.write([page(1.0)])
    wait_for(lambda: sent.lines)
    writer.close()


def test_close_sends_what_is_left(path: Path) -> None:
    sent = Sent()
    writer = InfluxWriter(config(flush_interval="1h"), path, CollectorRegistry(), send=sent)
    for _ in range(3):
        writer.write([page(1.0)])
    writer.close()
    writer.close()
    assert len(sent.lines) == 3


def test_what_a_dead_store_did_not_take_is_sent_after_a_restart(path: Path) -> None:
    sent, registry = Sent(), CollectorRegistry()
    sent.failing = True
    writer = InfluxWriter(config(flush_interval="1h"), path, registry, send=sent)
    writer.write([page(1.0), page(2.0)])
    writer.close()
    assert registry.get_sample_value("fleetpulse_storage_influx_send_failures_total")
    sent.failing = False
    again = InfluxWriter(config(flush_interval="1h"), path, CollectorRegistry(), send=sent)
    again.start()
    wait_for(lambda: len(sent.lines) == 2)
    again.close()


def test_values_without_a_form_are_counted_and_the_others_sent(path: Path) -> None:
    sent, registry = Sent(), CollectorRegistry()
    writer = InfluxWriter(config(), path, registry, send=sent)
    writer.write([page(float("nan"), 2.0, STALE_NAN)])
    writer.close()
    assert sent.lines == [f"m,n=1 value=2.0 {NOW_MS}", f"m,n=2 stale=true {NOW_MS}"]
    assert registry.get_sample_value("fleetpulse_storage_influx_samples_left_out_total") == 1


def test_a_full_spool_drops_the_oldest_and_counts_them(path: Path) -> None:
    sent, registry = Sent(), CollectorRegistry()
    sent.failing = True
    settings = config(spool_max_bytes=100, flush_interval="1h")
    writer = InfluxWriter(settings, path, registry, send=sent)
    for value in range(10):
        writer.write([page(float(value))])
    name = "fleetpulse_storage_influx_spool_dropped_batches_total"
    dropped = registry.get_sample_value(name)
    sent.failing = False
    writer.close()
    assert dropped
    assert len(sent.lines) == 10 - dropped
    assert sent.lines[-1] == f"m,n=0 value=9.0 {NOW_MS}"


def test_bad_lines_are_kept_beside_the_spool(path: Path) -> None:
    registry = CollectorRegistry()

    def send(lines: bytes, timeout: float) -> None:
        if b"n=1" in lines:
            raise SendError("HTTP 400: field type conflict", rejected=True)

    writer = InfluxWriter(config(), path, registry, send=send)
    writer.write([page(1.0, 2.0, 3.0)])
    writer.close()
    assert registry.get_sample_value("fleetpulse_storage_influx_samples_rejected_total") == 1
    assert registry.get_sample_value("fleetpulse_storage_influx_samples_sent_total") == 2
    kept = path.with_name("scraper.db.rejected").read_text()
    assert kept == f"m,n=1 value=2.0 {NOW_MS}\n"


FAULTS = [
    pytest.param("url: influx:8086", "1: url: is no URL", id="a URL without http"),
    pytest.param("url: http://a:b@influx:8086", "1: url: holds a password", id="password in URL"),
    pytest.param("token: a\ntoken_file: f", "token and token_file", id="two tokens"),
    pytest.param("batch_size: 0", "batch_size", id="a batch of none"),
    pytest.param("flush_interval: 5", "write for example 10s", id="a time without a unit"),
    pytest.param("buckett: x", "did you mean bucket", id="a key that there is not"),
]


@pytest.mark.parametrize(("text", "fault"), FAULTS)
def test_the_configuration_names_its_faults(text: str, fault: str) -> None:
    rest = "".join(
        f"{key}: {value}\n"
        for key, value in (("kind", "influxdb2"), ("url", URL), ("org", "o"), ("bucket", "b"))
        if not text.startswith(f"{key}:")
    )
    with pytest.raises(ConfigError, match=fault):
        parse_model(f"{text}\n{rest}", InfluxConfig, file="f.yml", base=Path())


def test_the_token_does_not_print() -> None:
    assert "s3cret" not in repr(config())


class Loopback:
    """An HTTP server that answers as told and keeps what it got."""

    def __init__(self, *answers: tuple[int, dict[str, str]]) -> None:
        self.answers = list(answers)
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.got.append((self.path, dict(self.headers), body))
                code, headers = outer.answers.pop(0)
                self.send_response(code)
                for name, value in {"Content-Length": "0", **headers}.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *args: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def serve() -> Iterator[Callable[..., Loopback]]:
    servers: list[Loopback] = []

    def start(*answers: tuple[int, dict[str, str]]) -> Loopback:
        servers.append(Loopback(*answers))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def post(url: str, **more: Any) -> None:
    poster = InfluxPost(config(url=url, **more))
    try:
        poster(b"m value=1.0 5\n", 5.0)
    finally:
        poster.close()


@pytest.mark.integration
def test_a_write_has_bucket_org_precision_and_token(serve: Callable[..., Loopback]) -> None:
    server = serve((204, {}))
    post(server.url)
    target, headers, body = server.got[0]
    parts = urllib.parse.urlsplit(target)
    assert parts.path == "/api/v2/write"
    assert urllib.parse.parse_qs(parts.query) == {
        "org": ["o"],
        "bucket": ["b"],
        "precision": ["ms"],
    }
    assert headers["Authorization"] == "Token s3cret"
    assert body == b"m value=1.0 5\n"


ANSWERS = [
    pytest.param(400, {}, True, None, id="400: the lines are wrong"),
    pytest.param(413, {}, True, None, id="413: too many lines"),
    pytest.param(422, {}, True, None, id="422: lines outside the retention"),
    pytest.param(401, {}, False, None, id="401: the settings are wrong, not the lines"),
    pytest.param(404, {}, False, None, id="404: the bucket may yet be made"),
    pytest.param(429, {"Retry-After": "7"}, False, 7.0, id="429: later, as it says"),
    pytest.param(503, {}, False, None, id="503: later"),
]


@pytest.mark.integration
@pytest.mark.parametrize(("code", "headers", "rejected", "after"), ANSWERS)
def test_answers_say_whether_lines_or_moment_are_wrong(
    serve: Callable[..., Loopback],
    code: int,
    headers: dict[str, str],
    rejected: bool,
    after: float | None,
) -> None:
    server = serve((code, headers))
    with pytest.raises(SendError, match=f"HTTP {code}") as caught:
        post(server.url)
    assert (caught.value.rejected, caught.value.retry_after) == (rejected, after)
    assert "s3cret" not in str(caught.value)


@pytest.mark.integration
def test_no_redirect_is_followed(serve: Callable[..., Loopback]) -> None:
    other = serve((204, {}))
    server = serve((307, {"Location": f"{other.url}/api/v2/write"}))
    with pytest.raises(SendError, match="redirects are not followed"):
        post(server.url)
    assert other.got == []


@pytest.mark.integration
def test_a_port_that_nobody_listens_on_is_a_matter_of_the_moment() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(SendError, match="cannot be reached") as caught:
            post(f"http://127.0.0.1:{taken.getsockname()[1]}")
    assert caught.value.retriable


@pytest.fixture
def victoria(tmp_path: Path) -> Iterator[str]:
    program = shutil.which("victoria-metrics")
    if program is None:
        pytest.skip("needs the program victoria-metrics (Debian package victoria-metrics)")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (tmp_path / "victoria.log").open("wb") as output:
        process = subprocess.Popen(
            [
                program,
                f"-storageDataPath={tmp_path / 'vm'}",
                f"-httpListenAddr=127.0.0.1:{port}",
                "-memory.allowedBytes=64MB",
                "-search.latencyOffset=0s",
            ],
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        url = f"http://127.0.0.1:{port}"
        try:
            wait_for(lambda: _answers(f"{url}/health"), 30.0)
            yield url
        finally:
            process.terminate()
            process.wait(20)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def exported(url: str, selector: str) -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"{url}/internal/force_flush", timeout=5):
        pass
    # Its own default for the end is now, rounded down.
    query = urllib.parse.urlencode({"match[]": selector, "end": time.time() + 60})
    with urllib.request.urlopen(f"{url}/api/v1/export?{query}", timeout=5) as response:
        return [json.loads(line) for line in response.read().splitlines()]


TRICKY = ["plain", "a b", "a,b", "a=b", "C:\\", "C:\\dir", "a\\ b", "a\\,b", '"q"', "ü 😀"]


@pytest.mark.peer
@pytest.mark.integration
def test_victoria_metrics_gives_back_what_was_written(victoria: str, path: Path) -> None:
    now_ms = round(time.time() * 1000)
    lines = {
        Labels.of({METRIC_NAME: "fp_test", "text": text}): index + 0.25
        for index, text in enumerate(TRICKY)
    }
    writer = InfluxWriter(config(url=victoria, batch_size=4, gzip=True), path, CollectorRegistry())
    target = Labels.of(job="node", instance="web1:9100")
    writer.write([Page.of(target, now_ms - 10_000, lines), Page.of(target, now_ms, lines)])
    writer.close()
    found = wait_for(lambda: exported(victoria, '{__name__="fp_test_value"}'))
    back = {one["metric"]["text"]: one for one in found}
    assert set(back) == set(TRICKY)
    for index, text in enumerate(TRICKY):
        assert back[text]["values"] == [index + 0.25] * 2
        assert back[text]["timestamps"] == [now_ms - 10_000, now_ms]
        assert back[text]["metric"]["instance"] == "web1:9100"
