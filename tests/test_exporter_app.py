"""The role as a whole: its pages over HTTP, push mode, reload, start and stop."""

import gzip
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain

from exporter.app import ExporterApp
from exporter.config import ExporterConfig
from exporter.handlers import chosen
from exporter.push.answer import Answer, Verdict
from exporter.settings.names import COLLECTOR_NAMES, OFF, CollectorsConfig
from exporter.settings.push import PushConfig
from fleetpulse.errors import StartError
from fleetpulse.values import ListenAddress
from tests.exporter_fakes import FakePost, collectors
from tests.support import wait_for

pytestmark = pytest.mark.integration

Start = Callable[..., ExporterApp]
PUSH = PushConfig(url="http://mon", key_file=Path("k"), labels={"rack": "r1", "device": "never"})


ON = [name for name in COLLECTOR_NAMES if name not in OFF]
HERE = (ListenAddress("127.0.0.1", 0),)


def config(*only: str, **keys: Any) -> ExporterConfig:
    """only: collectors, where not all that are on by default are wanted."""
    chosen = CollectorsConfig(defaults=not only, enable=only)
    return ExporterConfig(**{"listen": HERE, "collectors": chosen, **keys})


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    apps: list[ExporterApp] = []

    def started(
        with_config: ExporterConfig | None = None, post: FakePost | None = None
    ) -> ExporterApp:
        app = ExporterApp(
            with_config or config(),
            tmp_path,
            make_collectors=collectors,
            make_post=lambda _: post or FakePost(),
        )
        apps.append(app)
        app.start()
        return app

    yield started
    for app in apps:
        app.stop()


def get(app: ExporterApp, path: str, **headers: str) -> requests.Response:
    return requests.get(app.addresses[0].url + path, headers=headers, timeout=30)


def lines(page: str) -> list[str]:
    return [line for line in page.splitlines() if not line.startswith("#")]


def test_the_text_format(start: Start) -> None:
    response = get(start(), "/metrics")
    assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert re.search(r"# TYPE node_forks_total counter\nnode_forks_total \d+\n", response.text)
    assert "# TYPE node_vmstat_oom_kill untyped\n" in response.text
    assert 'fleetpulse_build_info{version="' in response.text
    assert 'node_exporter_build_info{branch="fleetpulse",goarch="' in response.text
    assert "process_resident_memory_bytes " in response.text
    assert list(plain(response.text))


def test_openmetrics_for_who_asks(start: Start) -> None:
    accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
    response = get(start(), "/metrics", Accept=accept)
    assert response.headers["Content-Type"].startswith("application/openmetrics-text")
    assert "# TYPE node_forks counter\n" in response.text
    assert list(openmetrics(response.text))


