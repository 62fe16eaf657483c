"""Real senders of remote write: Debian's Prometheus and vmagent, with this API at the other end."""

import json
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.peer_programs import (
    FleetPulse,
    ServedPage,
    ask,
    prometheus,
    raw_samples,
    served,
    vector,
)
from tests.support import free_port, needs, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.peer]

_PAGE = """\
# HELP demo_requests_total Requests so far.
# TYPE demo_requests_total counter
demo_requests_total{{path="/",code="200"}} {number}
demo_requests_total{{path="/größe",code="500"}} 0
# TYPE demo_level gauge
demo_level{{text="a \\"quoted\\" \\\\ text"}} {level}
demo_level{{text="none"}} NaN
demo_level{{text="much"}} +Inf
# TYPE demo_seconds histogram
demo_seconds_bucket{{le="0.1"}} {number}
demo_seconds_bucket{{le="+Inf"}} {number}
demo_seconds_sum 1e-17
demo_seconds_count {number}
"""
_EXTRA = 'demo_extra{path="/"} 1\n'


def page(number: int) -> str:
    return _PAGE.format(number=number, level=-number / 7) + _EXTRA


def without_extra(number: int) -> str:
    return _PAGE.format(number=number, level=-number / 7)


@pytest.fixture
def target() -> Iterator[ServedPage]:
    with ServedPage(page) as target:
        yield target


def _prometheus_config(target: ServedPage, url: str, key: str, **more: Any) -> dict[str, Any]:
    job = {"job_name": "demo", "static_configs": [{"targets": [target.address]}]}
    remote = {
        "url": f"{url}/api/v1/write",
        "authorization": {"credentials": key},
        "queue_config": {"batch_send_deadline": "100ms", "min_backoff": "30ms", **more},
        "metadata_config": {"send_interval": "1s"},
    }
    return {
        "global": {
            "scrape_interval": "250ms",
            "scrape_timeout": "250ms",
            "external_labels": {"cluster": "north", "replica": "0"},
        },
        "scrape_configs": [job],
        "remote_write": [remote],
    }


def _numbers(url: str, selector: str) -> list[float]:
    """The values of the one series that a selector finds, in the order of their times."""
    found = raw_samples(url, selector, time.time() + 5)
    return [float(value) for row in found.values() for _, value in row]


def _plain(samples: dict[Any, Any]) -> dict[Any, Any]:
    """Without the external labels, which a Prometheus adds only to what it sends."""
    return {
        tuple(pair for pair in series if pair[0] not in ("cluster", "replica")): row
        for series, row in samples.items()
    }


@needs("prometheus")
def test_what_a_prometheus_sends_is_what_it_has(tmp_path: Path, target: ServedPage) -> None:
    with FleetPulse(tmp_path) as ours:
        ours.start("api")
        config = _prometheus_config(target, ours.url(), ours.key("push"))
        with prometheus(tmp_path / "prometheus", config) as theirs:
            wait_for("samples", lambda: len(_numbers(ours.url(), 'demo_extra{path="/"}')) > 3)
            target.page = without_extra
            wait_for("the end of a series there", lambda: not vector(theirs, "demo_extra"))
            wait_for("the end of a series here", lambda: not vector(ours.url(), "demo_extra"))
            target.close()
            wait_for("the end of the target", lambda: not vector(theirs, "demo_level"))
            wait_for("the end of the target here", lambda: not vector(ours.url(), "demo_level"))

            end = max(
                at for row in raw_samples(theirs, "up", time.time()).values() for at, _ in row
            )
            selector = '{job="demo",__name__!~"scrape_duration_seconds"}'
            wanted = raw_samples(theirs, selector, end / 1000)

            def same() -> bool:
                return _plain(raw_samples(ours.url(), selector, end / 1000)) == wanted

            wait_for("the same samples here as there", same)
            assert len(wanted) == 14
            # Where the series are looked at from: they ended at the same time, to the step.
            times = {"start": end / 1000 - 20, "end": end / 1000, "step": 0.25}
            for query in ("demo_extra", "demo_level", "up"):
                rows = [
                    ask(url, "query_range", query=query, **times)["result"]
                    for url in (theirs, ours.url())
                ]
                assert _values(rows[0]) == _values(rows[1])
            sent = ask(ours.url(), "series", **{"match[]": "demo_extra"})
            assert sent[0]["cluster"] == "north"
            metadata = wait_for("metadata", lambda: ask(ours.url(), "metadata"))
            assert metadata["demo_requests_total"] == [
                {"type": "counter", "help": "Requests so far.", "unit": ""}
            ]


def _values(rows: list[Any]) -> list[Any]:
    return sorted(row["values"] for row in rows)


@needs("prometheus")
def test_a_prometheus_waits_while_the_store_is_locked_and_loses_nothing(
    tmp_path: Path, target: ServedPage
) -> None:
    with FleetPulse(tmp_path) as ours:
        ours.start("api")
        config = _prometheus_config(target, ours.url(), ours.key("push"), max_backoff="200ms")
        with prometheus(tmp_path / "prometheus", config):
            selector = 'demo_requests_total{path="/"}'
            wait_for("samples", lambda: len(_numbers(ours.url(), selector)) > 3)
            with sqlite3.connect(ours.data / "store.db", isolation_level=None) as lock:
                lock.execute("BEGIN IMMEDIATE")
                wait_for("a 503", lambda: _failed(ours) > 0)
                away = target.scrapes
                wait_for("scrapes meanwhile", lambda: target.scrapes > away + 3)
                lock.execute("ROLLBACK")
            lock.close()
            _assert_all_there(ours, target, selector)


