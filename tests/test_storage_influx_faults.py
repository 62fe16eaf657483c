"""What goes wrong with an InfluxDB: a line that names the store and the mend, and nothing lost."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from fleetpulse.model import METRIC_NAME, Labels, Page
from fleetpulse.storage.influx.config import Influx1Config, Influx2Config
from fleetpulse.storage.influx.writer import open_writer
from fleetpulse.storage.spooled import SpooledWriter
from tests.http_fakes import FakeHttp, Told
from tests.support import wait_for

pytestmark = pytest.mark.integration

AT = 1_700_000_000_000
HTML = b"<!DOCTYPE html><html><head><title>Sign in</title></head></html>"
PAGE_HEADERS = {"Content-Type": "text/html"}
TAKEN = Told(204)


@dataclass
class Store:
    kind: str
    server: FakeHttp
    folder: Path
    registry: CollectorRegistry

    def open(self) -> SpooledWriter:
        both = {"kind": self.kind, "url": self.server.url, "flush_interval": "20ms"}
        config: Influx1Config | Influx2Config
        if self.kind == "influxdb1":
            own = {"database": "fleet", "username": "u", "password": "s3cret"}
            config = Influx1Config.model_validate(both | own)
        else:
            own = {"org": "o", "bucket": "b", "token": "s3cret"}
            config = Influx2Config.model_validate(both | own)
        return open_writer(config, self.folder / "spool.db", self.registry)

    def metric(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(
            f"fleetpulse_storage_{name}", {"store": self.kind, **labels}
        )

    @property
    def lines(self) -> list[bytes]:
        """Of the last request."""
        return self.server.got[-1].body.splitlines()


@pytest.fixture(params=["influxdb1", "influxdb2"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with FakeHttp() as server:
        yield Store(request.param, server, tmp_path, CollectorRegistry())


def page(*values: float) -> Page:
    lines = {Labels.of({METRIC_NAME: "m", "n": str(n)}): value for n, value in enumerate(values)}
    return Page.of(Labels(), AT, lines)


# What the server answers before it takes samples again; whether a person has to mend something;
# what the log says of it.
FAULTS = [
    pytest.param(
        [Told(401, b'{"code":"unauthorized","message":"unauthorized access"}')],
        True, ["HTTP 401", "check storage."], id="a wrong token or password",
    ),
    pytest.param(
        [Told(403, b'{"code":"forbidden","message":"insufficient permissions for write"}')],
        True, ["insufficient permissions", "may write"], id="a token that may only read",
    ),
    pytest.param(
        [Told(404, b'{"code":"not found","message":"bucket \\"b\\" not found"}')],
        True, ['bucket "b" not found', "check storage."], id="no bucket",
    ),
    pytest.param(
        [Told(500, b'{"error":"retention policy not found: raw"}')],
        True, ["retention policy not found", "check storage."], id="no retention policy",
    ),
    pytest.param(
        [TAKEN, Told(404, b'{"error":"database not found: \\"fleet\\""}')],
        True, ["database not found", "none is lost"], id="dropped while running",
    ),
    pytest.param(
        [Told(404, HTML, PAGE_HEADERS)], True, ["is no InfluxDB", "check storage.url"],
        id="a page instead of an API",
    ),
    pytest.param(
        [Told(200, HTML, PAGE_HEADERS)], True, ["is no InfluxDB", "check storage.url"],
        id="a page to sign in",
    ),
    pytest.param(
        [Told(302, b"", {"Location": "https://login.test/"})], True,
        ["redirects are not followed", "check storage.url"], id="a redirect",
    ),
    pytest.param(
        [Told(400, b'{"error":"invalid consistency level"}')], True,
        ["invalid consistency level", "no line at all is taken"], id="not the lines",
    ),
    pytest.param([Told(500, b"")] * 3, False, ["HTTP 500"], id="an error of the server"),
    pytest.param(
        [Told(500, b'{"error":"write /data/wal: no space left on device"}')], False,
        ["no space left on device"], id="the server's disk is full",
    ),
    pytest.param(
        [Told(502, HTML, PAGE_HEADERS)], False, ["HTTP 502"], id="a proxy without its server"
    ),
    pytest.param(
        [Told(503, b'{"error":"timeout"}', {"Retry-After": "0"})], False, ["timeout"],
        id="overloaded",
    ),
    pytest.param(
        [Told(400, b'{"error":"x"}' * 100, cut=20)], False, ["check storage.url"],
        id="an answer cut in the middle",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("answers", "to_mend", "said"), FAULTS)
def test_a_fault_is_told_and_nothing_is_lost(
    store: Store,
    caplog: pytest.LogCaptureFixture,
    answers: Sequence[Told],
    to_mend: bool,
    said: list[str],
) -> None:
    store.server.answers = [*answers, answers[-1]]
    writer = store.open()
    if answers[0] is TAKEN:
        writer.write([page(0.0)])
        wait_for("the first", lambda: store.metric("samples_sent_total"))
    writer.write([page(1.0, 2.0)])
    fault = "settings" if to_mend else "moment"
    wait_for("the refusal", lambda: store.metric("send_failures_total", fault=fault))
    wait_for("a line about it", lambda: all(text in caplog.text for text in said))
    assert f"{store.kind} at {store.server.url}: " in caplog.text
    assert "s3cret" not in caplog.text
    assert store.metric("blocked") == float(to_mend)
    assert store.metric("spool_samples") == 2
    store.server.answers = [TAKEN]
    writer.close()  # tries once more, whatever the back-off
    assert len(store.lines) == 2
    assert store.metric("spool_samples") == 0
    assert store.metric("samples_rejected_total") == 0
    assert not (store.folder / "spool.db.rejected").exists()


def test_a_refusal_that_lasts_is_told_once_and_asked_about_seldom(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    store.server.answers = [Told(401, b'{"message":"unauthorized access"}')]
    writer = store.open()
    for _ in range(5):
        writer.write([page(1.0)])
    wait_for("the refusal", lambda: store.metric("blocked"))
    asked = len(store.server.got)
    for _ in range(20):
        writer.write([page(1.0)])
    assert len(store.server.got) == asked
    assert caplog.text.count("HTTP 401") == 1
    store.server.answers = [TAKEN]
    writer.close()
    assert store.metric("samples_sent_total") == 25
    assert store.metric("blocked") == 0
