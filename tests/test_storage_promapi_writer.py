import socket
from array import array
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import cramjam
import pytest
from prometheus_client import CollectorRegistry

from fleetpulse.model import METRIC_NAME, STALE_BITS, STALE_NAN, Labels, Layout, Page
from fleetpulse.storage.promapi.client import PromApiClient
from fleetpulse.storage.promapi.sender import PROBE, NameCheck, refused
from fleetpulse.storage.promapi.writer import open_writer
from tests.promapi_fakes import Asked, FakeStore, Told, config, fake_store, told
from tests.protobuf_reader import samples_by_series
from tests.store_fakes import bits
from tests.support import wait_for

pytestmark = pytest.mark.integration

NOW_MS = 1_700_000_000_000
PREFIX = "fleetpulse_storage_"


def page(*values: float, **target: str) -> Page:
    lines = tuple(Labels.of({METRIC_NAME: "m", "n": str(at)}) for at in range(len(values)))
    return Page(Labels.of(target), Layout(lines), NOW_MS, array("d", values))


class Running:
    """A writer in front of a store, and what it counts."""

    def __init__(self, store: FakeStore | None, path: Path, **more: Any) -> None:
        settings = config(**{"url": store.url if store else "http://127.0.0.1:1", **more})
        self.registry = CollectorRegistry()
        self.client = PromApiClient(settings)
        check = NameCheck(self.client, pause=lambda _: None, looks=2)
        self.writer = open_writer(settings, path, self.registry, self.client, check=check)

    def count(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(
            f"{PREFIX}{name}", {"store": "victoriametrics", **labels}
        )

    def close(self) -> None:
        self.writer.close()
        self.client.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool" / "scraper.db"


def body(asked: Asked) -> dict[Labels, dict[int, int]]:
    return samples_by_series(bytes(cramjam.snappy.decompress_raw(asked.body)))


def test_remote_write_has_its_headers_and_every_bit(path: Path) -> None:
    with fake_store(lambda _: Told(204)) as store:
        running = Running(store, path, token="s3cret")
        running.writer.write([page(1.5, STALE_NAN, float("nan"), job="x")])
        running.close()
    (asked,) = store.asked
    assert asked.path == "/api/v1/write"
    assert asked.headers["content-encoding"] == "snappy"
    assert asked.headers["content-type"] == "application/x-protobuf"
    assert asked.headers["x-prometheus-remote-write-version"] == "0.1.0"
    assert asked.headers["authorization"] == "Bearer s3cret"
    assert body(asked) == {
        Labels.of({METRIC_NAME: "m", "n": str(at), "job": "x"}): {NOW_MS: value}
        for at, value in enumerate([bits([1.5])[0], STALE_BITS, bits([float("nan")])[0]])
    }
    assert running.count("samples_sent_total") == 3
    # The NaN, which the store throws away.
    assert running.count("samples_left_out_total") == 1


def found(*names: str) -> Callable[[Asked], Told]:
    """A store that takes everything and knows these series."""

    def answer(asked: Asked) -> Told:
        if asked.path.endswith("/series"):
            return told([{"__name__": name} for name in names])
        return Told(204)

    return answer


def test_line_protocol_leaves_out_what_it_cannot_hold(path: Path) -> None:
    with fake_store(found(PROBE)) as store:
        running = Running(store, path, protocol="influx", gzip=True)
        running.writer.write([page(1.5, STALE_NAN, float("nan"), 2.0)])
        running.close()
    import gzip

    probe, sent = store.of("/api/v2/write")
    assert gzip.decompress(probe.body).startswith(PROBE.encode())
    assert gzip.decompress(sent.body) == (
        f"m,n=0 value=1.5 {NOW_MS}\nm,n=3 value=2.0 {NOW_MS}\n".encode()
    )
    assert sent.of("precision") == ["ms"]
    assert running.count("samples_left_out_total") == 2
    assert running.count("samples_sent_total") == 2


def test_a_metric_that_comes_back_under_another_name_stops_the_writing(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with fake_store(found(f"{PROBE}_value")) as store:
        running = Running(store, path, protocol="influx")
        running.writer.write([page(1.5)])
        running.close()
    assert all(PROBE.encode() in asked.body for asked in store.of("/api/v2/write"))
    assert running.count("spool_batches") == 1
    assert "-influxSkipSingleField" in caplog.text


def test_a_store_that_does_not_say_gets_the_samples(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def answer(asked: Asked) -> Told:
        return Told(403) if asked.path.endswith("/series") else Told(204)

    with fake_store(answer) as store:
        running = Running(store, path, protocol="influx")
        running.writer.write([page(1.5)])
        running.close()
    assert store.of("/api/v2/write")[-1].body.startswith(b"m,n=0 ")
    assert "cannot tell whether metrics keep their names" in caplog.text


def test_a_cluster_is_written_to_at_its_tenants_path(path: Path) -> None:
    with fake_store(lambda _: Told(204)) as store:
        cluster = {"insert_url": store.url, "select_url": "http://x:1", "tenant": "7:2"}
        running = Running(store, path, url=None, **cluster)
        running.writer.write([page(1.5)])
        running.close()
    assert store.asked[0].path == "/insert/7:2/prometheus/api/v1/write"


def test_what_a_store_that_was_away_did_not_get_is_sent_after_a_restart(path: Path) -> None:
    away = Running(None, path)
    away.writer.write([page(1.5), page(2.5)])
    away.close()
    assert away.count("send_failures_total", fault="moment")
    with fake_store(lambda _: Told(204)) as store:
        back = Running(store, path)
        back.writer.start()
        wait_for("what was left to be sent", lambda: back.count("samples_sent_total") == 2)
        back.close()
    assert back.writer.backlog() == 0


def test_only_the_samples_that_are_refused_are_set_aside(path: Path) -> None:
    bad = Labels.of({METRIC_NAME: "m", "n": "1"})

    def answer(asked: Asked) -> Told:
        return Told(400, b"bad n") if bad in body(asked) else Told(204)

    with fake_store(answer) as store:
        running = Running(store, path)
        running.writer.write([page(1.0, 2.0, 3.0)])
        running.close()
    assert running.count("samples_rejected_total") == 1
    assert running.count("samples_sent_total") == 2
    kept = path.with_name("scraper.db.rejected").read_text()
    assert f"victoriametrics at {store.url}/api/v1/write: HTTP 400: bad n\n" in kept
    assert kept.endswith(f'\nm{{n="1"}} 2.0 {NOW_MS}\n')


def test_a_full_spool_drops_the_oldest_and_counts_them_by_reason(path: Path) -> None:
    running = Running(None, path, spool_max_bytes="64KB")
    random = Random(1)
    for _ in range(9):
        running.writer.write([page(*(random.random() for _ in range(1000)))])
    running.close()
    assert running.count("spool_dropped_batches_total", reason="bytes")
    assert running.count("spool_dropped_batches_total", reason="age") == 0


def test_a_payload_that_is_no_frames_does_not_stand_in_the_way(path: Path) -> None:
    from fleetpulse.storage.spool import Spool

    spool = Spool(path)
    spool.put(b"no frames at all")
    spool.close()
    taken = Labels.of({METRIC_NAME: "m", "n": "0"})

    def answer(asked: Asked) -> Told:
        unpacked = bytes(cramjam.snappy.decompress_raw(asked.body))
        return Told(400, b"cannot unmarshal") if b"no frames" in unpacked else Told(204)

    with fake_store(answer) as store:
        running = Running(store, path)
        running.writer.write([page(1.0)])
        wait_for("the good one to be sent", lambda: running.count("samples_sent_total") == 1)
        running.close()
    assert body(store.asked[-1]) == {taken: {NOW_MS: bits([1.0])[0]}}
    assert "no frames at all" in path.with_name("scraper.db.rejected").read_text()


REFUSALS = [
    pytest.param(401, b"", {}, "check storage.username", "settings", None, id="who are you"),
    pytest.param(403, b"", {}, "may write", "settings", None, id="a token that only reads"),
    pytest.param(404, b"", {}, "insert_url and tenant", "settings", None, id="a wrong URL"),
    pytest.param(400, b"unsupported path", {}, "insert_url", "settings", None, id="a wrong path"),
    pytest.param(302, b"", {}, "are not followed", "settings", None, id="a redirect"),
    pytest.param(400, b"cannot parse", {}, "cannot parse", "lines", None, id="bad samples"),
    pytest.param(413, b"", {}, "HTTP 413", "size", None, id="too many"),
    pytest.param(400, b"too big packed request", {}, "too big", "size", None, id="too many, 400"),
    pytest.param(200, b"<html>", {}, "a web page", "settings", None, id="a page for people"),
    pytest.param(502, b"<html>", {}, "a web page", "moment", None, id="a proxy that is alone"),
    pytest.param(503, b"", {"Retry-After": "7"}, "HTTP 503", "moment", 7.0, id="a moment, please"),
    pytest.param(503, b"", {"Retry-After": "Wed"}, "HTTP 503", "moment", None, id="at some date"),
]


@pytest.mark.parametrize(("status", "text", "headers", "message", "fault", "after"), REFUSALS)
def test_what_a_refusal_means(
    status: int,
    text: bytes,
    headers: dict[str, str],
    message: str,
    fault: str,
    after: float | None,
) -> None:
    err = refused("vm", status, headers, text)
    assert message in str(err)
    assert (err.fault, err.retry_after) == (fault, after)


def test_a_page_for_people_is_no_success(path: Path) -> None:
    with fake_store(lambda _: Told(200, b"<html>Sign in</html>")) as store:
        running = Running(store, path)
        running.writer.write([page(1.0)])
        running.close()
    assert running.count("blocked") == 1
    assert running.count("spool_batches") == 1


def test_credentials_follow_no_redirect(path: Path) -> None:
    with fake_store() as elsewhere:
        there = Told(307, b"", {"Location": elsewhere.url})
        with fake_store(lambda _: there) as store:
            running = Running(store, path, token="s3cret")
            running.writer.write([page(1.0)])
            running.close()
    assert not elsewhere.asked
    assert running.count("spool_batches") == 1


def test_nobody_there_is_told_in_a_line(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        running = Running(None, path, url=f"http://127.0.0.1:{unused.getsockname()[1]}")
        running.writer.write([page(1.0)])
        running.close()
    assert "cannot be reached: Connection refused; check storage.url" in caplog.text


def test_a_gone_secret_keeps_the_samples(path: Path, tmp_path: Path) -> None:
    with fake_store(lambda _: Told(204)) as store:
        running = Running(store, path, token_file=tmp_path / "gone")
        running.writer.write([page(1.0)])
        running.close()
    assert not store.asked
    assert running.count("spool_batches") == 1