def test_who_takes_gzip_gets_it(start: Start) -> None:
    app = start()
    packed = get(app, "/metrics", **{"Accept-Encoding": "gzip"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert "node_load1 0.21\n" in packed.text
    plain_text = get(app, "/metrics", **{"Accept-Encoding": "identity"})
    assert "Content-Encoding" not in plain_text.headers


def test_its_own_process_may_be_left_out(start: Start) -> None:
    page = get(start(config(exporter_metrics=False)), "/metrics").text
    assert "process_" not in page
    assert "fleetpulse_exporter_scrapes_total" not in page
    assert "node_exporter_build_info" in page


def test_the_page_is_where_it_is_wanted(start: Start) -> None:
    app = start(config("loadavg", telemetry_path="/custom"))
    assert "node_load1" in get(app, "/custom").text
    assert get(app, "/metrics").status_code == 404
    assert 'href="/custom"' in get(app, "/").text


def test_the_page_may_take_the_place_of_the_landing_page(start: Start) -> None:
    assert "node_load1" in get(start(config("loadavg", telemetry_path="/")), "/").text


def test_scrapes_are_counted_by_their_status(start: Start) -> None:
    app = start(config("loadavg"))
    get(app, "/metrics")
    get(app, "/metrics?collect[]=nonsense")
    page = get(app, "/metrics").text
    assert 'fleetpulse_exporter_scrapes_total{code="200"} 1\n' in page
    assert 'fleetpulse_exporter_scrapes_total{code="400"} 1\n' in page


def test_no_metric_is_there_twice(start: Start) -> None:
    app = start(config(push=PUSH), FakePost())
    page = get(app, "/metrics").text
    types = [line for line in page.splitlines() if line.startswith("# TYPE ")]
    assert len(types) == len(set(types))
    series = [line.rpartition(" ")[0] for line in lines(page)]
    assert len(series) == len(set(series))


def collected(page: str) -> set[str]:
    found = (line for line in lines(page) if line.startswith("node_scrape_collector_success"))
    return {line.split('"')[1] for line in found}


FILTERS = [
    pytest.param("?collect[]=cpu&collect[]=uname", {"cpu", "uname"}, id="collect"),
    pytest.param("?collect[]=cpu&name[]=x", {"cpu"}, id="the client library's own filter is off"),
]


@pytest.mark.parametrize(("query", "names"), FILTERS)
def test_a_scrape_may_choose_collectors(start: Start, query: str, names: set[str]) -> None:
    page = get(start(), f"/metrics{query}").text
    assert collected(page) == names
    assert "process_resident_memory_bytes" in page


def test_a_scrape_may_leave_collectors_out(start: Start) -> None:
    app = start()
    everything = collected(get(app, "/metrics").text)
    assert collected(get(app, "/metrics?exclude[]=cpu").text) == everything - {"cpu"}


REFUSED = [
    pytest.param("collect[]=cpus", "no collector 'cpus'", id="an unknown one"),
    pytest.param("collect[]=", "no collector ''", id="one without a name is not all of them"),
    pytest.param("collect[]=cpu&exclude[]=cpu", "do not go together", id="both filters"),
    pytest.param("&".join(["collect[]=cpu"] * 101), "fields", id="a hundred and one"),
]


@pytest.mark.parametrize(("query", "text"), REFUSED)
def test_a_wrong_choice_is_a_bad_request(start: Start, query: str, text: str) -> None:
    response = get(start(), f"/metrics?{query}")
    assert response.status_code == 400
    assert text in response.text


def test_an_excluded_name_that_is_not_there_is_fine() -> None:
    assert chosen("exclude[]=nonsense", ["cpu"]) == ["cpu"]


def test_the_landing_page_leads_to_the_metrics(start: Start) -> None:
    response = get(start(), "/")
    assert response.headers["Content-Type"].startswith("text/html")
    assert 'href="/metrics"' in response.text


def test_readiness_is_a_line_for_people(start: Start, tmp_path: Path) -> None:
    app = start(config("cpu", "meminfo"))
    assert get(app, "/-/ready").text == "2 collectors\n"
    assert ExporterApp(config(), tmp_path).ready() is None


def test_a_failing_collector_is_in_that_line(tmp_path: Path) -> None:
    app = ExporterApp(config("uname", "meminfo", procfs=tmp_path), tmp_path)
    app.start()
    try:
        get(app, "/metrics")
        assert app.ready() == "2 collectors, failing: meminfo, uname"
    finally:
        app.stop()


def test_a_port_in_use_is_one_clear_line(start: Start, tmp_path: Path) -> None:
    taken = start().addresses[0]
    second = ExporterApp(config(listen=(taken,)), tmp_path)
    with pytest.raises(StartError, match=rf"cannot listen on {taken}"):
        second.start()
    second.stop()


def test_the_same_page_is_pushed_with_its_labels(start: Start) -> None:
    post = FakePost()
    start(config(push=PUSH), post)
    wait_for("a page to be pushed", lambda: post.got)
    page = gzip.decompress(post.got[0][2]).decode()
    assert 'node_load1{device="never",rack="r1"} 0.21\n' in page
    assert 'node_network_up{rack="r1",device="eth0"} 1\n' in page
    assert "# TYPE fleetpulse_push_spool_pages gauge" in page


def test_pages_that_wait_are_told_of(start: Start) -> None:
    post = FakePost([Answer(Verdict.LATER, "HTTP 403: no", 3600.0)])
    app = start(config(push=PUSH), post)
    wait_for("the refusal", lambda: "waiting" in (app.ready() or ""))
    assert (
        app.ready()
        == f"{len(ON)} collectors; push every 10s to http://mon, 1 waiting: HTTP 403: no"
    )
    assert "fleetpulse_push_spool_pages 1\n" in get(app, "/metrics").text


def test_a_spool_that_cannot_be_written_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    app = ExporterApp(config(push=PUSH), tmp_path / "file", make_collectors=collectors)
    try:
        with pytest.raises(StartError, match="cannot open the spool"):
            app.start()
    finally:
        app.stop()


def test_reload_changes_the_collectors(start: Start) -> None:
    app = start()
    app.reload(config("uname"))
    assert collected(get(app, "/metrics").text) == {"uname"}


def test_reload_turns_push_mode_on_and_off(start: Start) -> None:
    post = FakePost()
    app = start(config(), post)
    app.reload(config(push=PUSH))
    wait_for("a page to be pushed", lambda: post.got)
    app.reload(config())
    assert "fleetpulse_push_" not in get(app, "/metrics").text


def test_a_reload_keeps_the_counters_of_what_did_not_change(start: Start) -> None:
    app = start()
    before = app.pages
    app.reload(config(push=PUSH))
    assert app.pages is before


def test_stop_may_come_twice_and_without_a_start(start: Start, tmp_path: Path) -> None:
    app = start()
    app.stop()
    app.stop()
    ExporterApp(config(), tmp_path).stop()


def test_once_is_the_page_as_text(start: Start) -> None:
    assert "\nnode_load1 0.21\n" in start().render()


def test_the_addresses_tell_the_ports(start: Start) -> None:
    app = start(config("loadavg", listen=(*HERE, *HERE)))
    first, second = app.addresses
    assert first.port != second.port != 0
    for address in (first, second):
        assert requests.get(f"{address.url}/-/healthy", timeout=30).text == "healthy\n"


def test_what_takes_a_restart_is_told(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    app = start(config("loadavg"))
    app.reload(config("loadavg", telemetry_path="/x"))
    assert "exporter.telemetry_path changed; that takes a restart" in caplog.text
    assert get(app, "/metrics").ok


def test_it_is_healthy_while_it_serves(start: Start, tmp_path: Path) -> None:
    app = start(config("loadavg"))
    assert app.healthy()
    app.stop()
    assert not app.healthy()
