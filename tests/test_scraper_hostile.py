"""Targets of every bad kind at once: each is down, and no other target's turn is missed."""

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.bridge_fakes import make_certificate
from tests.scraper_fakes import MemoryWriter, Targets
from tests.support import free_port, needs
from tests.test_scraper_app import running, shown

pytestmark = pytest.mark.integration

INTERVAL = 1.0
TURNS = 6
_HEAD = """
listen: 127.0.0.1:0
scrape_interval: 1s
scrape_timeout: 600ms
body_size_limit: 64KB
scrape_configs: """

# what the path of that name does, and part of what is said of it
PATHS = {
    "hang": "timed out",
    "middle": "timed out",
    "drip": "timed out",
    "endless": "larger than 65536 bytes",
    "line": "larger than 65536 bytes",
    "bomb": "larger than 65536 bytes",
    "notgzip": "",
    "headers": "",
    "chunks": "",
    "garbage": "",
    "binary": "cannot be read",
    "half": "missing",
    "status": "HTTP status 503",
    "loop": "more than 5 redirects",
    "away": "another host refused",
    "odd": "refused",
}


@contextmanager
def never_accepting() -> Iterator[str]:
    """An address whose queue of connections is full: nobody gets as far as to connect."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(server.getsockname())
        yield f"127.0.0.1:{server.getsockname()[1]}"


@contextmanager
def silent() -> Iterator[str]:
    """An address that takes connections and never says a word, not even in TLS."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(64)
        yield f"127.0.0.1:{server.getsockname()[1]}"


@contextmanager
def resetting() -> Iterator[str]:
    """An address that breaks every connection off as soon as it is there."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(64)

        def serve() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                client.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        thread.join(10)


def job(name: str, address: str, **more: Any) -> dict[str, Any]:
    return {"job_name": name, "static_configs": [{"targets": [address]}], **more}


@needs("openssl")
def test_no_target_misses_a_turn_because_of_others(tmp_path: Path) -> None:
    cert, key = make_certificate(tmp_path, ["DNS:elsewhere.example"])
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(cert, key)
    trusting = {"scheme": "https", "tls_config": {"ca_file": str(cert)}}
    writer = MemoryWriter()
    with (
        Targets() as bad,
        Targets(tls=tls) as strange,
        Targets([f"127.0.0.{n}" for n in range(2, 22)]) as good,
        never_accepting() as full,
        silent() as mute,
        resetting() as broken,
    ):
        bad.away = f"http://{good.address}/metrics"
        says = {
            **PATHS,
            "full": "timed out",
            "mute": "timed out",
            "muteTls": "timed out",
            "broken": "",
            "closed": "",
            "unknownAuthority": "",
            "wrongName": "",
            "noTls": "",
            "noName": "",
        }
        jobs = [
            *(job(path, bad.address, metrics_path=f"/{path}") for path in PATHS),
            job("full", full),
            job("mute", mute),
            job("muteTls", mute, scheme="https"),
            job("broken", broken),
            job("closed", f"127.0.0.1:{free_port()}"),
            job("unknownAuthority", strange.address, scheme="https"),
            job("wrongName", strange.address, **trusting),
            job("noTls", bad.address, scheme="https"),
            job("noName", "no-such-host.invalid:9100"),
            {"job_name": "good", "static_configs": [{"targets": good.addresses}]},
        ]
        with running(json.dumps(jobs), writer, head=_HEAD) as (app, registry):
            for address in good.addresses:
                writer.wait_values(TURNS + 1, "up", job="good", instance=address)
            for name in says:
                writer.wait_values(3, "up", job=name)
            targets = {one["scrapePool"]: one for one in shown(app)["activeTargets"]}
            errors = registry.get_sample_value("fleetpulse_scraper_internal_errors_total")
        assert errors == 0
        assert {path for path, _ in good.requests} == {"/metrics"}
        for name, said in says.items():
            assert set(writer.values("up", job=name)) == {0.0}, name
            assert targets[name]["health"] == "down"
            assert said in targets[name]["lastError"], (name, targets[name]["lastError"])
            assert not writer.values("one", job=name)
        for address in good.addresses:
            assert_every_turn(writer, address)


def assert_every_turn(writer: MemoryWriter, instance: str) -> None:
    """A target was up in each interval: its first scrape, then one on each of its slots."""
    samples = writer.samples("up", job="good", instance=instance)
    assert {value for _, value in samples} == {1.0}
    slots = [at_ms / 1000 for at_ms, _ in samples[1:]]
    steps = [after - before for before, after in pairwise(slots)]
    assert len(steps) >= TURNS - 1
    assert all(abs(step - INTERVAL) < 0.45 for step in steps), (instance, steps)