@needs("prometheus")
def test_a_prometheus_goes_on_after_the_api_was_away(tmp_path: Path, target: ServedPage) -> None:
    with FleetPulse(tmp_path) as ours:
        ours.start("api")
        config = _prometheus_config(target, ours.url(), ours.key("push"), max_backoff="200ms")
        with prometheus(tmp_path / "prometheus", config):
            selector = 'demo_requests_total{path="/"}'
            wait_for("samples", lambda: len(_numbers(ours.url(), selector)) > 3)
            ours.stop("api")
            away = target.scrapes
            wait_for("scrapes meanwhile", lambda: target.scrapes > away + 5)
            ours.start("api")
            _assert_all_there(ours, target, selector)


def _failed(ours: FleetPulse) -> float:
    return ours.metric("fleetpulse_api_remote_write_requests_total", 'result="failed"')


def _assert_all_there(
    ours: FleetPulse, target: ServedPage, selector: str, first: int | None = None
) -> None:
    """Every scrape's value is here, each once, from the first one on: pages count the scrapes.

    But for those whose scrape failed, as on a busy machine: of these there is an up of 0. vmagent
    has several queues, of which one may still wait while another goes on.
    """
    served = target.scrapes

    def whole() -> bool:
        found = [int(number) for number in _numbers(ours.url(), selector)]
        begin = found[0] if first is None else first
        missing = set(range(begin, found[-1] + 1)) - set(found)
        failed = _numbers(ours.url(), "up").count(0.0)
        rising = found == sorted(set(found))
        return rising and len(missing) <= failed and found[-1] > served

    wait_for("all that was served", whole)


@pytest.fixture
def vmagent_files(tmp_path: Path, target: ServedPage) -> Path:
    job = {
        "job_name": "demo",
        "static_configs": [{"targets": [target.address]}],
        "scrape_interval": "250ms",
        "scrape_timeout": "250ms",
    }
    path = tmp_path / "scrape.yml"
    path.write_text(json.dumps({"scrape_configs": [job]}))
    return path


def _vmagent(folder: Path, scrape: Path, url: str, key_file: Path) -> Any:
    port = free_port()
    command = [
        "vmagent", f"-httpListenAddr=127.0.0.1:{port}", f"-promscrape.config={scrape}",
        f"-remoteWrite.url={url}/api/v1/write", f"-remoteWrite.bearerTokenFile={key_file}",
        f"-remoteWrite.tmpDataPath={folder}/queue", "-remoteWrite.flushInterval=200ms",
    ]  # fmt: skip
    return served(command, f"http://127.0.0.1:{port}/health")


@needs("vmagent")
def test_what_vmagent_sends_is_stored(
    tmp_path: Path, target: ServedPage, vmagent_files: Path
) -> None:
    with FleetPulse(tmp_path) as ours:
        ours.start("api")
        with _vmagent(tmp_path, vmagent_files, ours.url(), ours.key_file("push")):
            selector = 'demo_requests_total{path="/"}'
            wait_for("samples", lambda: len(_numbers(ours.url(), selector)) > 3)
            _assert_all_there(ours, target, selector)
            (extra,) = vector(ours.url(), "demo_extra")
            assert dict(extra)["instance"] == target.address
            assert len(vector(ours.url(), '{job="demo",__name__=~"demo_.*"}')) == 10
            target.page = without_extra
            wait_for("the end of a series", lambda: not vector(ours.url(), "demo_extra"))
            assert vector(ours.url(), "demo_seconds_sum")


@needs("vmagent")
def test_vmagent_waits_while_the_store_is_locked_and_loses_nothing(
    tmp_path: Path, target: ServedPage, vmagent_files: Path
) -> None:
    with FleetPulse(tmp_path) as ours:
        ours.start("api")
        with _vmagent(tmp_path, vmagent_files, ours.url(), ours.key_file("push")):
            selector = 'demo_requests_total{path="/"}'
            wait_for("samples", lambda: len(_numbers(ours.url(), selector)) > 3)
            with sqlite3.connect(ours.data / "store.db", isolation_level=None) as lock:
                lock.execute("BEGIN IMMEDIATE")
                wait_for("a 503", lambda: _failed(ours) > 0)
                lock.execute("ROLLBACK")
            lock.close()
            _assert_all_there(ours, target, selector)


@needs("vmagent")
def test_vmagent_keeps_what_it_scrapes_while_the_api_is_away(
    tmp_path: Path, target: ServedPage, vmagent_files: Path
) -> None:
    with FleetPulse(tmp_path) as ours:
        key_file = ours.key_file("push")
        with _vmagent(tmp_path, vmagent_files, ours.url(), key_file):
            wait_for("scrapes before there is an API", lambda: target.scrapes > 5)
            ours.start("api")
            selector = 'demo_requests_total{path="/"}'
            wait_for("samples", lambda: _numbers(ours.url(), selector))
            _assert_all_there(ours, target, selector, first=1)
