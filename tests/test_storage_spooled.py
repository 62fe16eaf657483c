"""The writer in front of a remote store: batches, restarts, what is dropped and set aside."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from fleetpulse.model import METRIC_NAME, Labels, Page
from fleetpulse.storage.influx.codec import InfluxCodec
from fleetpulse.storage.sending import SendError
from fleetpulse.storage.spool import Spool
from fleetpulse.storage.spooled import SpooledWriter
from tests.support import wait_for

NOW_MS = 1_700_000_000_000


@dataclass(frozen=True)
class Settings:
    kind: str = "some"
    batch_size: int = 100
    flush_interval: float = 3600.0
    timeout: float = 5.0
    spool_max_bytes: int = 1 << 20
    spool_max_age: float | None = None


class Sent:
    """A store that takes all but lines with `refuse` in them, unless it is away."""

    def __init__(self, refuse: str = "") -> None:
        self.lines: list[str] = []
        self.away, self._refuse = False, refuse

    def __call__(self, lines: bytes, timeout: float) -> None:
        if self.away:
            raise SendError("away")
        if self._refuse and self._refuse in lines.decode():
            raise SendError("HTTP 400: no such thing", "lines")
        self.lines += lines.decode().splitlines()


def page(*values: float, **target: str) -> Page:
    lines = {
        Labels.of({METRIC_NAME: "m", "n": str(index)}): value for index, value in enumerate(values)
    }
    return Page.of(Labels.of(target), NOW_MS, lines)


Open = Callable[..., SpooledWriter]


class Bench:
    """Writers over the same spool, one after the other, each with metrics of its own."""

    def __init__(self, path: Path) -> None:
        self.path, self.registry = path, CollectorRegistry()

    def open(self, sent: Sent, **settings: float) -> SpooledWriter:
        self.registry = CollectorRegistry()
        config = Settings(**settings)  # type: ignore[arg-type]
        return SpooledWriter(config, InfluxCodec(), sent, self.path, self.registry)

    def metric(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(
            f"fleetpulse_storage_{name}", {"store": "some", **labels}
        )


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "spool" / "scraper.db")


def test_a_full_batch_is_sent_at_once(bench: Bench) -> None:
    sent = Sent()
    writer = bench.open(sent, batch_size=4)
    writer.write([page(1.0, 2.0, job="x")])
    wait_for("the first turn", lambda: len(sent.lines) == 2)
    writer.write([page(3.0, 4.0)])
    writer.write([page(5.0, 6.0)])
    wait_for("a full batch", lambda: len(sent.lines) == 6)
    wait_for("its count", lambda: bench.metric("samples_sent_total") == 6)
    assert sent.lines[0] == f"m,job=x,n=0 value=1.0 {NOW_MS}"
    writer.close()


def test_a_small_batch_is_sent_after_the_interval(bench: Bench) -> None:
    sent = Sent()
    writer = bench.open(sent, flush_interval=0.05)
    writer.start()
    writer.write([page(1.0)])
    wait_for("the interval", lambda: sent.lines)
    writer.close()


def test_close_sends_what_is_left(bench: Bench) -> None:
    sent = Sent()
    writer = bench.open(sent)
    for _ in range(3):
        writer.write([page(1.0)])
    writer.close()
    writer.close()
    assert len(sent.lines) == 3


def test_what_a_dead_store_did_not_take_is_sent_after_a_restart(bench: Bench) -> None:
    sent = Sent()
    sent.away = True
    writer = bench.open(sent)
    writer.write([page(1.0), page(2.0)])
    assert bench.metric("spool_bytes")
    assert writer.backlog() == bench.metric("spool_bytes")
    writer.close()
    assert bench.metric("send_failures_total", fault="moment")
    sent.away = False
    again = bench.open(sent)
    assert bench.metric("spool_batches") == 1
    again.start()
    wait_for("the rest", lambda: len(sent.lines) == 2)
    again.close()


def test_a_full_spool_drops_the_oldest_and_counts_them(bench: Bench) -> None:
    sent = Sent()
    sent.away = True
    writer = bench.open(sent, spool_max_bytes=100)
    for value in range(10):
        writer.write([page(float(value))])
    dropped = bench.metric("spool_dropped_batches_total", reason="bytes")
    sent.away = False
    writer.close()
    assert dropped
    assert len(sent.lines) == 10 - dropped
    assert sent.lines[-1] == f"m,n=0 value=9.0 {NOW_MS}"


def test_what_waits_and_what_was_dropped_is_told_in_samples(bench: Bench) -> None:
    sent = Sent()
    sent.away = True
    writer = bench.open(sent, spool_max_bytes=150, batch_size=10)
    writer.write([page(*map(float, range(25)))])
    waiting, dropped = (
        bench.metric("spool_samples"),
        bench.metric("spool_dropped_samples_total", reason="bytes"),
    )
    assert bench.metric("samples_queued_total") == 25
    assert waiting
    assert dropped == 25 - waiting
    sent.away = False
    writer.close()
    assert bench.metric("samples_sent_total") == waiting


def test_lines_of_an_earlier_version_are_not_compressed(bench: Bench) -> None:
    spool = Spool(bench.path)
    spool.put(b"m value=1.0 5\nm value=2.0 6\n")
    spool.close()
    sent = Sent()
    writer = bench.open(sent)
    writer.start()
    writer.close()
    assert sent.lines == ["m value=1.0 5", "m value=2.0 6"]


def test_a_batch_that_the_disk_has_damaged_is_counted(bench: Bench) -> None:
    spool = Spool(bench.path)
    spool.put(b"\x01 no zstd at all", 3)
    spool.close()
    sent = Sent()
    writer = bench.open(sent)
    writer.write([page(1.0)])
    writer.close()
    assert len(sent.lines) == 1
    assert bench.metric("spool_dropped_batches_total", reason="damaged") == 1
    assert bench.metric("spool_dropped_samples_total", reason="damaged") == 3


def test_refused_lines_are_kept_beside_the_spool_with_the_reason(bench: Bench) -> None:
    writer = bench.open(Sent(refuse="n=1"))
    writer.write([page(1.0, 2.0, 3.0)])
    writer.close()
    assert bench.metric("samples_rejected_total") == 1
    assert bench.metric("samples_sent_total") == 2
    reason, line = bench.path.with_name("scraper.db.rejected").read_text().splitlines()
    assert reason.startswith("# 2")
    assert reason.endswith("Z HTTP 400: no such thing")
    assert line == f"m,n=1 value=2.0 {NOW_MS}"
