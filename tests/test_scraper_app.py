"""The scraper as a whole against targets on real sockets."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import requests
from prometheus_client import CollectorRegistry

from fleetpulse.model import Metadata
from scraper.app import ScraperApp
from tests.scraper_fakes import MemoryWriter, Targets, config_of
from tests.support import free_port, wait_for

pytestmark = pytest.mark.integration

_HEAD = """
listen: 127.0.0.1:0
scrape_interval: 500ms
scrape_timeout: 500ms
body_size_limit: 64KB
scrape_configs:
"""


@contextmanager
def running(
    jobs: str, writer: MemoryWriter, base: Path | None = None, head: str = _HEAD
) -> Iterator[tuple[ScraperApp, CollectorRegistry]]:
    registry = CollectorRegistry()
    app = ScraperApp(
        config_of(head + jobs, base),
        writer,
        registry,
        base_dir=Path(),
        tick=0.02,
        look_every=0.05,
        flush_interval=0.05,
    )
    app.start()
    try:
        yield app, registry
    finally:
        app.stop()


def static(address: str, **more: str) -> str:
    extra = "".join(f", {key}: {value}" for key, value in more.items())
    return f'  - {{job_name: j, static_configs: [{{targets: ["{address}"]}}]{extra}}}\n'


def shown(app: ScraperApp) -> dict[str, Any]:
    answer = requests.get(f"{app.address.url}/api/v1/targets", timeout=5)
    data: dict[str, Any] = answer.json()["data"]
    return data


def test_a_target_is_scraped_again_and_again_over_one_connection() -> None:
    writer = MemoryWriter()
    with Targets() as targets, running(static(targets.address), writer) as (app, registry):
        instance = targets.address
        assert writer.wait_values(3, "up", job="j", instance=instance)[:3] == [1, 1, 1]
        assert writer.wait_values(3, "two", job="j", instance=instance)[:3] == [2, 2, 2]
        wait_for("metadata", lambda: writer.metadata)
        assert writer.metadata["one"] == Metadata("gauge", "The one.")
        assert targets.connections == 1
        _, headers = targets.requests[0]
        assert headers["user-agent"].startswith("fleetpulse/")
        assert headers["x-prometheus-scrape-timeout-seconds"] == "0.5"
        assert headers["accept"].startswith("application/openmetrics-text")
        assert app.ready() == "1 target, every 0.5 s"
        assert (registry.get_sample_value("fleetpulse_scraper_scrapes_total") or 0) >= 3
    layouts = {id(page.layout) for page in writer.pages}
    assert len(layouts) == 1


def test_the_report_series_say_how_the_scrape_went() -> None:
    writer = MemoryWriter()
    drop = "[{source_labels: [__name__], regex: two, action: drop}]"
    with (
        Targets() as targets,
        running(static(targets.address, metric_relabel_configs=drop), writer),
    ):
        assert writer.wait_values(2, "scrape_series_added")[:2] == [1, 0]
        assert writer.values("scrape_samples_scraped")[0] == 2
        assert writer.values("scrape_samples_post_metric_relabeling")[0] == 1
        duration = writer.values("scrape_duration_seconds")[0]
        assert duration is not None
        assert duration > 0
    assert not writer.values("two")


# what a target does, the reason counted, and part of the error that people see
MISBEHAVIOUR = [
    pytest.param("/hang", "timeout", "timed out", id="it hangs"),
    pytest.param("/endless", "body_limit", "larger than 65536 bytes", id="its page has no end"),
    pytest.param("/bomb", "body_limit", "larger than 65536 bytes", id="it sends a gzip bomb"),
    pytest.param("/half", "transfer", "", id="it closes in the middle"),
    pytest.param("/status", "status", "HTTP status 503", id="it answers 503"),
    pytest.param("/away", "redirect", "another host refused", id="it redirects elsewhere"),
    pytest.param("/odd", "", "", id="it redirects to nonsense"),
    pytest.param("/loop", "redirect", "more than 5 redirects", id="it redirects in a circle"),
]


@pytest.mark.parametrize(("path", "reason", "error"), MISBEHAVIOUR)
def test_a_target_that_misbehaves_is_down_and_the_others_go_on(
    path: str, reason: str, error: str
) -> None:
    writer = MemoryWriter()
    with Targets() as targets, Targets() as elsewhere:
        targets.away = f"http://{elsewhere.address}/metrics?token=secret"
        jobs = static(targets.address, metrics_path=path) + static(
            elsewhere.address, metrics_path="/metrics"
        ).replace("job_name: j", "job_name: good")
        with running(jobs, writer) as (app, registry):
            assert writer.wait_values(2, "up", job="j")[:2] == [0, 0]
            assert writer.wait_values(2, "up", job="good")[:2] == [1, 1]
            (bad,) = [one for one in shown(app)["activeTargets"] if one["scrapePool"] == "j"]
            assert bad["health"] == "down"
            assert error in bad["lastError"]
            assert "secret" not in bad["lastError"]
            count = registry.get_sample_value(
                "fleetpulse_scraper_scrape_failures_total", {"reason": reason}
            )
            assert (count or 0) >= 2 or not reason
            if path == "/away":
                assert {path for path, _ in elsewhere.requests} == {"/metrics"}
    assert not writer.values("one", job="j")


def test_failed_scrapes_are_in_the_jobs_failure_log(tmp_path: Path) -> None:
    path = tmp_path / "failures.log"
    writer = MemoryWriter()
    with Targets() as targets, Targets() as fine:
        jobs = static(targets.address, metrics_path="/status", scrape_failure_log_file=str(path))
        jobs += static(fine.address).replace("job_name: j", "job_name: good")
        with running(jobs, writer) as (_, registry):
            assert writer.wait_values(3, "up", job="j")[:3] == [0, 0, 0]
            assert writer.wait_values(1, "up", job="good")[0] == 1
            assert registry.get_sample_value("fleetpulse_scraper_cache_shapes") == 1
            url = f"http://{targets.address}/status"
            durations = "fleetpulse_scraper_scrape_duration_seconds_count"
            assert (registry.get_sample_value(durations) or 0) >= 3
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(lines) >= 3
    assert {line["target"] for line in lines} == {url}
    assert "HTTP status 503" in lines[0]["msg"]


def test_each_shard_scrapes_its_own_targets() -> None:
    hosts = [f"127.0.0.{i}" for i in range(1, 9)]
    seen: list[set[str]] = []
    with Targets(hosts) as targets:
        named = ", ".join(f'"{address}"' for address in targets.addresses)
        jobs = f"  - {{job_name: j, static_configs: [{{targets: [{named}]}}]}}\n"
        for index in range(2):
            head = f"shard: {{index: {index}, of: 2}}{_HEAD}"
            with running(jobs, MemoryWriter(), head=head) as (app, registry):
                active = wait_for("its targets", lambda app=app: shown(app)["activeTargets"])
                seen.append({one["labels"]["instance"] for one in active})
                elsewhere = registry.get_sample_value("fleetpulse_scraper_targets_elsewhere")
                assert elsewhere == 8 - len(seen[index])
        addresses = set(targets.addresses)
    assert seen[0] | seen[1] == addresses
    assert not seen[0] & seen[1]


def test_a_garbage_page_is_down_and_its_line_is_named() -> None:
    writer = MemoryWriter()
    with Targets() as targets:
        targets.page = b"one 1\n<html>\n"
        with running(static(targets.address), writer) as (app, _):
            assert writer.wait_values(1, "up")[0] == 0
            (target,) = wait_for("targets", lambda: shown(app)["activeTargets"])
            assert "line 2" in target["lastError"]
    assert not writer.values("one")


def test_a_content_type_that_is_no_text_is_no_reason_to_fail() -> None:
    writer = MemoryWriter()
    with Targets() as targets, running(static(targets.address, metrics_path="/kind"), writer):
        assert writer.wait_values(2, "up")[:2] == [1, 1]


def test_nobody_listens() -> None:
    writer = MemoryWriter()
    with running(static(f"127.0.0.1:{free_port()}"), writer) as (_, registry):
        assert writer.wait_values(1, "up")[0] == 0
        assert registry.get_sample_value(
            "fleetpulse_scraper_scrape_failures_total", {"reason": "connect"}
        )


def test_a_redirect_on_the_same_host_is_followed_unless_told_not_to() -> None:
    writer = MemoryWriter()
    with Targets() as targets:
        with running(static(targets.address, metrics_path="/same"), writer):
            assert writer.wait_values(1, "up")[0] == 1
        writer.pages.clear()
        jobs = static(targets.address, metrics_path="/same", follow_redirects="false")
        with running(jobs, writer):
            assert writer.wait_values(1, "up")[0] == 0


def test_a_packed_page_and_an_openmetrics_page_are_read() -> None:
    writer = MemoryWriter()
    with Targets() as targets:
        with running(static(targets.address, metrics_path="/zip"), writer):
            assert writer.wait_values(1, "two")[0] == 2
            assert targets.requests[0][1]["accept-encoding"] == "gzip"
        writer.pages.clear()
        targets.page = b"two 3 1700000000.5\n# EOF\n"
        targets.content_type = "application/openmetrics-text; version=1.0.0"
        with running(static(targets.address), writer):
            writer.wait_values(1, "two")
    assert writer.samples("two")[0] == (1700000000500, 3)


def test_a_series_that_vanishes_and_a_target_that_fails_leave_markers() -> None:
    writer = MemoryWriter()
    with Targets() as targets, running(static(targets.address), writer):
        writer.wait_values(1, "two")
        targets.page = b"one 1\n"
        wait_for("a marker for two", lambda: writer.values("two")[-1] is None)
        targets.page = b"one\n"
        wait_for("a marker for one", lambda: writer.values("one")[-1] is None)
        targets.page = b"one 7\n"
        wait_for("one is back", lambda: writer.values("one")[-1] == 7)
    assert writer.values("two").count(None) == 1
    assert writer.values("one").count(None) == 1
    assert None not in writer.values("up")


def test_a_target_file_is_followed(tmp_path: Path) -> None:
    writer = MemoryWriter()
    job = "  - {job_name: j, file_sd_configs: [{files: ['t/*.json', 't/*.yml']}]}\n"
    base = tmp_path
    with Targets(["127.0.0.1", "127.0.0.2"]) as targets:
        (base / "t").mkdir()
        one, two = targets.addresses
        with running(job, writer, base) as (app, registry):
            assert app.ready() == "0 targets, every 0.5 s"
            file = base / "t" / "a.json"
            file.write_text(json.dumps([{"targets": [one, two], "labels": {"rack": "7"}}]))
            writer.wait_values(1, "up", instance=one, rack="7")
            writer.wait_values(1, "up", instance=two, rack="7")
            (base / "t" / "b.yml").write_text(f"- targets: ['{one}']\n  labels: {{rack: 9}}\n")
            writer.wait_values(1, "up", instance=one, rack="9")

            file.write_text('[{"targets": ["web')  # a broken file changes nothing

            def broken() -> float | None:
                return registry.get_sample_value("fleetpulse_scraper_target_files_broken")

            wait_for("the fault is seen", broken)
            seen = len(writer.values("up", instance=two))
            writer.wait_values(seen + 2, "up", instance=two, rack="7")

            file.write_text(json.dumps([{"targets": [one], "labels": {"rack": "7"}}]))
            wait_for(
                "markers of the target that went away",
                lambda: writer.values("up", instance=two)[-1] is None,
            )
            assert not broken()
            assert writer.values("one", instance=two)[-1] is None
            assert app.ready() == "2 targets, every 0.5 s"
            file.unlink()
            wait_for("one/7 ends", lambda: writer.values("up", instance=one, rack="7")[-1] is None)
        assert None not in writer.values("up", rack="9")


def test_a_reload_adds_and_removes_and_leaves_the_others_their_turns() -> None:
    writer = MemoryWriter()
    with Targets(["127.0.0.1", "127.0.0.2", "127.0.0.3"]) as targets:
        kept, old, new = targets.addresses
        jobs = '  - {{job_name: j, static_configs: [{{targets: ["{}", "{}"]}}]{}}}\n'
        with running(jobs.format(kept, old, ""), writer) as (app, _):
            writer.wait_values(2, "up", instance=kept)
            writer.wait_values(2, "up", instance=old)
            drop = (
                ", metric_relabel_configs: [{regex: two, source_labels: [__name__], action: drop}]"
            )
            app.reload(config_of(_HEAD + jobs.format(kept, new, drop)))
            writer.wait_values(2, "up", instance=new)
            wait_for("old ends", lambda: writer.values("up", instance=old)[-1] is None)
            wait_for("two is dropped", lambda: writer.values("two", instance=kept)[-1] is None)
            assert app.ready() == "2 targets, every 0.5 s"
            seen = len(writer.values("up", instance=kept))
            writer.wait_values(seen + 2, "up", instance=kept)
            assert None not in writer.values("up", instance=kept)
            assert not writer.values("two", instance=new)


def test_fifty_addresses_are_scraped_at_once_and_no_turn_is_missed() -> None:
    writer = MemoryWriter()
    hosts = [f"127.0.7.{i}" for i in range(1, 51)]
    head = _HEAD.replace("500ms", "2s")
    with Targets(hosts) as targets:
        listed = json.dumps(targets.addresses)
        jobs = f"  - {{job_name: j, static_configs: [{{targets: {listed}}}]}}\n"
        with running(jobs, writer, head=head) as (app, registry):
            for address in targets.addresses:
                writer.wait_values(4, "up", instance=address)
            assert app.ready() == "50 targets, every 2 s"
            skipped = registry.get_sample_value("fleetpulse_scraper_skipped_total")
    assert skipped == 0


def test_credentials_are_sent_and_read_anew_but_never_to_another_host(tmp_path: Path) -> None:
    writer = MemoryWriter()
    (tmp_path / "password").write_text("s3cret\n")
    auth = f"{{username: u, password_file: {tmp_path}/password}}"
    with Targets() as targets, Targets() as elsewhere:
        with running(static(targets.address, basic_auth=auth), writer):
            writer.wait_values(1, "up")
        assert targets.requests[0][1]["authorization"] == "basic dtpzm2nyzxq="
        bearer = "{credentials: tOken}"
        jobs = static(targets.address, authorization=bearer, metrics_path="/away")
        targets.away = f"http://{elsewhere.address}/metrics"
        with running(jobs, writer):
            wait_for("the request", lambda: targets.requests[-1][0] == "/away")
            assert targets.requests[-1][1]["authorization"] == "bearer token"
        assert not elsewhere.requests
        (tmp_path / "password").unlink()
        writer.pages.clear()
        with running(static(targets.address, basic_auth=auth), writer) as (app, _):
            assert writer.wait_values(1, "up")[0] == 0
            assert "password" in shown(app)["activeTargets"][0]["lastError"]


def test_the_targets_page_is_prometheus() -> None:
    writer = MemoryWriter()
    relabel = "[{source_labels: [__address__], regex: 'gone:.*', action: drop}]"
    with Targets() as targets:
        jobs = static(f'{targets.address}", "gone:1', relabel_configs=relabel)
        with running(jobs, writer) as (app, _):
            writer.wait_values(1, "up")
            data = shown(app)
            (active,) = data["activeTargets"]
            assert active["labels"] == {"job": "j", "instance": targets.address}
            assert active["discoveredLabels"]["__address__"] == targets.address
            assert active["scrapeUrl"] == f"http://{targets.address}/metrics"
            assert active["health"] == "up"
            assert active["lastError"] == ""
            assert active["scrapeInterval"] == "500ms"
            assert data["droppedTargetCounts"] == {"j": 1}
            (dropped,) = data["droppedTargets"]
            assert dropped["discoveredLabels"]["__address__"] == "gone:1"
            page = requests.get(f"{app.address.url}/metrics", timeout=5).text
            assert "fleetpulse_scraper_targets 1.0" in page
            only = requests.get(f"{app.address.url}/api/v1/targets?state=dropped", timeout=5)
            assert only.json()["data"]["activeTargets"] == []


def test_target_limit_fails_all_of_the_job_without_contact() -> None:
    writer = MemoryWriter()
    with Targets(["127.0.0.1", "127.0.0.2"]) as targets:
        one, two = targets.addresses
        jobs = static(f'{one}", "{two}', target_limit="1")
        with running(jobs, writer) as (app, _):
            assert writer.wait_values(1, "up", instance=two)[0] == 0
            assert writer.wait_values(1, "up", instance=one)[0] == 0
            assert "target_limit" in shown(app)["activeTargets"][0]["lastError"]
        assert not targets.requests


def test_a_reload_misses_no_turn_of_targets_that_stay() -> None:
    writer = MemoryWriter()
    with Targets(["127.0.0.1", "127.0.0.2", "127.0.0.3"]) as targets:
        kept, changed, new = targets.addresses

        def jobs(turn: int) -> str:
            own = {"job_name": "own", "static_configs": [{"targets": [kept]}]}
            labels = {"turn": str(turn)}
            other = {
                "job_name": "other",
                "static_configs": [{"targets": [changed, new][: 1 + turn % 2], "labels": labels}],
                "http_headers": {"X-Turn": {"values": [str(turn)]}},
            }
            # The target that stays has new settings, too.
            return json.dumps([{**own, "sample_limit": 1000 + turn}, other])

        with running(" " + jobs(0), writer, head=_HEAD.rstrip()) as (app, _):
            for turn in range(1, 9):
                seen = len(writer.values("up", instance=kept))
                app.reload(config_of(_HEAD.rstrip() + " " + jobs(turn)))
                writer.wait_values(seen + 1, "up", instance=kept)
            writer.wait_values(1, "up", turn="8", instance=changed)
        samples = writer.samples("up", instance=kept)
        assert {value for _, value in samples} == {1.0}
        times = [at_ms for at_ms, _ in samples[1:]]  # after the first, which is out of turn
        steps = [after - before for before, after in pairwise(times)]
        assert all(abs(step - 500) <= 200 for step in steps), steps
        assert targets.requests[-1][0] == "/metrics"


def test_what_targets_say_of_their_metrics_and_the_pools() -> None:
    def asked(app: ScraperApp, path: str) -> Any:
        return requests.get(f"{app.address.url}/api/v1/{path}", timeout=5)

    with Targets() as targets, running(static(targets.address), MemoryWriter()) as (app, _):
        wait_for("a page", lambda: asked(app, "targets/metadata").json()["data"])
        target = {"job": "j", "instance": targets.address}
        one = {"target": target, "type": "gauge", "help": "The one.", "unit": ""}
        assert asked(app, "targets/metadata").json()["data"] == [{**one, "metric": "one"}]
        for query, found in (
            ("metric=one", [one]),
            ("metric=two", []),
            ("limit=0", []),
            ("limit=-1&metric=one", [one]),
            ('metric=one&match_target={job="j"}', [one]),
            ('match_target={job="x"}', []),
        ):
            assert asked(app, f"targets/metadata?{query}").json()["data"] == found
        for query, message in (
            ("limit=x", "limit must be a number"),
            ("match_target=x{", 'invalid parameter "match_target": 1:3: parse error: unexpected'),
        ):
            answer = asked(app, f"targets/metadata?{query}")
            assert answer.status_code == 400
            assert answer.json()["error"].startswith(message)
        assert asked(app, "scrape_pools").json()["data"] == {"scrapePools": ["j"]}
